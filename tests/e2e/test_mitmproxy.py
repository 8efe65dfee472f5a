"""ccproxy's chain in mitmproxy's own programs: `--web`, `mitmdump -s`, `mitmweb -s`, and a real browser that looks at a flow."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from mitmproxy.io import FlowReader
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

import ccproxy
from tests.fakes.client import connected, message, request
from tests.fakes.ports import free_port
from tests.fakes.proxy import ANTHROPIC_KEY, Program, program, serving
from tests.fakes.upstream import PATIENCE, Received, Upstream, Wire

pytestmark = pytest.mark.e2e

CLIENTS = "sk-ant-" + "clients-own"
CREDENTIALS = (("x-api-key", CLIENTS), ("Authorization", f"Bearer {CLIENTS}"), ("Cookie", "c=clients-own"))
CHROMIUM = Path("/usr/bin/chromium")
ADDON = str(Path(ccproxy.__file__).with_name("script.py"))


def to(upstream: Upstream) -> dict[str, str]:
    return {"PROVIDERS__CLAUDE_API__BASE_URL": upstream.url, "PROVIDERS__CLAUDE_API__API_KEY": ANTHROPIC_KEY}


def program_of_mitmproxys(name: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"from mitmproxy.tools.main import {name}; {name}()")


async def answers(wire: Wire, found: Received) -> None:
    if b'"stream": true' in found.body:
        await wire.stream(b"data: one\n\n", b"data: two\n\n", fields=[("alt-svc", 'h3=":443"; ma=86400')])
    else:
        await wire.answer(200, b'{"whole": true}', ("alt-svc", 'h3=":443"; ma=86400'))


@asynccontextmanager
async def web(folder: Path, upstream: Upstream, **env: str) -> AsyncIterator[tuple[Program, str]]:
    """`ccproxy serve --web`, and mitmweb's URL."""
    upstream.script = answers
    async with serving(folder, "--web", "--web-port", str(free_port()), env={**to(upstream), **env}) as running:
        found = await running.says(r"mitmweb: (http://127\.0\.0\.1:\d+/\?token=(\w+))")
        yield running, found[1]


