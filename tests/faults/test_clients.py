"""Clients that leave, that do not read, and that stay for ever."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import logging
import socket
import time
import types
from collections.abc import AsyncIterator
from typing import Any

import pytest
from mitmproxy import http
from mitmproxy.connection import Server
from mitmproxy.proxy import server as mitm_server

from ccproxy.addons.gateway.ways import native as native_way
from ccproxy.addons.transport.stream import GatewayStream
from ccproxy.providers.local import LocalRequest
from ccproxy.providers.routing import Router
from tests.conftest import Serve
from tests.fakes.client import Client, message, request
from tests.fakes.pace import within
from tests.fakes.provider import START, Scripted
from tests.fakes.proxy import Proxy
from tests.fakes.routes import CHAT_BODY, IDS, NATIVE, RESPONSES_BODY, Native
from tests.fakes.upstream import PATIENCE, Received, Upstream, Wire, chunk, turns

native = pytest.mark.parametrize("route", NATIVE, ids=IDS)
PROMPTLY = 0.2
"""Seconds within which work for a client that has left must have stopped."""


async def close(client: Client) -> None:
    await client.close()


async def reset(client: Client) -> None:
    client.reset()


leaves = pytest.mark.parametrize("leave", [close, reset])


async def promptly(event: asyncio.Event) -> None:
    async with within(PROMPTLY):
        await event.wait()


def put(proxy: Proxy, provider: Scripted) -> None:
    proxy.addon("gateway").shared.locals["mock"] = provider


# ---- the client leaves


@native
@leaves
async def test_the_upstream_of_a_client_that_leaves_is_closed_while_it_is_silent(
    proxy: Proxy, upstream: Upstream, route: Native, leave: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ccproxy.access")
    gone = asyncio.Event()

    async def script(wire: Wire, _: Received) -> None:
        await wire.stream(b"data: 1\n\n", end=False)
        await wire.left()
        gone.set()

    upstream.script = script
    async with proxy.connect() as client:
        await client.send(request(route.path, route.body))
        await client.until(b"data: 1\n\n")
        await leave(client)
        await promptly(gone)
    await upstream.deserted()
    await turns()
    assert len(caplog.messages) == 1
    assert "client left" in caplog.messages[0]


@leaves
async def test_the_upstream_of_a_client_that_leaves_is_closed_while_it_talks(
    proxy: Proxy, upstream: Upstream, leave: Any
) -> None:
    gone = asyncio.Event()

    async def script(wire: Wire, _: Received) -> None:
        try:
            await wire.stream(end=False)
            while True:
                await wire.send(chunk(b"data: " + b"x" * 1000 + b"\n\n"))
        finally:
            gone.set()

    upstream.script = script
    for _ in range(20):
        gone.clear()
        async with proxy.connect() as client:
            await client.send(request(body=message()))
            await client.until(b"x\n\n")
            await leave(client)
            await promptly(gone)
    await upstream.deserted()


@leaves
async def test_before_the_upstream_has_answered(proxy: Proxy, upstream: Upstream, leave: Any) -> None:
    gone = asyncio.Event()

    async def script(wire: Wire, _: Received) -> None:
        assert await wire.left() == b""
        gone.set()

    upstream.script = script
    async with proxy.connect() as client:
        await client.send(request(body=message()))
        await upstream.asked()
        await leave(client)
        await promptly(gone)


@leaves
async def test_while_whole_json_is_held(proxy: Proxy, upstream: Upstream, leave: Any) -> None:
    gone = asyncio.Event()

    async def script(wire: Wire, _: Received) -> None:
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        await wire.left()
        gone.set()

    upstream.script = script
    async with proxy.connect() as client:
        await client.send(request(body=message()))
        await upstream.asked()
        await turns(10)
        await leave(client)
        await promptly(gone)


@leaves
async def test_while_the_upstream_is_being_reached(serve: Serve, upstream: Upstream, leave: Any) -> None:
    upstream.silent = True
    proxy: Proxy = await serve(providers={"claude_api": {"base_url": f"https://127.0.0.1:{upstream.port}"}})
    async with proxy.connect() as client:
        await client.send(request(body=message()))
        await upstream.until(lambda found: found.connections == 1)
        await leave(client)
    async with within(PROMPTLY):
        while proxy.addon("proxyserver").connections:
            await turns()


@leaves
async def test_in_the_middle_of_its_request(proxy: Proxy, upstream: Upstream, leave: Any) -> None:
    async with proxy.connect() as client:
        await client.send(request(body=message())[:-5])
        await turns(10)
        await leave(client)
    assert upstream.requests == []


@leaves
@pytest.mark.parametrize("events", [[START], []], ids=["begun", "silent from the start"])
async def test_an_answer_made_here_stops_while_it_is_silent(
    proxy: Proxy, leave: Any, events: list[dict[str, Any]]
) -> None:
    provider = Scripted(events, hang=True)
    put(proxy, provider)
    async with proxy.connect() as client:
        await client.send(request("/mock/v1/messages", message(stream=True)))
        await provider.began.wait()
        if events:
            await client.until(b"message_start")
        await leave(client)
        await promptly(provider.closed)


@leaves
async def test_an_answer_made_here_stops_while_it_talks(
    proxy: Proxy, leave: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ccproxy.access")
    for _ in range(20):
        provider = Scripted([START], endless=True)
        put(proxy, provider)
        async with proxy.connect() as client:
            await client.send(request("/mock/v1/messages", message(stream=True)))
            await client.until(b"message_start")
            await leave(client)
            await promptly(provider.closed)
    await turns(10)
    assert len(caplog.messages) == 20
    assert all("client left" in line for line in caplog.messages)


@leaves
async def test_a_whole_answer_made_here_stops(proxy: Proxy, leave: Any) -> None:
    provider = Scripted([START], hang=True)
    put(proxy, provider)
    async with proxy.connect() as client:
        await client.send(request("/mock/v1/messages", message()))
        await provider.began.wait()
        await turns(10)
        await leave(client)
        await promptly(provider.closed)


async def test_the_mock_that_hangs(proxy: Proxy) -> None:
    before = asyncio.all_tasks()
    async with proxy.connect() as client:
        await client.send(request("/mock/v1/messages", message("mock-hang", stream=True)))
        await client.until(b"message_start")
    async with within(PROMPTLY):
        while asyncio.all_tasks() - before:
            await turns()


async def test_an_upstream_that_is_given_up_is_closed_though_it_talks_on(proxy: Proxy, upstream: Upstream) -> None:
    gone = asyncio.Event()

    async def script(wire: Wire, _: Received) -> None:
        await wire.send(b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 400_000)
        await wire.left()
        gone.set()

    upstream.script = script
    async with proxy.connect() as client:
        for _ in range(10):
            gone.clear()
            assert (await client.ask(request(body=message()))).status == 502
            await promptly(gone)
    await upstream.deserted()


# ---- what answers here fails


class Failing(Scripted):
    """Raises after `events`."""

    async def stream(self, request: LocalRequest) -> AsyncIterator[dict[str, Any]]:
        for event in self.events:
            yield event
        raise RuntimeError("a private detail")

    async def count_tokens(self, request: LocalRequest) -> dict[str, Any]:
        raise RuntimeError("a private detail")

    async def models(self) -> list[dict[str, Any]]:
        raise RuntimeError("a private detail")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_provider_that_fails_before_it_has_said_anything(proxy: Proxy, stream: bool) -> None:
    put(proxy, Failing([]))
    async with proxy.connect() as client:
        for data in (
            request("/mock/v1/messages", message(stream=stream)),
            request("/mock/v1/messages/count_tokens", message()),
            request("/mock/v1/models", method="GET"),
        ):
            answer = await client.ask(data)
            assert (answer.status, answer.json["error"]["type"]) == (500, "api_error")
            assert "private" not in answer.body.decode()


async def test_a_provider_that_fails_in_the_middle(proxy: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    put(proxy, Failing([START]))
    answer = await proxy.post("/mock/v1/messages", message(stream=True))
    assert answer.whole
    assert answer.body.count(b"event: error\n") == 1
    assert b"private" not in answer.body
    assert "a private detail" in caplog.text  # the log tells what the answer does not
    assert (await proxy.post("/mock/v1/messages", message())).status == 500


async def test_a_gateway_that_fails_sends_nothing_upstream(
    proxy: Proxy, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mitmproxy would log it and send the request on as it came, the client's key included."""

    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("a private detail")

    for hook, owner, name in (("requestheaders", Router, "match"), ("request", native_way.Native, "edit_request")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, broken)
            answer = await proxy.post("/api/v1/messages", message(), ("x-api-key", "clients-own"))
        assert (answer.status, answer.json["error"]["type"]) == (500, "api_error"), hook
        assert "private" not in answer.message
    assert upstream.connections == 0
    assert (await proxy.post("/api/v1/messages", message())).status == 200


