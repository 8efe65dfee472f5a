"""mitmweb: both legs of what was translated, what it cost and lost, no secret; over HTTP, and in a real browser."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.proxy import Proxy, running
from tests.fakes.upstream import PATIENCE, Upstream
from tests.traffic.conftest import STREAM, everything, flows_in, messages
from tests.traffic.secrets import TOKEN, found, found_below

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
        answer = await client.get("/flows")
        flows = {flow["id"]: flow for flow in answer.json()}
        assert len(flows) == 9
        assert not found(answer.content)
        for flow_id, flow in flows.items():
            for message in ("request", "response"):
                content = await client.get(f"/flows/{flow_id}/{message}/content.data")
                assert not found(content.content)
                shown = await client.get(f"/flows/{flow_id}/{message}/content/Auto.json")
                assert not found(shown.content)
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
        assert proxy.host._master
        proxy.host._master.options.update(save_stream_file=str(file))
        got = await everything(proxy, upstream)
    flows = flows_in(file)
    assert len(flows) == 9
    assert got["translated stream"][0] in {flow.id for flow in flows}
    assert not found_below(tmp_path)


async def test_the_oldest_go_first(tmp_path: Path, upstream: Upstream) -> None:
    async with web(tmp_path, upstream, web_max_flows=2) as (proxy, client):
        await everything(proxy, upstream)
        last = (await proxy.post("/nowhere", messages()))["x-ccproxy-flow"]
        flows = (await client.get("/flows")).json()
        assert len(flows) == 2
        assert flows[-1]["id"] == last


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
        async with asyncio.timeout(25):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return out
