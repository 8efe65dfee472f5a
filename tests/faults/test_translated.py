"""Translated routes over HTTP: requests and upstream streams of hostile size and shape."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccproxy.translate.sse import MAX_EVENT_BYTES
from tests.fakes.proxy import Proxy
from tests.fakes.upstream import Received, Upstream, Wire, chunk

Json = dict[str, Any]

PATHS = ["/api/v1/chat/completions", "/api/v1/responses", "/api/codex/v1/messages", "/api/codex/v1/chat/completions"]
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def asking(path: str, **more: Any) -> Json:
    if path.endswith("/responses"):
        return {"model": "claude-opus-5", "input": "hi", **more}
    body: Json = {"model": "claude-opus-5", "messages": [{"role": "user", "content": "hi"}], **more}
    return {**body, "max_tokens": 10} if path.endswith("/messages") else body


def with_tool(path: str, parameters: Any) -> Json:
    if path.endswith("/messages"):
        tool: Json = {"name": "t", "input_schema": parameters, "strict": True}
    elif path.endswith("/responses"):
        tool = {"type": "function", "name": "t", "parameters": parameters, "strict": True}
    else:
        tool = {"type": "function", "function": {"name": "t", "parameters": parameters, "strict": True}}
    return asking(path, tools=[tool])


@pytest.mark.parametrize("path", PATHS)
async def test_nested_types_of_a_schema_are_sent_once_each(proxy: Proxy, upstream: Upstream, path: str) -> None:
    """Each level used to double the work: 40 levels would have taken longer than anybody lives."""
    parameters: Json = {"type": "string"}
    for _ in range(40):
        parameters = {"type": ["object", "string"], "properties": {"a": parameters}}
    await proxy.post(path, json.dumps(with_tool(path, parameters)).encode())
    assert len(upstream.last.body) < 20_000


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("value", "says"),
    [(b"NaN", "NaN"), (b"1e400", "1e400"), (b"[" * 900 + b"]" * 900, "nested too deeply"), (b"9" * 5000, "digits")],
    ids=["NaN", "1e400", "deep", "digits"],
)
async def test_values_that_cannot_be_sent_are_refused(
    proxy: Proxy, upstream: Upstream, path: str, value: bytes, says: str
) -> None:
    body = json.dumps(with_tool(path, {"type": "object", "properties": {"a": {"default": 7777}}})).encode()
    answer = await proxy.post(path, body.replace(b"7777", value))
    assert answer.status == 400
    assert says in answer.message
    assert [received for received in upstream.requests if received.method == "POST"] == []


@pytest.mark.parametrize("path", PATHS)
async def test_a_key_cannot_add_a_header(proxy: Proxy, upstream: Upstream, path: str) -> None:
    answer = await proxy.post(path, json.dumps(asking(path, **{"a\r\nset-cookie: b=c": 1, "ü\x00": 2})).encode())
    assert not answer.values("set-cookie")
    (losses,) = answer.values("x-ccproxy-loss")
    assert losses.isascii()
    assert b"set-cookie" in losses
    assert b"\\r\\n" in losses


@pytest.mark.parametrize("path", PATHS)
async def test_an_endless_event_ends_the_stream_in_an_error(proxy: Proxy, upstream: Upstream, path: str) -> None:
    async def endless(wire: Wire, _: Received) -> None:
        await wire.send(SSE, chunk(b"data: "))
        for _ in range(MAX_EVENT_BYTES // 2**18 + 8):
            await wire.send(chunk(b"x" * 2**18))
        await wire.left()

    upstream.script = endless
    answer = await proxy.post(path, json.dumps(asking(path, stream=True)).encode())
    assert answer.status == 200
    assert answer.whole
    assert b"an event of more than" in answer.body
    await upstream.deserted()
