"""What an upstream answers is what the client gets, byte for byte."""

from __future__ import annotations

import gzip
import itertools
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given, strategies as st

from tests.fakes.client import Answer, message, request
from tests.fakes.proxy import Proxy
from tests.fakes.routes import IDS, NATIVE, Native
from tests.fakes.upstream import Received, Upstream, Wire, chunk, turns

native = pytest.mark.parametrize("route", NATIVE, ids=IDS)

# As real upstreams answer, and odder: order, spelling and repetition are the upstream's to decide.
FIELDS = (
    b"Date: Sun, 22 Nov 2026 12:00:00 GMT\r\n"
    b"Content-Type: application/json\r\n"
    b"CF-Ray: 8e6f-FRA\r\n"
    b"cf-cache-status: DYNAMIC\r\n"
    b"Set-Cookie: __cf_bm=a; path=/; HttpOnly\r\n"
    b"set-cookie: _cfuvid=b; path=/\r\n"
    b'alt-svc: h3=":443"; ma=86400\r\n'
    b"anthropic-ratelimit-unified-5h-utilization: 0.42\r\n"
    b"X-Codex-Primary-Used-Percent: 12.5\r\n"
    b"x-codex-turn-state: opaque==\r\n"
    b"request-id: req_upstream\r\n"
    b"Retry-After: 7\r\n"
    b"Strict-Transport-Security: max-age=31536000\r\n"
    b"Access-Control-Expose-Headers: x-upstream\r\n"
    b"x-empty: \r\n"
    b"Via: 1.1 google\r\n"
)


def as_sent(answer: Answer) -> bytes:
    """The answer's head without the one header field that ccproxy adds, which has to be there once."""
    (flow,) = answer.values("x-ccproxy-flow")
    assert len(flow) == 36
    return answer.head.replace(b"x-ccproxy-flow: " + flow + b"\r\n", b"")


@native
@pytest.mark.parametrize(
    "status",
    ["200 OK", "200 Fine by me", "201 Created", "429 Too Many Requests", "529 Overloaded", "418 I'm a teapot", "500 "],
)
async def test_status_head_and_body(proxy: Proxy, upstream: Upstream, route: Native, status: str) -> None:
    body = '{"type": "error",\n "error" :{"message":"prompt is too long: \\u00fc ü"} }\n'.encode()
    head = f"HTTP/1.1 {status}\r\n".encode() + FIELDS + b"Content-Length: %d\r\n\r\n" % len(body)

    async def script(wire: Wire, _: Received) -> None:
        await wire.send(head + body)

    upstream.script = script
    answer = await proxy.post(route.path, route.body)
    assert as_sent(answer) == head
    assert answer.body == body


async def test_html_of_a_gate_keeper_passes_too(proxy: Proxy, upstream: Upstream) -> None:
    body = b"<!DOCTYPE html><title>Just a moment...</title>"

    async def script(wire: Wire, _: Received) -> None:
        await wire.answer(
            403, body, ("Content-Type", "text/html; charset=UTF-8"), ("cf-mitigated", "challenge"), reason="Forbidden"
        )

    upstream.script = script
    answer = await proxy.post("/api/codex/responses", NATIVE[2].body)
    assert (answer.status, answer.body, answer["content-type"]) == (403, body, "text/html; charset=UTF-8")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_the_clients_to_follow(proxy: Proxy, upstream: Upstream, status: int) -> None:
    async def script(wire: Wire, _: Received) -> None:
        await wire.answer(status, b"", ("Location", "http://elsewhere.invalid/v1/messages"), reason="Moved")

    upstream.script = script
    answer = await proxy.post("/api/v1/messages", message())
    assert (answer.status, answer["location"]) == (status, "http://elsewhere.invalid/v1/messages")
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_answers_that_have_no_body(proxy: Proxy, upstream: Upstream, status: str) -> None:
    async def script(wire: Wire, _: Received) -> None:
        await wire.send(f'HTTP/1.1 {status}\r\nETag: "x"\r\n\r\n'.encode())

    upstream.script = script
    async with proxy.connect() as client:
        for _ in range(2):
            answer = await client.ask(request("/api/v1/files/f", method="DELETE"))
            assert as_sent(answer) == f'HTTP/1.1 {status}\r\nETag: "x"\r\n\r\n'.encode()


CODINGS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
async def test_compressed_answers_stay_compressed(proxy: Proxy, upstream: Upstream, coding: str, kind: str) -> None:
    body = CODINGS[coding](b'data: {"a":"' + b"x" * 500 + b'"}\n\n')
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Encoding: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
        % (kind.encode(), coding.encode())
    )  # fmt: skip

    async def script(wire: Wire, _: Received) -> None:
        await wire.send(head, chunk(body[:7]), chunk(body[7:]), b"0\r\n\r\n")

    upstream.script = script
    answer = await proxy.post("/api/v1/messages", message(), ("Accept-Encoding", coding))
    assert as_sent(answer) == head
    assert answer.body == body
    assert answer.whole


