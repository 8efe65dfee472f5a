"""Limits of a request: its head, its body, and JSON that is none."""

from __future__ import annotations

import tracemalloc
import zlib

import brotli
import pytest
import zstandard

from ccproxy.settings import Settings
from tests.conftest import Serve
from tests.fakes.client import message, request
from tests.fakes.proxy import Proxy
from tests.fakes.routes import CHAT_BODY, RESPONSES_BODY
from tests.fakes.upstream import Received, Upstream, Wire, plain

MB = 2**20
OPENAI = ("/api/codex/responses", "/chatty/v1/chat/completions")


def test_the_default_body_limit() -> None:
    assert Settings().server.max_body_mb == 64


@pytest.mark.parametrize(
    "path", ["/api/v1/messages", "/api/codex/responses", "/chatty/v1/chat/completions", "/mock/v1/messages"]
)
@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_body_over_the_limit(serve: Serve, upstream: Upstream, path: str, framing: str) -> None:
    proxy = await serve(server={"max_body_mb": 1})
    body = b"x" * (MB + 1)
    async with proxy.connect() as client:
        if framing == "length":
            await client.send(request(path, body))
        else:
            await client.send(request(path, b"", ("Transfer-Encoding", "chunked")))
            for at in range(0, len(body), 100_000):
                piece = body[at : at + 100_000]
                await client.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            await client.send(b"0\r\n\r\n")
        answer = await client.answer()
        assert (answer.status, answer.whole) == (413, True)
        assert "1 MB" in answer.message
        assert "server.max_body_mb" in answer.message
        assert answer.json["error"]["type"] == ("invalid_request_error" if path in OPENAI else "request_too_large")
        assert answer["connection"] == "close"
        assert await client.rest() == b""
    assert upstream.requests == []
    assert (await proxy.post("/api/v1/messages", message())).status == 200


async def test_a_declared_size_is_refused_before_the_body_comes(serve: Serve, upstream: Upstream) -> None:
    proxy = await serve(server={"max_body_mb": 1})
    async with proxy.connect() as client:
        await client.send(request("/api/v1/messages", b"", ("Content-Length", str(MB + 1))))
        assert (await client.answer()).status == 413


async def test_a_body_of_just_the_limit(serve: Serve, upstream: Upstream) -> None:
    proxy = await serve(server={"max_body_mb": 1})
    body = message(text="x" * (MB - len(message(text=""))))
    assert len(body) == MB
    assert (await proxy.post("/api/v1/messages", body)).status == 200
    assert upstream.last.body == body


async def test_answers_have_no_limit(serve: Serve, upstream: Upstream) -> None:
    proxy = await serve(server={"max_body_mb": 1})
    body = b'"' + b"x" * 3 * MB + b'"'

    async def script(wire: Wire, _: Received) -> None:
        await wire.answer(200, body)

    upstream.script = script
    assert (await proxy.post("/api/v1/messages", message())).body == body


@pytest.mark.parametrize(
    "head",
    [
        b"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nX-Big: " + b"a" * 66_000 + b"\r\n\r\n",
        b"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\n"
        + b"".join(b"X-%d: a\r\n" % n for n in range(8000))
        + b"\r\n",
        b"POST /api/v1/messages?" + b"q" * 66_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /api/v1/messages HTTP/1.1\r\nX-Endless: " + b"a" * 66_000,
        b"a" * 66_000,
    ],
    ids=["one field", "many fields", "target", "without an end", "no line"],
)
async def test_a_head_over_the_limit(proxy: Proxy, upstream: Upstream, head: bytes) -> None:
    async with proxy.connect() as client:
        answer = await client.ask(head)
        assert (answer.status, answer.whole) == (431, True)
        assert "64 KB" in answer.message
        assert await client.rest() == b""
    assert upstream.requests == []


async def test_a_large_head_below_the_limit(proxy: Proxy, upstream: Upstream) -> None:
    assert (await proxy.post("/api/v1/messages", message(), ("X-Big", "a" * 60_000))).status == 200
    assert upstream.last.values("x-big") == [b"a" * 60_000]