async def test_upstream_connections_are_watched_by_the_kernel(proxy: Proxy, upstream: Upstream) -> None:
    """One that fell silent for good is noticed: a laptop slept, a firewall forgot."""
    async with proxy.connect() as client:
        await client.ask(request(body=message()))
        (handler,) = proxy.addon("proxyserver").connections.values()
        (io,) = (io for connection, io in handler.transports.items() if isinstance(connection, Server))
        assert io.writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


# ---- the client does not read


async def test_a_reader_that_stalls_holds_a_local_answer_back(proxy: Proxy) -> None:
    """What is made here is made as fast as it is read: 128 MB are ready, and next to nothing of them is pulled."""
    big = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x" * 65536}}
    provider = Scripted([START, *[big] * 2000])
    put(proxy, provider)
    async with proxy.connect(receive_buffer=4096) as client:
        await client.send(request("/mock/v1/messages", message(stream=True)))
        await provider.began.wait()
        pulled = -1
        while pulled != provider.pulled:
            pulled = provider.pulled
            await turns(500)
        assert pulled < 200  # the kernel's buffers, and ours
        total = 0
        async with asyncio.timeout(4 * PATIENCE):
            while data := await client.reader.read(2**20):
                total += len(data)
                if data.endswith(b"0\r\n\r\n"):
                    break
    assert provider.pulled == 2001
    assert total > 2000 * 65536