async def test_a_body_that_ends_with_the_connection(proxy: Proxy, upstream: Upstream) -> None:
    for version in (b"1.0", b"1.1"):

        async def script(wire: Wire, _: Received, version: bytes = version) -> None:
            await wire.send(b"HTTP/%s 200 OK\r\nContent-Type: application/octet-stream\r\n\r\nab" % version, b"cd")
            wire.close()

        upstream.script = script
        answer = await proxy.get("/api/v1/files/f/content")
        assert answer.body == b"abcd"
        # In chunks, so that the client can tell a whole body from one that is cut.
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        assert (as_sent(answer), answer.whole) == (head, True)


async def test_a_body_that_ends_with_the_connection_and_a_reset(proxy: Proxy, upstream: Upstream) -> None:
    async def script(wire: Wire, _: Received) -> None:
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\r\nab")
        await turns(10)
        wire.reset()

    upstream.script = script
    answer = await proxy.get("/api/v1/files/f/content")
    assert (answer.status, answer.whole) == (502, True) or not answer.whole


async def test_interim_answers_are_passed_over(proxy: Proxy, upstream: Upstream) -> None:
    final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

    async def script(wire: Wire, _: Received) -> None:
        await wire.send(
            b"HTTP/1.1 100 Continue\r\n\r\nHTT", b"P/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r", b"\n\r\n", final
        )

    upstream.script = script
    async with proxy.connect() as client:
        for _ in range(2):
            answer = await client.ask(request("/api/v1/messages", message()))
            assert as_sent(answer) + answer.body == final


async def test_trailers_do_not_stop_an_answer(proxy: Proxy, upstream: Upstream) -> None:
    async def script(wire: Wire, _: Received) -> None:
        await wire.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
        )
        await wire.send(chunk(b"data: 1\n\n"), b"0\r\nX-Sum: 1\r\n\r\n")

    upstream.script = script
    async with proxy.connect() as client:
        for _ in range(2):
            answer = await client.ask(request("/api/v1/messages", message()))
            assert (answer.body, answer.whole) == (b"data: 1\n\n", True)
    assert upstream.connections == 1


async def test_what_concerns_one_hop_only_stays_there(proxy: Proxy, upstream: Upstream) -> None:
    async def script(wire: Wire, _: Received) -> None:
        await wire.answer(
            200, b"{}", ("Connection", "close, X-Hop"), ("X-Hop", "1"), ("Keep-Alive", "timeout=5"), ("X-End-To-End", "1"),
            ("Proxy-Authenticate", "Basic"), ("Upgrade", "h2c"),
        )  # fmt: skip
        wire.close()

    upstream.script = script
    async with proxy.connect() as client:
        for number in range(2):
            answer = await client.ask(
                request(
                    "/api/v1/messages", message(), ("Connection", "keep-alive, X-Mine"), ("X-Mine", "1"), ("TE", "trailers"),
                    ("Keep-Alive", "1"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABk"), ("X-Mine-Too", "1"),
                )
            )  # fmt: skip
            assert {name for name, _ in answer.fields} == {
                b"X-End-To-End",
                b"Content-Type",
                b"Content-Length",
                b"x-ccproxy-flow",
            }
            assert upstream.connections == number + 1
    names = [name.lower() for name, _ in upstream.last.fields]
    assert names == [b"host", b"x-mine-too", b"content-length", b"anthropic-version", b"x-api-key"]


@given(
    reason=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20).map(str.strip),
    status=st.integers(200, 599).filter(lambda code: code not in {204, 304}),
    body=st.binary(max_size=300),
    kind=st.sampled_from(["application/json", "text/event-stream", "application/octet-stream", "text/html", ""]),
    framing=st.sampled_from(["length", "chunked"]),
    cuts=st.lists(st.integers(0, 300), max_size=4),
)
async def test_any_answer(
    proxy: Proxy, upstream: Upstream, reason: str, status: int, body: bytes, kind: str, framing: str, cuts: list[int]
) -> None:
    if kind == "text/event-stream" and status == 200:
        body += b"\n\ndata: [DONE]\n\n"  # without its end a stream would not be whole
    places = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    pieces = [body[start:end] for start, end in itertools.pairwise(places) if end > start]
    head = f"HTTP/1.1 {status} {reason}\r\n" + (f"Content-Type: {kind}\r\n" if kind else "")
    if framing == "length":
        head += f"Content-Length: {len(body)}\r\n"
    else:
        head += "Transfer-Encoding: chunked\r\n"
        pieces = [*map(chunk, pieces), b"0\r\n\r\n"]
    head += "\r\n"

    async def script(wire: Wire, _: Received) -> None:
        await wire.send(head.encode(), *pieces)

    upstream.script = script
    answer = await proxy.post("/api/v1/messages", message())
    assert as_sent(answer) == head.encode()
    assert (answer.body, answer.whole) == (body, True)
