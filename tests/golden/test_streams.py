"""Event streams: every byte as it came, as soon as it came, however it was cut."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given, strategies as st

from tests.fakes.client import message, request
from tests.fakes.proxy import Proxy
from tests.fakes.routes import IDS, NATIVE, Native
from tests.fakes.upstream import Received, Script, Upstream, Wire, chunk

native = pytest.mark.parametrize("route", NATIVE, ids=IDS)

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
# Line ends of all three kinds, comments, pings, unknown fields, characters of up to four bytes, and an end without a blank line.
EVENTS = (
    b'event: message_start\r\ndata: {"type":"message_start","message":{"id":"msg_1"}}\r\n\r\n',
    b": a comment\n\n",
    b'event: ping\ndata: {"type": "ping"}\n\n',
    'event: content_block_delta\ndata: {"delta":{"text":"gr\u00fc\u00dfe \u20ac \U0001f600"}}\n\n'.encode(),
    b"id: 7\rretry: 10\rdata:no space\r\r",
    b"unknown: field\ndata: [DONE]\n\n",
    b"data: the end has no blank line",
)
BODY = b"".join(EVENTS)
DONE = b"\r\r\ndata: [DONE]\n\n"
"""The end of a stream of any format; without one it would not be whole."""


@native
async def test_each_event_is_there_before_the_next_is_sent(proxy: Proxy, upstream: Upstream, route: Native) -> None:
    seen = [asyncio.Event() for _ in EVENTS]

    async def script(wire: Wire, _: Received) -> None:
        await wire.send(HEAD)
        for event, arrived in zip(EVENTS, seen, strict=True):
            await wire.send(chunk(event))
            await arrived.wait()
        await wire.send(b"0\r\n\r\n")

    upstream.script = script
    async with proxy.connect() as client:
        await client.send(request(route.path, route.body))
        answer = await client.head()  # before any event
        assert answer["content-type"] == "text/event-stream; charset=utf-8"
        for event, arrived in zip(EVENTS, seen, strict=True):
            assert await client.read_chunk() == event
            arrived.set()
        assert await client.read_chunk() == b""


def in_pieces(*pieces: bytes) -> Script:
    async def script(wire: Wire, _: Received) -> None:
        await wire.send(*(piece for piece in pieces if piece))

    return script


@native
async def test_cut_at_every_place(proxy: Proxy, upstream: Upstream, route: Native) -> None:
    async with proxy.connect() as client:
        for at in range(1, len(BODY)):
            upstream.script = in_pieces(HEAD, chunk(BODY[:at]), chunk(BODY[at:]), b"0\r\n\r\n")
            answer = await client.ask(request(route.path, route.body))
            assert (answer.body, answer.whole) == (BODY, True)
    assert upstream.connections == 1


async def test_the_wire_cut_at_every_place(proxy: Proxy, upstream: Upstream) -> None:
    wire_bytes = HEAD + chunk(EVENTS[0]) + chunk(EVENTS[3]) + chunk(DONE) + b"0\r\n\r\n"
    async with proxy.connect() as client:
        for at in range(1, len(wire_bytes)):
            upstream.script = in_pieces(wire_bytes[:at], wire_bytes[at:])
            answer = await client.ask(request("/api/v1/messages", message()))
            assert (answer.body, answer.whole) == (EVENTS[0] + EVENTS[3] + DONE, True)


@given(
    body=st.lists(st.sampled_from(EVENTS) | st.binary(min_size=1, max_size=40), max_size=8).map(
        lambda pieces: b"".join(pieces) + DONE
    ),
    chunks=st.lists(st.integers(1, 60), max_size=12),
    packets=st.lists(st.integers(1, 90), max_size=20),
    extension=st.sampled_from([b"", b";a", b';a="b"']),
    route=st.sampled_from(NATIVE),
)
async def test_any_bytes_in_any_pieces(
    proxy: Proxy,
    upstream: Upstream,
    body: bytes,
    chunks: list[int],
    packets: list[int],
    extension: bytes,
    route: Native,
) -> None:
    framed, rest = b"", body
    for size in [*chunks, len(body)]:
        if piece := rest[:size]:
            framed += b"%X%s\r\n%s\r\n" % (len(piece), extension, piece)
            rest = rest[size:]
    wire_bytes = HEAD + framed + b"0\r\n\r\n"
    pieces = []
    for size in [*packets, len(wire_bytes)]:
        pieces.append(wire_bytes[:size])
        wire_bytes = wire_bytes[size:]

    upstream.script = in_pieces(*pieces)
    answer = await proxy.post(route.path, route.body)
    assert (answer.body, answer.whole) == (body, True)


async def test_a_long_stream_keeps_its_pace_and_its_bytes(proxy: Proxy, upstream: Upstream) -> None:
    events = [b"data: " + json.dumps({"n": n, "text": "word " * (n % 7)}).encode() + b"\n\n" for n in range(3000)]

    async def script(wire: Wire, _: Received) -> None:
        wire.writer.write(HEAD)
        for event in events:
            wire.writer.write(chunk(event))
            await wire.writer.drain()
        await wire.send(b"0\r\n\r\n")

    upstream.script = script
    answer = await proxy.post("/api/v1/messages", message())
    assert answer.body == b"".join(events)


async def test_many_streams_at_once(proxy: Proxy, upstream: Upstream) -> None:
    go = asyncio.Event()

    async def script(wire: Wire, request: Received) -> None:
        await wire.send(HEAD, chunk(b"data: first\n\n"))
        await go.wait()
        await wire.send(chunk(b"data: " + request.body + b"\n\n"), b"0\r\n\r\n")

    upstream.script = script

    async def one(number: int) -> bytes:
        async with proxy.connect() as client:
            await client.send(request("/api/v1/messages", message(text=str(number))))
            answer = await client.head()
            assert await client.read_chunk() == b"data: first\n\n"
            if len(upstream.requests) == 40:
                go.set()
            await client.body(answer)
            return answer.body

    bodies = await asyncio.gather(*(one(number) for number in range(40)))
    assert bodies == [b"data: " + message(text=str(number)) + b"\n\n" for number in range(40)]


async def test_a_stream_of_known_length_or_without_any(proxy: Proxy, upstream: Upstream) -> None:
    async def known(wire: Wire, _: Received) -> None:
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        for at in range(0, len(BODY), 11):
            await wire.send(BODY[at : at + 11])

    async def until_the_end(wire: Wire, _: Received) -> None:
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for at in range(0, len(BODY), 11):
            await wire.send(BODY[at : at + 11])
        wire.close()

    for upstream.script in (known, until_the_end):
        answer = await proxy.post("/api/v1/messages", message())
        assert (answer.body, answer.whole) == (BODY, True)


async def test_an_old_client_gets_its_stream_without_chunks(proxy: Proxy, upstream: Upstream) -> None:
    async def script(wire: Wire, _: Received) -> None:
        await wire.stream(*EVENTS)

    upstream.script = script
    async with proxy.connect() as client:
        answer = await client.ask(request("/api/v1/messages", message()).replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert answer.values("transfer-encoding") == []
        assert answer.body == BODY