async def test_a_reader_that_stalls_holds_the_upstream_back(proxy: Proxy, upstream: Upstream) -> None:
    written = 0
    piece = chunk(b"data: " + b"x" * 65536 + b"\n\n")

    async def script(wire: Wire, _: Received) -> None:
        nonlocal written
        await wire.stream(end=False)
        for _ in range(2000):
            wire.writer.write(piece)
            await wire.writer.drain()
            written += 1
        await wire.send(b"0\r\n\r\n")

    upstream.script = script
    async with proxy.connect(receive_buffer=4096) as client:
        await client.send(request(body=message()))
        await upstream.asked()
        seen = -1
        while seen != written:
            seen = written
            await turns(500)
        assert seen < 400
        handler = next(iter(proxy.addon("proxyserver").connections.values()))
        waiting = sum(io.writer.transport.get_write_buffer_size() for io in handler.transports.values())
        assert waiting < 2**20
        total = 0
        async with asyncio.timeout(4 * PATIENCE):
            while data := await client.reader.read(2**20):
                total += len(data)
                if data.endswith(b"0\r\n\r\n"):
                    break
    assert total > 2000 * 65536


@leaves
async def test_a_reader_that_stalls_and_leaves(proxy: Proxy, leave: Any) -> None:
    big = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x" * 65536}}
    provider = Scripted([START, big], endless=True)
    put(proxy, provider)
    before = asyncio.all_tasks()
    async with proxy.connect(receive_buffer=4096) as client:
        await client.send(request("/mock/v1/messages", message(stream=True)))
        await provider.began.wait()
        pulled = -1
        while pulled != provider.pulled:
            pulled = provider.pulled
            await turns(500)
        await leave(client)
        await promptly(provider.closed)
    async with within(PROMPTLY):
        while asyncio.all_tasks() - before:
            await turns()


async def test_a_client_that_talks_on_during_its_answer_is_held_back(proxy: Proxy, upstream: Upstream) -> None:
    """What comes behind a request waits in the client's own socket, not in our memory."""
    go = asyncio.Event()

    async def script(wire: Wire, _: Received) -> None:
        await go.wait()
        await wire.answer()

    upstream.script = script
    async with proxy.connect() as client:
        await client.send(request(body=message()))
        await upstream.asked()
        sent = 0
        piece = b"x" * 2**20
        try:
            async with asyncio.timeout(2):
                for _ in range(200):
                    client.writer.write(piece)
                    await client.writer.drain()
                    sent += 1
        except (TimeoutError, ConnectionError):
            pass
        assert sent < 64
        go.set()
    await upstream.deserted()


# ---- the client stays


class StoppedClock:
    """mitmproxy's clock and sleep, moved by a test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.sleepers: list[tuple[float, asyncio.Future[None]]] = []
        module = types.SimpleNamespace(**{name: getattr(asyncio, name) for name in dir(asyncio)})
        module.sleep = self.sleep
        monkeypatch.setattr(mitm_server, "asyncio", module)
        monkeypatch.setattr(mitm_server, "time", types.SimpleNamespace(time=lambda: self.now, monotonic=time.monotonic))

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sleepers.append((self.now + seconds, woken))
        await woken

    async def forward(self, seconds: float) -> None:
        self.now += seconds
        for due, woken in self.sleepers:
            if due <= self.now and not woken.done():
                woken.set_result(None)
        await turns(10)


async def with_clock(serve: Serve, clock: StoppedClock, **sections: Any) -> Proxy:
    """A proxy whose streams read a test's clock."""
    proxy: Proxy = await serve(**sections)
    gateway: Any = proxy.addon("gateway")
    gateway.limits = dataclasses.replace(gateway.limits, clock=lambda: clock.now)
    return proxy