def browser(**options: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(trust_env=False, timeout=PATIENCE, **options)


# ---- ccproxy serve --web


async def test_mitmweb_shows_whole_exchanges_to_those_who_have_the_token(tmp_path: Path, upstream: Upstream) -> None:
    async with web(tmp_path, upstream, SERVER__WEB_MAX_FLOWS="3") as (running, url):
        site, _, token = url.partition("/?token=")
        async with connected(running.port) as client:
            for number in range(6):
                stream = bool(number % 2)
                answer = await client.ask(
                    request("/api/v1/messages", message(text=f"n{number}", stream=stream), *CREDENTIALS)
                )
                assert answer.body == (b"data: one\n\ndata: two\n\n" if stream else b'{"whole": true}')
                assert answer["alt-svc"] == 'h3=":443"; ma=86400'  # mitmproxy would like to change it
            assert (await client.ask(request("/api/v1/messages", message(), host="evil.test"))).status == 403
        assert upstream.last.values("x-api-key") == [ANTHROPIC_KEY.encode()]

        async with browser() as nobody:
            for path in (
                "/",
                "/flows",
                "/flows.json",
                "/state",
                "/options",
                "/events",
                "/commands",
                "/updates",
                "/flows/dump",
                "/filter-help",
            ):
                for query in ("", "?token=", "?token=" + token[:-1], "?token=" + token.upper() + "x"):
                    got = await nobody.get(site + path + query)
                    assert got.status_code == 403, (path, query)
                    assert token not in got.text
            for path in ("/clear", "/flows/resume", "/options/save", "/commands/view.clear"):
                assert (await nobody.post(site + path)).status_code == 403
            assert (await nobody.put(site + "/options", json={"listen_port": 1})).status_code == 403
        with pytest.raises(Exception, match="403"):
            await websocket_connect(site.replace("http", "ws") + "/updates")

        async with browser() as user:
            assert (await user.get(url)).status_code == 200
            flows = (await user.get(site + "/flows")).json()  # the cookie is enough from here on
            assert len(flows) <= 4  # the last three, and the one that was on its way
            streamed = next(flow for flow in flows if "event-stream" in str(flow["response"]["headers"]))
            body = await user.get(f"{site}/flows/{streamed['id']}/response/content.data")
            assert body.text == "data: one\n\ndata: two\n\n"
            shown = json.dumps(flows) + (await user.get(site + "/flows/dump")).content.decode("latin-1")
            shown += (
                (await user.get(site + "/state")).text
                + (await user.get(site + "/options")).text
                + (await user.get(site + "/events")).text
            )
            for secret in (ANTHROPIC_KEY, "clients-own"):
                assert secret not in shown

        running.signal(signal.SIGTERM)
        assert await running.ends() == 0
        assert "Traceback" not in running.output


@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs chromium")
async def test_a_real_browser_sees_a_flow(tmp_path: Path, upstream: Upstream) -> None:
    async with web(tmp_path, upstream) as (running, url):
        async with connected(running.port) as client:
            await client.ask(request("/api/v1/messages?seen=in-the-browser", message()))
        profile = tmp_path / "profile"
        flags = (
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", f"--user-data-dir={profile}", "--virtual-time-budget=4000", "--dump-dom",
        )  # fmt: skip
        async with program(tmp_path, *flags, url, command=(str(CHROMIUM),)) as chromium:
            await chromium.ends(seconds=60)
        assert "in-the-browser" in chromium.output, chromium.output[-2000:]


# ---- mitmdump -s, mitmweb -s


@asynccontextmanager
async def stock(folder: Path, name: str, *arguments: str, env: dict[str, str]) -> AsyncIterator[tuple[Program, int]]:
    """A stock mitmproxy with ccproxy's script, and where it listens."""
    async with program(
        folder, "-s", ADDON, *arguments, command=program_of_mitmproxys(name), env={"SERVER__PORT": "0", **env}
    ) as running:
        found = await running.says(r"reverse\S* .*listening at (?:127\.0\.0\.1|\[?::1\]?):(\d+)")
        yield running, int(found[1])


async def test_mitmdump_with_our_script(tmp_path: Path, upstream: Upstream) -> None:
    upstream.script = answers
    arguments = ("-w", "x.flow", "--set", "flow_detail=3")
    env = {**to(upstream), "SERVER__IDLE_TIMEOUT": "1"}
    async with stock(tmp_path, "mitmdump", *arguments, env=env) as (running, port), connected(port) as idle:
        async with connected(port) as client:
            for stream in (False, True):
                answer = await client.ask(request("/api/v1/messages?beta=true", message(stream=stream), *CREDENTIALS))
                assert answer.status == 200
                assert answer["alt-svc"] == 'h3=":443"; ma=86400'
            assert upstream.last.values("x-api-key") == [ANTHROPIC_KEY.encode()]
            assert b"clients-own" not in upstream.last.everything
            for host in (
                "evil.test",
                "unrouted.invalid",
            ):  # mitmproxy overwrites Host in reverse mode unless it is told not to
                assert (await client.ask(request("/api/v1/messages", message(), host=host))).status == 403
            assert (await client.ask(request("/mock/v1/messages", message(stream=True)))).status == 200
            assert (await client.ask(request("/nothing"))).status == 404
        for data in (b"CONNECT evil.test:443 HTTP/1.1\r\nHost: localhost\r\n\r\n", b"nonsense\r\n\r\n"):
            async with connected(port) as client:
                assert (await client.ask(data))["content-type"] == "application/json"
        assert len(upstream.requests) == 2
        assert await idle.rest() == b""
        running.signal(signal.SIGINT)
        assert await running.ends() == 0
    with (tmp_path / "x.flow").open("rb") as file:
        assert [flow.response.status_code for flow in FlowReader(file).stream() if flow.response][:2] == [200, 200]
    for secret in (ANTHROPIC_KEY, "clients-own"):
        assert secret.encode() not in (tmp_path / "x.flow").read_bytes()
        assert secret not in running.output


async def test_mitmdump_with_a_broken_configuration(tmp_path: Path) -> None:
    async with program(
        tmp_path, "-s", ADDON, command=program_of_mitmproxys("mitmdump"), env={"SERVER__PORT": "0", "SERVER__PROT": "1"}
    ) as running:
        assert await running.ends() == 1
    assert "SERVER__PROT" in running.output


async def test_mitmweb_with_our_script_shows_no_key_at_any_moment(tmp_path: Path, upstream: Upstream) -> None:
    upstream.script = answers
    port = free_port()
    arguments = ("--no-web-open-browser", "--web-port", str(port))
    async with stock(tmp_path, "mitmweb", *arguments, env=to(upstream)) as (running, ours):
        await running.says(r"Web server listening at http://\S+")
        found = re.search(r"token=(\w+)", running.output)
        site = f"http://127.0.0.1:{port}"
        headers = {"Authorization": f"Bearer {found[1]}"} if found else {}
        socket_ = await websocket_connect(HTTPRequest(site.replace("http", "ws") + "/updates", headers=headers))
        async with connected(ours) as client:
            assert (await client.ask(request("/api/v1/messages", message(), *CREDENTIALS))).status == 200
        seen = ""
        async with asyncio.timeout(PATIENCE):
            while not re.search(r'"status_code": ?200', seen):
                seen += str(await socket_.read_message())
            socket_.close()
            while await socket_.read_message() is not None:
                pass  # until the server has said goodbye too
        assert "/v1/messages" in seen
        for secret in (ANTHROPIC_KEY, "clients-own"):
            assert secret not in seen
            assert secret not in running.output
