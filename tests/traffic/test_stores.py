"""Every store that outlives a request is filled past its bound, through HTTP, and keeps it: the table of docs/explanation/security.md."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import http

from ccproxy.addons.gateway import endpoints
from ccproxy.addons.gateway.ways import shared as ways
from ccproxy.addons.watchers import (
    access_log,
    both_sides,
    legs,
    record as recording,
    traffic as watchers,
    web as mitmweb,
)
from ccproxy.ledger import database, metrics, pricing, raw_log, traffic
from ccproxy.providers import header_fields, model_lists
from ccproxy.server.proxy_server import Extras
from tests.fakes.client import request
from tests.fakes.proxy import Proxy, running
from tests.fakes.upstream import PATIENCE, Received, Upstream, Wire, turns
from tests.traffic.conftest import MODEL, STREAM, everything, flows_in
from tests.traffic.secrets import TOKEN
from tests.traffic.test_mitmweb import free_port

JSON = ("content-type", "application/json")
SECURITY = Path("docs/explanation/security.md")


def body(model: str = MODEL, text: str = "hi", **more: Any) -> bytes:
    return json.dumps(
        {"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": text}], **more}
    ).encode()


async def answering(wire: Wire, asked: Received) -> None:
    """A Messages upstream that repeats the model, with a signed thought as long as the prompt."""
    if asked.method == "GET":
        await wire.answer(200, json.dumps({"data": [{"id": MODEL, "type": "model"}], "has_more": False}).encode())
        return
    thought = {"type": "thinking", "thinking": "hm", "signature": asked.json["messages"][-1]["content"][0]["text"] * 3}
    content = [thought, {"type": "text", "text": "yes"}]
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": asked.json["model"], "content": content}
    usage = {"stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}}
    await wire.answer(200, json.dumps({**message, **usage}).encode())


async def post(proxy: Proxy, path: str, data: bytes, *fields: tuple[str, str]) -> None:
    assert (await proxy.post(path, data, JSON, *fields)).status == 200


def _event(data: dict[str, Any]) -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await turns(1)


async def test_names(tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models, header names and paths that clients make up."""
    upstream.script = answering
    for module, name in (
        (metrics, "MAX_MODELS"),
        (metrics, "MAX_SERIES"),
        (pricing, "MAX_RATES"),
        (access_log, "MAX_LABELS"),
    ):
        monkeypatch.setattr(module, name, 10)
    monkeypatch.setattr(header_fields, "_MEMO_ENTRIES", len(header_fields._MEMO) + 10)
    monkeypatch.setattr(logging.getLogger("ccproxy.access"), "level", logging.INFO)
    async with running(tmp_path, upstream) as proxy:
        for number in range(40):
            fields = ((f"x-made-up-{number}", "1"), (f"x-{'long' * 50}-{number}", "1"))
            await post(proxy, f"/api/v1/messages?n={number}", body(f"model-{number}", "x" * 40, messages=[
                {"role": "user", "content": [{"type": "text", "text": "hi"}]}]), *fields)  # fmt: skip
        accounting, log = proxy.addon("accounting"), proxy.addon("accesslog")
        rendered = (await proxy.get("/metrics")).body.decode()
        assert len(set(re.findall(r'ccproxy_tokens_total\{[^}]*model="([^"]*)"', rendered))) == 11
        assert len(re.findall(r"^ccproxy_requests_total\{", rendered, re.MULTILINE)) <= 11
        assert len(accounting.prices._rates) <= 10
        assert log._label.cache_info().currsize <= 10
        assert len(header_fields._MEMO) <= header_fields._MEMO_ENTRIES
        assert max(map(len, header_fields._MEMO)) <= header_fields._MEMO_NAME


async def test_turns_and_model_lists(tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """What translation remembers: thinking for clients that leave it out, and the lists of models, by credential."""
    upstream.script = answering
    monkeypatch.setattr(model_lists, "MAX_LISTS", 5)
    async with running(tmp_path, upstream, translate={"replay_cache_mb": 1}) as proxy:
        shared = proxy.addon("gateway").shared
        for number in range(30):
            await post(
                proxy, "/api/v1/chat/completions", body(text=f"{number} " + "x" * 30_000, reasoning_effort="high")
            )
        assert shared.replay.size <= 1 << 20
        assert 0 < len(shared.replay) < 30
        assert len(shared.lists._entries) <= 5


async def test_refused_parameters(tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "MAX_MODELS", 5)
    monkeypatch.setattr(ways, "MAX_PARAMETERS", 2)
    refused = ways.RefusedParameters()
    for number in range(50):
        for parameter in ("a", "b", "c", "d"):
            refused.add("codex", f"model-{number}", parameter)
    refused.add("codex", "m" * 5_000_000, "a")
    assert len(refused._models) == 5
    assert max(map(len, refused._models.values())) == 2


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mitmweb, "MAX_BYTES", 2 << 20)
    monkeypatch.setattr(mitmweb, "MAX_OWN", 3)
    monkeypatch.setattr(both_sides, "MAX_BODY", 1 << 20)
    monkeypatch.setattr(both_sides.Sides, "room", 1 << 20)