async def test_a_stream_ends_in_an_error_after_an_hour_without_a_byte_and_not_before(
    monkeypatch: pytest.MonkeyPatch, serve: Serve, upstream: Upstream
) -> None:
    clock = StoppedClock(monkeypatch)
    go = asyncio.Event()

    async def script(wire: Wire, _: Received) -> None:
        await wire.stream(b"data: 1\n\n", end=False)
        await go.wait()
        await wire.send(chunk(b"data: 2\n\n"))
        await wire.left()

    upstream.script = script
    proxy = await with_clock(serve, clock)
    async with proxy.connect() as client:
        await client.send(request(body=message()))
        await client.until(b"data: 1\n\n")
        await clock.forward(3599)  # mitmproxy's own time-out is 600 s
        go.set()
        await client.until(b"data: 2\n\n")
        await clock.forward(3599)
        assert upstream.open == 1
        await clock.forward(6)  # streams are looked at every five seconds
        end = await client.until(b"0\r\n\r\n")
        assert b"event: error" in end
        assert b"timeout_error" in end
        assert b"server.idle_timeout" in end
        await upstream.deserted()


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/api/v1/messages", message(), "timeout_error"),
        ("/api/v1/chat/completions", CHAT_BODY, "server_error"),
        ("/api/codex/responses", RESPONSES_BODY.replace(b',"stream":true', b""), "server_error"),
    ],
    ids=["native", "translated", "folded"],
)
async def test_an_upstream_that_does_not_respond_is_a_504(
    monkeypatch: pytest.MonkeyPatch, serve: Serve, upstream: Upstream, path: str, body: bytes, code: str
) -> None:
    clock = StoppedClock(monkeypatch)
    arrived = asyncio.Event()

    async def script(wire: Wire, received: Received) -> None:
        if received.method == "GET":  # the list of models, which a translation waits for
            await wire.answer(200, b'{"data":[]}')
            return
        arrived.set()
        await wire.left()

    upstream.script = script
    proxy = await with_clock(serve, clock, server={"idle_timeout": 30})
    async with proxy.connect() as client:
        await client.send(request(path, body))
        await arrived.wait()
        await clock.forward(29)
        await clock.forward(6)
        answer = await client.answer()
        assert answer.status == 504
        assert answer.json["error"]["type"] == code
        assert "server.idle_timeout" in answer.message
        await upstream.deserted()


async def test_a_translated_stream_sends_signs_of_life(
    monkeypatch: pytest.MonkeyPatch, serve: Serve, upstream: Upstream
) -> None:
    clock = StoppedClock(monkeypatch)

    async def script(wire: Wire, _: Received) -> None:
        start = {"type": "message_start", "message": {**START["message"], "model": "claude-x"}}
        await wire.stream(b"event: message_start\ndata: " + json.dumps(start).encode() + b"\n\n", end=False)
        await wire.left()

    upstream.script = script
    proxy = await with_clock(serve, clock)
    async with proxy.connect() as client:
        await client.send(request("/api/v1/chat/completions", CHAT_BODY))
        await client.until(b"chat.completion.chunk")
        for _ in range(3):
            await clock.forward(6)
            await clock.forward(6)
            await client.until(b": ")


async def test_the_idle_timeout_is_a_setting(monkeypatch: pytest.MonkeyPatch, serve: Serve, upstream: Upstream) -> None:
    clock = StoppedClock(monkeypatch)
    proxy: Proxy = await serve(server={"idle_timeout": 5})
    async with proxy.connect() as client:
        assert (await client.ask(request(body=message()))).status == 200
        await clock.forward(4)
        assert (await client.ask(request(body=message()))).status == 200
        await clock.forward(6)
        assert await client.rest() == b""


# ---- nothing is left behind


