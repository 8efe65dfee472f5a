"""A few hundred bytes that decompress to hundreds of megabytes, on every route and in both directions."""

from __future__ import annotations

import gzip
import json
import zlib

import brotli
import pytest
import zstandard

from tests.conftest import Serve
from tests.fakes.client import request
from tests.fakes.proxy import Proxy
from tests.fakes.upstream import Received, Upstream, Wire, chunk

SIZE = 64 * 2**20


def bomb(encoding: str) -> bytes:
    """`{"model":"m","messages":"    …"}`, compressed."""
    plain = b'{"model":"m","messages":[{"role":"user","content":"' + b" " * SIZE + b'"}]}'
    return compressed(plain, encoding)


def compressed(plain: bytes, encoding: str) -> bytes:
    match encoding:
        case "gzip":
            return gzip.compress(plain, 9)
        case "deflate":
            return zlib.compress(plain, 9)
        case "br":
            return brotli.compress(plain, quality=5)
        case "zstd":
            return zstandard.compress(plain, 9)
        case "gzip, br":
            return brotli.compress(gzip.compress(plain, 9), quality=5)
        case _:
            raise AssertionError(encoding)


ENCODINGS = ("gzip", "deflate", "br", "zstd", "gzip, br")
BOMBS = {encoding: bomb(encoding) for encoding in ENCODINGS}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "path",
    ["/api/v1/chat/completions", "/api/codex/v1/messages", "/mock/v1/messages", "/mock/v1/responses",
     "/mock/v1/messages/count_tokens", "/api/codex/v1/messages/count_tokens"],
)  # fmt: skip
async def test_a_request_that_decompresses_to_too_much_is_a_413(
    serve: Serve, upstream: Upstream, path: str, encoding: str
) -> None:
    proxy: Proxy = await serve(server={"max_body_mb": 8})
    async with proxy.connect() as client:
        answer = await client.ask(request(path, BOMBS[encoding], ("Content-Encoding", encoding)))
        assert answer.status == 413
        assert "server.max_body_mb" in answer.message
        assert [received for received in upstream.requests if received.method == "POST"] == []


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_a_compressed_request_is_read(proxy: Proxy, encoding: str) -> None:
    body = compressed(b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}', encoding)
    async with proxy.connect() as client:
        answer = await client.ask(request("/mock/v1/messages", body, ("Content-Encoding", encoding)))
        assert answer.status == 200
        assert answer.json["role"] == "assistant"
        wrong = await client.ask(request("/mock/v1/messages", body[:-3], ("Content-Encoding", encoding)))
        assert wrong.status == 400
        unknown = await client.ask(request("/mock/v1/messages", body, ("Content-Encoding", "compress")))
        assert unknown.status == 400
        assert "compress" in unknown.message


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_response_that_decompresses_to_too_much_is_an_error(
    serve: Serve, upstream: Upstream, encoding: str, streamed: bool
) -> None:
    body = compressed(b"data: " + b" " * (192 * 2**20) + b"\n\n", encoding) if streamed else BOMBS[encoding]
    kind = "text/event-stream" if streamed else "application/json"

    async def script(wire: Wire, received: Received) -> None:
        if received.method == "GET":
            await wire.answer(200, b'{"data":[]}')
            return
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Encoding: {encoding}\r\nTransfer-Encoding: chunked\r\n\r\n"
        await wire.send(head.encode(), chunk(body), b"0\r\n\r\n")

    upstream.script = script
    proxy: Proxy = await serve(server={"max_body_mb": 8})
    asked = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "stream": streamed}
    async with proxy.connect() as client:
        answer = await client.ask(request("/api/v1/chat/completions", json.dumps(asked).encode()))
        assert answer.whole
        if streamed:
            assert b"too large" in answer.body
            assert b"[DONE]" not in answer.body
        else:
            assert answer.status == 502
            assert "server.max_body_mb" in answer.message


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_compressed_bytes_pass_a_native_route_untouched(proxy: Proxy, upstream: Upstream, encoding: str) -> None:
    body = compressed(b"data: " + b" " * (192 * 2**20) + b"\n\n", encoding)

    async def script(wire: Wire, _: Received) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: {encoding}\r\nTransfer-Encoding: chunked\r\n\r\n"
        await wire.send(head.encode(), chunk(body), b"0\r\n\r\n")

    upstream.script = script
    answer = await proxy.post("/api/v1/messages", b'{"model":"m","messages":[],"stream":true}')
    assert (answer.body, answer.whole) == (body, True)