async def test_mitmweb_by_bytes(tmp_path: Path, upstream: Upstream, small: None) -> None:
    upstream.script = answering
    async with running(tmp_path, upstream, server={"web": True, "web_port": free_port()}) as proxy:
        master: Any = proxy.host._master
        store = master.view._store
        for number in range(30):
            await post(proxy, "/api/v1/chat/completions", body(text=f"{number} " + "x" * 200_000))
        last = (await proxy.post("/api/v1/chat/completions", body(text="x" * 200_000), JSON))["x-ccproxy-flow"]
        await until(lambda: last in store and store[last].comment)
        assert mitmweb.MAX_BYTES - (1 << 20) < sum(map(mitmweb._size, store.values())) <= mitmweb.MAX_BYTES
        kept = [flow for flow in store.values() if flow.request.path.startswith("/api")]
        for _ in range(20):
            assert (await proxy.get("/metrics")).status == 200
            assert (await proxy.get("/health")).status == 200
            assert (await proxy.get("/health/live")).status == 200
        metrics_flow = (await proxy.get("/metrics"))["x-ccproxy-flow"]
        await until(lambda: metrics_flow in store and store[metrics_flow].comment)
        assert [flow for flow in store.values() if flow.request.path.startswith("/api")] == kept
        own = [
            flow.request.path for flow in store.values() if flow.request.path in {"/metrics", "/health", "/health/live"}
        ]
        assert len(own) == 3
        assert "/health/live" not in own
        assert master.events.data.maxlen == 10_000  # mitmproxy's own bound of the event log
        bounded = proxy.addon("ccproxy_bounded")
        master.view.clear()
        await post(proxy, "/api/v1/chat/completions", body(text="x" * 200_000))
        await until(lambda: len(store) == 2)
        assert bounded._bytes >= 0


async def test_a_long_stream_is_cut_for_those_who_watch(tmp_path: Path, upstream: Upstream, small: None) -> None:
    """8 MB translated; the client gets all of it, the recording the first MB and a note."""
    text = "x" * 8000
    events = [event + b"\n\n" for event in STREAM.split(b"\n\n") if event]
    at = next(number for number, event in enumerate(events) if b"text_delta" in event)
    delta = {"type": "content_block_delta", "index": json.loads(events[at].partition(b"data: ")[2])["index"]}
    events[at:at] = [_event({**delta, "delta": {"type": "text_delta", "text": text}})] * 1000

    async def script(wire: Wire, asked: Received) -> None:
        if asked.method == "GET":
            await wire.answer(404)
            return
        await wire.stream(*events)

    upstream.script = script
    file = tmp_path / "all.flow"
    async with running(
        tmp_path, upstream, Extras(record=file), raw_log={"enabled": True, "dir": str(tmp_path / "raw")}
    ) as proxy:
        sides = proxy.addon("ccproxy_both_sides")
        answer = await proxy.post("/api/v1/chat/completions", body(stream=True), JSON)
        assert answer.body.count(text.encode()) == 1000
        await until(lambda: sides.bytes_under_way == 0)
    client, up = flows_in(file)
    for flow in (client, up):
        assert flow.response
        assert len(flow.response.content or b"") <= 1 << 20
        assert "only the beginning is kept of: upstream response, client response" in flow.comment
        assert flow.metadata["ccproxy"]["cut"] == ["upstream response", "client response"]
    (folder,) = (tmp_path / "raw").iterdir()
    assert all(file.stat().st_size < (1 << 20) + 4096 for file in folder.iterdir())


async def test_what_is_over_is_freed_without_a_collection(tmp_path: Path, upstream: Upstream) -> None:
    """Cycles would keep the bodies of thousands of exchanges until the next full collection, which is rare."""
    async with running(tmp_path, upstream, Extras(record=tmp_path / "all.flow"), server={"auth_token": TOKEN}) as proxy:
        sides = proxy.addon("ccproxy_both_sides")
        await everything(proxy, upstream)
        await until(lambda: sides.bytes_under_way == 0)
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                await everything(proxy, upstream)
            await until(lambda: sides.bytes_under_way == 0)
            await asyncio.to_thread(proxy.addon("ccproxy_traffic").traffic.flush)
            left = [thing for thing in gc.get_objects() if isinstance(thing, both_sides.Sides | legs.Part)]
        finally:
            gc.enable()
    assert len(left) <= 4  # the last exchange's own task may still hold it