async def exchanges(proxy: Proxy, upstream: Upstream, count: int) -> None:
    """All that can happen to an exchange, over and over."""

    async def script(wire: Wire, request: Received) -> None:
        number = request.json["messages"][0]["content"]
        match int(number) % 6:
            case 0:
                await wire.answer()
            case 1:
                await wire.stream(b"data: 1\n\n", b"data: 2\n\n")
            case 2:
                await wire.stream(b"data: 1\n\n", end=False)
                wire.reset()
            case 3:
                await wire.stream(b"data: 1", end=False)
                wire.close()
            case 4:
                wire.close()
            case 5:
                await wire.stream(b"data: 1\n\n", end=False)
                await wire.left()

    upstream.script = script
    for number in range(count):
        async with proxy.connect() as client:
            await client.send(request(body=message(text=str(number))))
            if number % 6 == 5:
                await client.until(b"data: 1\n\n")
                continue
            await client.answer()
            for model in ("mock-claude", "mock-529", "mock-error", "mock-drop", "mock-hang")[number % 5 :]:
                if client.reader.at_eof():
                    break
                await client.send(request("/mock/v1/messages", message(model, stream=True)))
                if model == "mock-hang":
                    await client.until(b"message_start")
                    break
                await client.answer()


def alive(kind: type) -> int:
    gc.collect()
    return sum(isinstance(found, kind) for found in gc.get_objects())


async def test_hundreds_of_exchanges_leave_nothing_behind(proxy: Proxy, upstream: Upstream) -> None:
    before = asyncio.all_tasks()
    kinds = (http.HTTPFlow, GatewayStream, Server)
    others = [alive(kind) for kind in kinds]  # of tests that ran before in this process
    await exchanges(proxy, upstream, 300)
    async with asyncio.timeout(PATIENCE):
        while {task for task in asyncio.all_tasks() - before if "Upstream" not in repr(task)}:
            await turns()
    await upstream.deserted()
    assert proxy.addon("gateway").live == {}
    assert proxy.addon("proxyserver").connections == {}
    assert all(alive(kind) <= number for kind, number in zip(kinds, others, strict=True))


async def test_one_connection_for_hundreds_of_exchanges_holds_the_last_only(proxy: Proxy, upstream: Upstream) -> None:
    async def script(wire: Wire, _: Received) -> None:
        await wire.answer()
        if len(upstream.requests) % 2:
            wire.close()

    upstream.script = script
    flows_before, streams_before = (
        alive(http.HTTPFlow),
        alive(GatewayStream),
    )  # of tests that ran before in this process
    async with proxy.connect() as client:
        for _ in range(200):
            assert (await client.ask(request(body=message()))).status == 200
            await client.ask(request("/mock/v1/messages", message(stream=True)))
        assert alive(http.HTTPFlow) <= flows_before + 2
        assert alive(GatewayStream) <= streams_before + 2
        assert upstream.open <= 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/messages", message()),
        ("/api/v1/messages", message(stream=True)),
        ("/api/v1/chat/completions", CHAT_BODY),
        ("/api/v1/chat/completions", CHAT_BODY.replace(b',"stream":true', b"")),
        ("/api/codex/responses", RESPONSES_BODY),
        ("/mock/v1/messages", message(stream=True)),
        ("/mock/v1/chat/completions", CHAT_BODY),
    ],
    ids=["whole", "stream", "translated stream", "translated", "codex", "in process", "in process, translated"],
)
async def test_an_exchange_is_freed_when_it_is_over_and_not_at_the_next_collection(
    monkeypatch: pytest.MonkeyPatch, proxy: Proxy, upstream: Upstream, path: str, body: bytes
) -> None:
    """Bodies of hundreds of exchanges would otherwise wait for a full collection of the garbage."""
    # As `ccproxy serve` does: the check keeps tracebacks in cycles, and with them every frame below.
    monkeypatch.setattr(http.MessageData, "__post_init__", lambda _: None)

    async def script(wire: Wire, received: Received) -> None:
        if received.method == "GET":
            await wire.answer(200, b'{"data":[]}')
        elif b'"stream":true' in received.body or b'"stream": true' in received.body:
            await wire.stream(b"data: [DONE]\n\n")
        else:
            await wire.answer(200, b'{"type":"message","role":"assistant","content":[],"model":"m","usage":{}}')

    upstream.script = script
    async with proxy.connect() as client:
        for _ in range(3):
            await client.ask(request(path, body))
        await turns(20)
        gc.collect()
        gc.disable()
        try:
            before = flows()
            for _ in range(20):
                await client.ask(request(path, body))
            await turns(20)
            assert flows() <= before + 1
        finally:
            gc.enable()


def flows() -> int:
    return sum(isinstance(thing, http.HTTPFlow) for thing in gc.get_objects())
