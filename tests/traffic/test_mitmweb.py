"""mitmweb: both legs of what was translated, what it cost and lost, no secret; over HTTP, and in a real browser."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tornado.websocket import websocket_connect

from tests.fakes.client import request
from tests.fakes.ports import free_port
from tests.fakes.proxy import Proxy, running
from tests.fakes.upstream import PATIENCE, Received, Upstream, Wire, chunk
from tests.traffic.conftest import ANSWERED, FIELDS, STREAM, chat, everything, flows_in, messages
from tests.traffic.secrets import ACCOUNT, CLIENT_KEY, COOKIE, IN_ANSWER, IN_PROMPT, TOKEN, found, found_below

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""


@asynccontextmanager
async def web(folder: Path, upstream: Upstream, **server: Any) -> AsyncIterator[tuple[Proxy, httpx.AsyncClient]]:
    more = {"web": True, "web_port": free_port(), "auth_token": TOKEN, **server}
    async with running(folder, upstream, server=more) as proxy:
        url, _, token = proxy.host.web_url.partition("?token=")
        async with httpx.AsyncClient(
            base_url=url, params={"token": token}, trust_env=False, timeout=PATIENCE
        ) as client:
            yield proxy, client


async def test_both_legs(tmp_path: Path, upstream: Upstream) -> None:
    async with web(tmp_path, upstream) as (proxy, client):
        got = await everything(proxy, upstream)
        flows = {flow["id"]: flow for flow in await flows_once(client, lambda flows: shown(flows, 9))}
        assert not found((await client.get("/flows")).content)
        for flow_id, flow in flows.items():
            for message in ("request", "response"):
                content = await client.get(f"/flows/{flow_id}/{message}/content.data")
                assert not found(content.content)
                pretty = await client.get(f"/flows/{flow_id}/{message}/content/Auto.json")
                assert not found(pretty.content)
            assert flow["comment"]
        flow_id, body = got["translated stream"]
        comment = flows[flow_id]["comment"]
        assert comment.startswith("client side · claude_api/openai_chat → anthropic · claude-sonnet-4-5")
        assert "lost: seed" in comment
        other = flows[comment.rpartition(" ")[2]]
        assert other["comment"].startswith("upstream side")
        assert flow_id in other["comment"]
        assert (flows[flow_id]["request"]["path"], other["request"]["path"]) == (
            "/api/v1/chat/completions",
            "/v1/messages",
        )
        assert (await client.get(f"/flows/{flow_id}/response/content.data")).content == body
        assert (await client.get(f"/flows/{other['id']}/response/content.data")).content == STREAM
        events = await client.get("/events")
        assert not found(events.content)
        assert (await client.get("/options")).json()["web_columns"]["value"][-1] == "comment"


async def test_a_file_that_mitmproxy_writes(tmp_path: Path, upstream: Upstream) -> None:
    """Asked for in mitmweb's own options."""
    file = tmp_path / "all.flow"
    async with web(tmp_path, upstream) as (proxy, _):
        proxy.host.master.options.update(save_stream_file=str(file))
        got = await everything(proxy, upstream)
    flows = flows_in(file)
    assert len(flows) == 9
    assert got["translated stream"][0] in {flow.id for flow in flows}
    assert not found_below(tmp_path)


async def test_the_oldest_go_first(tmp_path: Path, upstream: Upstream) -> None:
    async with web(tmp_path, upstream, web_max_flows=2) as (proxy, client):
        await everything(proxy, upstream)
        last = (await proxy.post("/nowhere", messages()))["x-ccproxy-flow"]
        flows = await flows_once(client, lambda flows: shown(flows, 2) and flows[-1]["id"] == last)
        assert len(flows) == 2


@pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here")
async def test_in_a_browser(tmp_path: Path, upstream: Upstream) -> None:
    async with web(tmp_path, upstream) as (proxy, _):
        got = await everything(proxy, upstream)
        flow_id = got["translated stream"][0]
        url, _, token = proxy.host.web_url.partition("?token=")
        page = await in_chromium(tmp_path, f"{url}?token={token}#/flows/{flow_id}/comment", "--dump-dom")
        assert b"client side" in page
        assert b"upstream side" in page
        assert b"lost: seed" in page
        assert not found(page)