async def test_bodies_under_way_are_bounded_together(
    tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(both_sides, "MAX_UNDER_WAY", 500_000)
    file, streams = tmp_path / "all.flow", 8

    async def script(wire: Wire, asked: Received) -> None:
        await wire.stream(b"event: ping\ndata: " + b"x " * 100_000 + b"\n\n", end=False)
        await wire.left()

    upstream.script = script
    async with running(tmp_path, upstream, Extras(record=file)) as proxy:
        sides = proxy.addon("ccproxy_both_sides")
        clients = [proxy.connect() for _ in range(streams)]
        for context in clients:
            client = await context.__aenter__()
            await client.send(request("/api/v1/messages", body(stream=True), JSON))
            await client.until(b"x \n\n")
            assert sides.bytes_under_way <= both_sides.MAX_UNDER_WAY
        for context in clients:
            await context.__aexit__(None, None, None)
        await until(lambda: sides.bytes_under_way == 0)
    flows = flows_in(file)
    assert len(flows) == streams
    assert any(len((flow.response and flow.response.content) or b"") > 200_000 for flow in flows)


async def test_what_waits_for_the_disk(tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is taken off the queues: they stay within their bounds, and traffic goes on."""
    upstream.script = answering
    monkeypatch.setattr(traffic, "MAX_WAITING", 100_000)
    monkeypatch.setattr(recording, "MAX_WAITING", 100_000)
    monkeypatch.setattr(traffic.Traffic, "start", lambda self: None)
    log = {"enabled": True, "dir": str(tmp_path / "raw")}
    async with running(tmp_path, upstream, Extras(record=tmp_path / "all.har"), raw_log=log) as proxy:
        for number in range(20):
            await post(proxy, "/api/v1/chat/completions", body(text=f"{number} " + "x" * 20_000))
        watcher = proxy.addon("ccproxy_traffic").traffic
        assert watcher.left_out > 0
        assert watcher._taken - watcher._done <= 200_000
        recorder = proxy.addon("ccproxy_record")
        flow = http.HTTPFlow(None, None)  # type: ignore[arg-type]
        flow.request = http.Request.make("POST", "http://x/", b"x" * 60_000)
        monkeypatch.setattr(recorder._thread, "submit", lambda *arguments: None)
        for _ in range(10):
            recorder.show([flow])
        assert recorder._queued <= 100_000
        assert recorder.left_out == 9


async def test_the_raw_log_s_folder(tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    upstream.script = answering
    monkeypatch.setattr(raw_log, "MAX_EXCHANGES", 7)
    folder = tmp_path / "raw"
    async with running(tmp_path, upstream, raw_log={"enabled": True, "dir": str(folder), "max_total_mb": 1}) as proxy:
        for _ in range(20):
            assert (await proxy.get("/health")).status == 200
        assert await asyncio.to_thread(proxy.addon("ccproxy_traffic").traffic.flush)
        assert len(list(folder.iterdir())) <= 7
        for number in range(12):
            await post(proxy, "/api/v1/chat/completions", body(text=f"{number} " + "x " * 50_000))
        assert await asyncio.to_thread(proxy.addon("ccproxy_traffic").traffic.flush)
        assert sum(file.stat().st_size for file in folder.rglob("*.http")) <= 1 << 20


def test_watchers_know_the_gateway_s_own_endpoints() -> None:
    """The two wings may not import each other."""
    assert watchers.OWN_ENDPOINTS == endpoints.READ
    assert watchers.PROBES == endpoints.OPEN_PATHS


def test_the_table_names_every_bound() -> None:
    """By name and value: what changes here has to change there."""
    table = SECURITY.read_text("utf-8").partition("## Stores and their limits")[2].partition("\n## ")[0]
    assert table
    values = {
        "MAX_MODELS": metrics.MAX_MODELS,
        "MAX_SERIES": metrics.MAX_SERIES,
        "MAX_WINDOWS": metrics.MAX_WINDOWS,
        "MAX_RATES": pricing.MAX_RATES,
        "MAX_LABELS": access_log.MAX_LABELS,
        "MAX_QUEUED": database.MAX_QUEUED,
        "MAX_EXCHANGES": raw_log.MAX_EXCHANGES,
        "MAX_LISTS": model_lists.MAX_LISTS,
        "MAX_OWN": mitmweb.MAX_OWN,
    }
    for name, value in values.items():
        assert f"{value:,}" in table, name
    for name, size in (
        ("traffic", traffic.MAX_WAITING), ("record", recording.MAX_WAITING), ("mitmweb", mitmweb.MAX_BYTES), ("body", both_sides.MAX_BODY),
        ("under way", both_sides.MAX_UNDER_WAY), ("lists", model_lists.MAX_KEPT),
    ):  # fmt: skip
        assert f"{size >> 20} MB" in table, name
