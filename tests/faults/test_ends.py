"""Ends that are neither a clean one nor a broken connection: each has to look like what it is, to the client and in the ledger."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest

from ccproxy.addons.transport import layer
from tests.conftest import Serve
from tests.fakes.client import message, request
from tests.fakes.company_proxy import CompanyProxy
from tests.fakes.proxy import Proxy
from tests.fakes.routes import CHAT_BODY, RESPONSES_BODY
from tests.fakes.upstream import PATIENCE, Received, Script, Upstream, Wire, chunk

SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
WHOLE_CHAT = CHAT_BODY.replace(b',"stream":true', b"")


def answering(*pieces: bytes) -> Script:
    async def script(wire: Wire, received: Received) -> None:
        if received.method == "GET":
            await wire.answer(200, b'{"data":[]}')
        else:
            await wire.send(*pieces)

    return script


@pytest.mark.parametrize("body", [CHAT_BODY, WHOLE_CHAT], ids=["stream", "whole"])
async def test_an_empty_stream_is_an_error_on_translated_routes(proxy: Proxy, upstream: Upstream, body: bytes) -> None:
    upstream.script = answering(SSE + b"Content-Length: 0\r\n\r\n")
    answer = await proxy.post("/api/v1/chat/completions", body)
    assert answer.status == 502
    assert "error" in answer.json


async def test_an_empty_stream_is_an_error_on_native_routes(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = answering(SSE + b"Content-Length: 0\r\n\r\n")
    answer = await proxy.post("/api/v1/messages", message(stream=True))
    assert (answer.status, answer.json["type"]) == (502, "error")


async def test_a_content_encoding_that_cannot_be_decoded_is_named(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = answering(
        SSE + b"Content-Encoding: compress\r\nTransfer-Encoding: chunked\r\n\r\n", chunk(b'data: {"choices":[]}\n\n')
    )
    answer = await proxy.post("/api/v1/chat/completions", CHAT_BODY)
    assert answer.status == 502
    assert "content-encoding" in answer.message


async def test_a_damaged_response_is_over_when_its_error_is_sent(proxy: Proxy, upstream: Upstream) -> None:
    body = gzip.compress(b'{"type":"message"}')[:-4]
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
        % len(body)
    )
    upstream.script = answering(head, body)
    async with proxy.connect() as client:
        answer = await client.ask(request("/api/v1/chat/completions", WHOLE_CHAT))
        assert answer.status == 502
        assert "content-encoding" in answer.message
        assert proxy.addon("gateway").live == {}
        assert proxy.host.running_responses() == 0


async def test_a_refusal_that_is_not_tried_again_is_accounted_for(serve: Serve, upstream: Upstream) -> None:
    body = b'{"type":"error","error":{"type":"rate_limit_error","message":"later"}}'
    head = (
        b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nRetry-After: 0\r\nContent-Length: %d\r\n\r\n"
        % len(body)
    )
    upstream.script = answering(head, body)
    proxy: Proxy = await serve(providers={"claude_api": {"retries": [429]}})
    records: list[Any] = []
    proxy.addon("accounting").metrics.record = records.append
    answer = await proxy.post("/api/v1/messages", message())
    assert (answer.status, answer.body) == (429, body)
    assert len(upstream.requests) == 3
    assert [(record.status, record.error_type) for record in records] == [(429, "rate_limit_error")]


def event(kind: str, **more: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), json.dumps({"type": kind, **more}).encode())


async def test_a_folded_response_does_not_wait_for_an_upstream_that_cannot_be_read(
    proxy: Proxy, upstream: Upstream
) -> None:
    left = asyncio.Event()

    async def script(wire: Wire, received: Received) -> None:
        if received.method == "GET":
            await wire.answer(200, b'{"models":[]}')
            return
        await wire.stream(b"data: {\n\n", end=False)
        await wire.left()
        left.set()

    upstream.script = script
    async with asyncio.timeout(PATIENCE):
        answer = await proxy.post("/api/codex/v1/messages", message())
        await left.wait()
    assert answer.status == 502


async def test_a_cancelled_response_is_whole(proxy: Proxy, upstream: Upstream) -> None:
    body = event("response.created", response={"id": "r"}) + event("response.cancelled", response={"id": "r"})
    upstream.script = answering(SSE + b"Transfer-Encoding: chunked\r\n\r\n", chunk(body), b"0\r\n\r\n")
    answer = await proxy.post("/respy/v1/responses", RESPONSES_BODY)
    assert (answer.body, answer.whole) == (body, True)


async def test_text_that_looks_like_an_end_is_none(proxy: Proxy, upstream: Upstream) -> None:
    piece = {"choices": [{"index": 0, "delta": {"content": "it ends with data: [DONE]"}, "finish_reason": None}]}
    body = b"data: %s\n\n" % json.dumps(piece).encode()
    upstream.script = answering(SSE + b"Transfer-Encoding: chunked\r\n\r\n", chunk(body), b"0\r\n\r\n")
    answer = await proxy.post("/chatty/v1/chat/completions", CHAT_BODY)
    assert answer.body.startswith(body)
    assert b'"error"' in answer.body[len(body) :]


async def test_watching_permissions_is_refused_without_a_body(proxy: Proxy) -> None:
    async with proxy.connect() as client:
        await client.send(request("/permissions/stream", b"", ("x-ccproxy-token", proxy.host.cli_token), method="HEAD"))
        answer = await client.answer("HEAD")
        assert answer.status == 405
        assert (await client.ask(request("/health", b"", method="GET"))).status == 200


async def test_tunnels_that_idled_are_closed_and_not_collected(
    monkeypatch: pytest.MonkeyPatch, serve: Serve, upstream: Upstream
) -> None:
    """mitmproxy allows five connections to an address for each client; each tunnel that was left open took one."""
    monkeypatch.setattr(layer, "IDLE_REUSE", -1.0)
    async with CompanyProxy({"api.test:80": ("127.0.0.1", upstream.port)}) as company:
        monkeypatch.setenv("HTTP_PROXY", company.url())
        proxy: Proxy = await serve(
            providers={"claude_api": {"base_url": "http://api.test", "api_key": "sk-ant-" + "configured"}}
        )
        async with proxy.connect() as client, asyncio.timeout(PATIENCE):
            for _ in range(8):
                assert (await client.ask(request("/api/v1/messages", message()))).status == 200
            assert upstream.open <= 2