async def in_chromium(folder: Path, url: str, *arguments: str) -> bytes:
    """What it writes to stdout."""
    process = await asyncio.create_subprocess_exec(
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", f"--user-data-dir={folder / 'chromium'}", "--virtual-time-budget=4000", *arguments, url,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    try:
        async with asyncio.timeout(4 * PATIENCE):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return out


# ---- while it is under way

QUERY = f"?api_key={CLIENT_KEY}&beta=true"
SECRET_FIELDS = (*FIELDS, ("chatgpt-account-id", ACCOUNT), ("x-amz-security-token", COOKIE))


async def everything_shown(client: httpx.AsyncClient, updates: list[str]) -> str:
    """All that mitmweb says about all flows, by every door that it has."""
    said = ["".join(updates)]
    flows = await client.get("/flows")
    said.append(flows.text)
    for path in ("/flows/dump", "/flows/dump?filter=~all", "/events", "/state"):
        said.append((await client.get(path)).content.decode("latin-1"))
    for flow in flows.json():
        for message in ("request", "response"):
            for what in ("content.data", "content/Auto.json", "content/Raw.json"):
                said.append((await client.get(f"/flows/{flow['id']}/{message}/{what}")).content.decode("latin-1"))
    return "\n".join(said)


def shown(flows: list[Any], number: int) -> bool:
    """Whether so many flows are there, and over."""
    return len(flows) == number and all(flow["comment"] for flow in flows)


async def flows_once(client: httpx.AsyncClient, condition: Callable[[list[Any]], bool]) -> list[Any]:
    """What mitmweb lists, as soon as that is so."""
    async with asyncio.timeout(PATIENCE):
        while not condition(flows := (await client.get("/flows")).json()):
            pass
    return list(flows)


@asynccontextmanager
async def listening(client: httpx.AsyncClient, token: str) -> AsyncIterator[list[str]]:
    """What mitmweb pushes to a browser."""
    heard: list[str] = []
    gone = asyncio.Event()

    def hear(said: str | bytes | None) -> None:
        if said is None:
            gone.set()
        heard.append(str(said))

    url = str(client.base_url).replace("http", "ws") + f"updates?token={token}"
    socket = await websocket_connect(url, on_message_callback=hear)
    try:
        yield heard
    finally:
        socket.close()
        async with asyncio.timeout(PATIENCE):
            await gone.wait()  # until the server has said goodbye too


@pytest.mark.parametrize("path", ["/api/v1/messages", "/api/v1/chat/completions", "/mock/v1/messages"])
async def test_no_secret_is_seen_while_an_exchange_is_under_way(tmp_path: Path, upstream: Upstream, path: str) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def stalls(wire: Wire, request: Received) -> None:
        if request.method == "GET":
            await wire.answer(404)
            return
        asked.set()
        await go_on.wait()
        go_on.clear()
        events = [event + b"\n\n" for event in STREAM.split(b"\n\n") if event]
        events.insert(3, told_delta(f"yours is {IN_ANSWER}"))
        await wire.stream(*events[:5], end=False, fields=ANSWERED)
        await go_on.wait()
        await wire.send(*(chunk(event) for event in events[5:]), b"0\r\n\r\n")

    upstream.script = stalls
    here = path.startswith("/mock")
    body = chat(stream=True) if "chat" in path else messages(stream=True, **({"model": "mock-hang"} if here else {}))
    async with web(tmp_path, upstream) as (proxy, client), listening(client, web_token(proxy)) as updates:
        async with proxy.connect() as user:
            whole = request(path + QUERY, body, *SECRET_FIELDS)
            await user.send(whole[:-20])
            flows = await flows_once(client, bool)
            assert not found(await everything_shown(client, updates))
            assert (flows[0]["request"]["method"], flows[0]["request"]["headers"][0]) == ("POST", ["Host", "localhost"])
            assert not (await client.get(f"/flows/{flows[0]['id']}/request/content.data")).is_success

            await user.send(whole[-20:])
            if not here:
                await asked.wait()
                content = f"/flows/{flows[0]['id']}/request/content.data"
                async with asyncio.timeout(PATIENCE):  # the request can be read while its answer is waited for
                    while "my key is [redacted]" not in (await client.get(content)).text:
                        pass
                assert not found(await everything_shown(client, updates))
                go_on.set()
            await user.until(b"data: ")
            if not here:
                await user.until(IN_ANSWER.encode())
            assert not found(await everything_shown(client, updates))
            (flow,) = (await client.get("/flows")).json()
            assert flow["response"]["status_code"] == 200
            assert flow["request"]["path"].startswith(path)
            assert not flow["comment"]
            go_on.set()
            if not here:
                await user.until(b"0\r\n\r\n")
        await flows_once(client, lambda flows: bool(flows[0]["comment"]))
        everything_said = await everything_shown(client, updates)
        assert not found(everything_said)
        assert "yours is [redacted]" in everything_said or here
        assert len((await client.get("/flows")).json()) == (2 if "chat" in path else 1)


def told_delta(text: str) -> bytes:
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    return b"event: content_block_delta\ndata: %s\n\n" % json.dumps(delta).encode()


def web_token(proxy: Proxy) -> str:
    return proxy.host.web_url.partition("?token=")[2]


async def test_what_is_held_up_can_be_changed(tmp_path: Path, upstream: Upstream) -> None:
    """mitmweb's interception works on the flow itself, which is then shown as it is, and as what it was in the end."""
    async with web(tmp_path, upstream) as (proxy, client):
        master: Any = proxy.host.master
        master.options.update(intercept="~q", intercept_active=True)
        asked = asyncio.create_task(proxy.post("/api/v1/messages", messages(), *FIELDS))
        (flow,) = await flows_once(client, lambda flows: len(flows) == 1 and flows[0]["intercepted"])
        assert not found((await client.get("/flows")).content.replace(IN_PROMPT.encode(), b""))
        headers = against_forgery(client)
        changed = {"request": {"content": messages(system="changed").decode()}}
        answer = await client.put(f"/flows/{flow['id']}", json=changed, headers=headers)
        assert answer.is_success, answer.text
        master.options.update(intercept_active=False)
        assert (await client.post(f"/flows/{flow['id']}/resume", headers=headers)).is_success
        assert (await asked).status == 200
        assert upstream.last.json["system"] == "changed"
        (after,) = await flows_once(client, lambda flows: bool(flows[0]["comment"]))
        assert after["id"] == flow["id"]
        shown = await client.get(f"/flows/{flow['id']}/request/content.data")
        assert b"changed" in shown.content
        assert not found(shown.content)


async def test_a_file_that_is_opened_stays_as_it_was(tmp_path: Path, upstream: Upstream) -> None:
    """mitmweb's own "Open" runs all hooks for what it reads: nothing of that has come in just now."""
    async with web(tmp_path, upstream, log_level="info") as (proxy, client):
        await everything(proxy, upstream)
        await flows_once(client, lambda flows: shown(flows, 9))
        dump = (await client.get("/flows/dump")).content
        before = (await client.get("/flows")).json()
        asked = len(upstream.requests)
        headers = against_forgery(client)
        counted = (await proxy.get("/metrics", ("x-ccproxy-token", TOKEN))).body
        assert (await client.post("/flows/dump", content=dump, headers=headers)).is_success
        after = (await client.get("/flows")).json()
        assert (await client.get("/flows/dump")).content.count(b"ccproxy") == dump.count(b"ccproxy")
        assert len(upstream.requests) == asked
        again = (await proxy.get("/metrics", ("x-ccproxy-token", TOKEN))).body
    told = ("id", "comment", "response")
    assert [[flow[name] for name in told] for flow in after] == [[flow[name] for name in told] for flow in before]
    assert [line for line in again.splitlines() if b"requests_total" in line] == [
        line for line in counted.splitlines() if b"requests_total" in line
    ]


def against_forgery(client: httpx.AsyncClient) -> dict[str, str]:
    """What mitmweb asks for where something is changed: the same word in a cookie and in the head."""
    for name in ("_xsrf", "_mitmproxy_xsrf"):
        client.cookies.set(name, "a" * 32)
    return {"X-XSRFToken": "a" * 32}


async def test_flows_that_go_on_are_not_let_go(tmp_path: Path, upstream: Upstream) -> None:
    async with web(tmp_path, upstream, web_max_flows=2) as (proxy, client), proxy.connect() as user:
        await user.send(request("/mock/v1/messages", messages(stream=True, model="mock-hang"), *FIELDS))
        await user.until(b"data: ")
        for _ in range(4):
            last = (await proxy.post("/nowhere", messages()))["x-ccproxy-flow"]
        flows = await flows_once(client, lambda flows: flows[-1]["id"] == last and bool(flows[-1]["comment"]))
        assert [flow["request"]["path"] for flow in flows] == ["/mock/v1/messages", "/nowhere"]
