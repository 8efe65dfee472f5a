"""`--record`: what ran is in the file, both legs of it, and no secret."""

from __future__ import annotations

import gzip
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import http, io

from ccproxy.errors import StartError
from ccproxy.server.proxy_server import Extras
from tests.fakes.client import request
from tests.fakes.proxy import running
from tests.fakes.upstream import Received, Upstream, Wire
from tests.traffic.conftest import FIELDS, STREAM, everything, flows_in, messages
from tests.traffic.secrets import IN_ANSWER, TOKEN, found


async def recorded(folder: Path, upstream: Upstream, file: Path) -> dict[str, tuple[str, bytes]]:
    async with running(folder, upstream, Extras(record=file), server={"auth_token": TOKEN}) as proxy:
        got = await everything(proxy, upstream)
    private(file)
    return got


def private(file: Path) -> None:
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not found(file.read_bytes())


async def test_flow_file(tmp_path: Path, upstream: Upstream) -> None:
    file = tmp_path / "all.flow"
    got = await recorded(tmp_path, upstream, file)
    with file.open("rb") as opened:
        flows: dict[str, Any] = {flow.id: flow for flow in io.FlowReader(opened).stream()}
    assert len(flows) == 9  # three of the six exchanges have two legs
    for name, (flow_id, body) in got.items():
        flow = flows[flow_id]
        facts = flow.metadata["ccproxy"]
        if name.startswith("translated") or name == "here":
            other = flows[facts["other_leg"]]
            assert other.metadata["ccproxy"]["other_leg"] == flow_id
            assert (facts["leg"], other.metadata["ccproxy"]["leg"]) == ("client", "upstream")
            assert flow_id in other.comment
            assert other.id in flow.comment
            assert "lost: seed" in flow.comment
            assert facts["lost"] == ["seed"]
            assert flow.request.path.endswith("/v1/chat/completions")
            assert "seed" in flow.request.json()
            assert other.request.path == "/v1/messages"
            assert "max_tokens" in other.request.json()
            assert facts["tokens"]["output"] > 0
        else:
            assert "leg" not in facts
        if "stream" in name:
            assert flow.response.content == body
    stream = flows[got["translated stream"][0]]
    assert stream.comment.startswith("client side · claude_api/openai_chat → anthropic · claude-sonnet-4-5")
    assert flows[stream.metadata["ccproxy"]["other_leg"]].response.content == STREAM
    assert flows[got["native"][0]].metadata["ccproxy"]["cost_usd"] == "0.006"
    assert "1,000 input, 200 output tokens · $0.006" in flows[got["native"][0]].comment
    assert "yours is [redacted]" in flows[got["native"][0]].response.text
    assert flows[got["native"][0]].request.pretty_url == f"{upstream.url}/v1/messages"


async def test_har_file(tmp_path: Path, upstream: Upstream) -> None:
    file = tmp_path / "new" / "all.har"
    got = await recorded(tmp_path, upstream, file)
    entries = json.loads(file.read_text())["log"]["entries"]
    assert len(entries) == 9
    by_flow = {entry["_ccproxy"]["flow"]: entry for entry in entries}
    flow_id, body = got["native stream"]
    assert by_flow[flow_id]["response"]["content"]["text"].encode() == body == STREAM


async def test_a_cut_stream(tmp_path: Path, upstream: Upstream) -> None:
    async def script(wire: Any, request: Any) -> None:
        await wire.stream(b"event: ping\ndata: {}\n\n", end=False)
        wire.reset()

    file = tmp_path / "cut.flow"
    async with running(tmp_path, upstream, Extras(record=file)) as proxy:
        upstream.script = script
        answer = await proxy.post("/api/v1/messages", b'{"model":"m","max_tokens":1,"messages":[],"stream":true}')
    with file.open("rb") as opened:
        (flow,) = io.FlowReader(opened).stream()
    assert isinstance(flow, http.HTTPFlow)
    assert flow.response
    assert flow.response.content == answer.body
    assert "broke off" in flow.comment


async def test_a_file_that_cannot_be_made(tmp_path: Path, upstream: Upstream) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="--record"):
        async with running(tmp_path, upstream, Extras(record=tmp_path / "file" / "all.flow")):
            pass


async def test_a_client_that_leaves(tmp_path: Path, upstream: Upstream) -> None:
    """What it got so far is kept, and the exchange is over everywhere."""

    async def script(wire: Wire, request: Received) -> None:
        await wire.stream(b"event: ping\ndata: {}\n\n", end=False)
        await wire.left()

    file, raw = tmp_path / "left.flow", tmp_path / "raw"
    logged = {"enabled": True, "dir": str(raw)}
    async with running(tmp_path, upstream, Extras(record=file), raw_log=logged) as proxy:
        upstream.script = script
        async with proxy.connect() as client:
            await client.send(request("/api/v1/messages", messages(stream=True), *FIELDS))
            await client.until(b"event: ping")
        await upstream.deserted()
    (flow,) = flows_in(file)
    assert flow.response
    assert flow.response.content == b"event: ping\ndata: {}\n\n"
    assert flow.error
    (folder,) = raw.iterdir()
    assert b", cut" in (folder / "4-client-response.http").read_bytes()


async def test_large_bodies(tmp_path: Path, upstream: Upstream) -> None:
    """They are redacted beside the event loop; none is lost when the proxy ends right after."""
    large = json.dumps({"type": "message", "text": [IN_ANSWER, "x" * 2_000_000]}).encode()

    async def script(wire: Wire, request: Received) -> None:
        await wire.answer(200, gzip.compress(large), ("content-encoding", "gzip"))

    file = tmp_path / "large.flow"
    async with running(tmp_path, upstream, Extras(record=file)) as proxy:
        upstream.script = script
        answer = await proxy.post("/api/v1/messages", messages(text="y" * 1_000_000))
        assert gzip.decompress(answer.body) == large
    (flow,) = flows_in(file)
    private(file)
    assert flow.response
    assert len(flow.response.content or b"") > 2_000_000
    assert "content-encoding" not in flow.response.headers