BROKEN = {
    "empty": b"",
    "word": b"hello",
    "unclosed": b'{"model":"m","stream":true',
    "unclosed after a comma": b'{"model":"m",',
    "unclosed string": b'{"model":"m","messages":"abc',
    "unclosed key": b'{"model',
    "single quotes": b"{'model':'m'}",
    "trailing comma": b'{"model":"m",}',
    "no comma": b'{"model":"m" "stream":true}',
    "no colon": b'{"model" "m"}',
    "no value": b'{"model":}',
    "garbage behind": b'{"model":"m"} x',
    "two objects": b'{"model":"m"}{"model":"m"}',
    "broken value": b'{"model":"m","messages":[1,2}',
    "control character": b'{"model":"m\n"}',
    "no UTF-8": b'{"model":"\xff\xfe"}',
    "cut character": '{"model":"ü"}'.encode()[:-3],
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize(
    "path", ["/api/v1/messages", "/api/codex/responses", "/chatty/v1/chat/completions", "/mock/v1/messages"]
)
async def test_json_that_is_none(proxy: Proxy, upstream: Upstream, path: str, body: bytes) -> None:
    answer = await proxy.post(path, body, *([("Content-Length", "0")] if not body else []))
    assert answer.status == 400
    assert answer.json["error"]["type"] == "invalid_request_error"
    assert "not valid JSON" in answer.message
    assert any(word in answer.message for word in ("column", "byte")), answer.message
    assert upstream.requests == []


@pytest.mark.parametrize("path", ["/api/v1/messages", "/api/codex/responses", "/mock/v1/messages"])
@pytest.mark.parametrize(
    "body",
    [b'{"model":"m","a":' + b"[" * 200_000 + b"]" * 200_000 + b"}", b'{"model":"m","a":' + b"1" * 5000 + b"}"],
    ids=["nested too deep", "a number of 5000 digits"],
)
async def test_json_that_breaks_parsers(proxy: Proxy, path: str, body: bytes) -> None:
    answer = await proxy.post(path, body)
    assert answer.status in {200, 400}


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"7", b"null"])
async def test_codex_and_mock_want_an_object(proxy: Proxy, upstream: Upstream, body: bytes) -> None:
    for path in ("/api/codex/responses", "/mock/v1/messages"):
        answer = await proxy.post(path, body)
        assert answer.status == 400
        assert "JSON object" in answer.message
    assert upstream.requests == []


@pytest.mark.parametrize("path", ["/api/v1/messages", "/api/codex/responses"])
async def test_a_client_that_sends_half_a_request(proxy: Proxy, upstream: Upstream, path: str) -> None:
    body = RESPONSES_BODY if "codex" in path else message()
    for part in (
        request(path, body)[:-1],
        request(path, body)[:40],
        request(path, b"", ("Transfer-Encoding", "chunked")) + b"5\r\nab",
    ):
        async with proxy.connect() as client:
            await client.send(part)
    assert (await proxy.post("/chatty/v1/chat/completions", CHAT_BODY)).status == 200
    assert len(upstream.requests) == 1


async def test_a_chunk_that_is_none(proxy: Proxy, upstream: Upstream) -> None:
    async with proxy.connect() as client:
        answer = await client.ask(
            request("/api/v1/messages", b"", ("Transfer-Encoding", "chunked")) + b"zz\r\n{}\r\n0\r\n\r\n"
        )
        assert answer.status == 400
        assert answer.json["error"]["type"] == "invalid_request_error"
        assert await client.rest() == b""
    assert upstream.requests == []


# ---- responses that decompress to much more than they are


def bomb(encoding: str, size: int) -> bytes:
    """An event and the beginning of another of `size` megabytes, compressed without holding it in memory."""
    wire = [b'event: ping\ndata: {"type":"ping"}\n\n', b"data: ", *[b"a" * MB] * size]
    for name in encoding.split(", "):
        match name:
            case "br":
                brotli_stream = brotli.Compressor(quality=5)
                wire = [*(brotli_stream.process(part) for part in wire), brotli_stream.finish()]
            case "zstd":
                zstd_stream = zstandard.ZstdCompressor().compressobj()
                wire = [*(zstd_stream.compress(part) for part in wire), zstd_stream.flush()]
            case _:
                gzip_stream = zlib.compressobj(1, wbits=31)
                wire = [*(gzip_stream.compress(part) for part in wire), gzip_stream.flush()]
    return b"".join(wire)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip", "gzip, br"])
async def test_a_decompression_bomb_passes_a_native_route_and_is_not_unpacked(
    proxy: Proxy, upstream: Upstream, encoding: str
) -> None:
    body = bomb(encoding, 192)
    assert (await proxy.post("/api/v1/messages", message())).status == 200  # what is loaded once is loaded now

    async def script(wire: Wire, _: Received) -> None:
        await wire.answer(200, body, ("Content-Type", "text/event-stream"), ("Content-Encoding", encoding))

    upstream.script = script
    tracemalloc.start()
    try:
        answer = await proxy.post("/api/v1/messages", message(), ("Accept-Encoding", encoding))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (answer.status, answer.body) == (200, body)
    assert peak < 100 * MB
    upstream.script = plain
    assert (await proxy.post("/api/v1/messages", message())).status == 200
