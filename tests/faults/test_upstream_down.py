"""Upstreams that are not there, do not answer, or do not speak HTTP."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator

import pytest

from tests.conftest import Serve
from tests.fakes.client import message, request
from tests.fakes.pace import Pace
from tests.fakes.proxy import Proxy
from tests.fakes.routes import IDS, NATIVE, Native
from tests.fakes.upstream import Received, Script, Upstream, Wire, chunk, turns

native = pytest.mark.parametrize("route", NATIVE, ids=IDS)


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port that refuses connections, and goes on doing so."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def deaf() -> Iterator[int]:
    """A port where a connection never gets to stand: nobody accepts, and the queue is full."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield port


def everywhere(url: str) -> dict[str, dict[str, str]]:
    return {name: {"base_url": url} for name in ("claude_api", "codex", "zai", "chatty", "respy")}


@native
async def test_nobody_listens(serve: Serve, nobody: int, route: Native) -> None:
    proxy: Proxy = await serve(providers=everywhere(f"http://127.0.0.1:{nobody}"))
    pace = Pace()
    async with proxy.connect() as client:
        for _ in range(2):  # a failed connect is not held against the client's connection
            answer = await client.ask(request(route.path, route.body))
            assert (answer.status, answer["content-type"]) == (502, "application/json")
            assert answer.json["error"]["type"] == route.error_type
            assert f"127.0.0.1:{nobody}" in answer.message
            assert answer["x-ccproxy-flow"]
    assert pace.stop() < 1


async def test_nobody_listens_and_then_somebody_does(serve: Serve) -> None:
    async with Upstream() as later:
        port = later.port
    proxy: Proxy = await serve(providers={"claude_api": {"base_url": f"http://127.0.0.1:{port}"}})
    async with proxy.connect() as client:
        assert (await client.ask(request(body=message()))).status == 502
        async with Upstream(port=port):
            assert (await client.ask(request(body=message()))).status == 200


async def test_a_name_that_nobody_has(serve: Serve) -> None:
    proxy: Proxy = await serve(
        server={"connect_timeout": 2}, providers={"claude_api": {"base_url": "http://nobody.invalid"}}
    )
    answer = await proxy.post("/api/v1/messages", message())
    assert answer.status == 502
    assert "nobody.invalid" in answer.message


@native
async def test_a_connection_that_never_stands(serve: Serve, deaf: int, route: Native) -> None:
    proxy: Proxy = await serve(server={"connect_timeout": 0.3}, providers=everywhere(f"http://127.0.0.1:{deaf}"))
    pace = Pace()
    answer = await proxy.post(route.path, route.body)
    assert pace.stop() < 0.8  # once, not once for each attempt
    assert answer.status == 502
    assert answer.json["error"]["type"] == route.error_type
    assert "server.connect_timeout" in answer.message


async def test_a_tls_handshake_that_never_ends(serve: Serve, upstream: Upstream) -> None:
    upstream.silent = True
    proxy: Proxy = await serve(
        server={"connect_timeout": 0.3}, providers={"claude_api": {"base_url": f"https://127.0.0.1:{upstream.port}"}}
    )
    pace = Pace()
    answer = await proxy.post("/api/v1/messages", message())
    assert pace.stop() < 0.8
    assert (answer.status, upstream.connections) == (502, 1)
    assert "server.connect_timeout" in answer.message


async def test_an_upstream_that_is_slow_to_answer_is_waited_for(serve: Serve, upstream: Upstream) -> None:
    """The connect time-out ends with the connection; how long a model thinks is its own affair."""

    async def script(wire: Wire, _: Received) -> None:
        await asyncio.sleep(0.4)  # longer than the connect time-out: this is what the test is about
        await wire.answer()

    upstream.script = script
    proxy: Proxy = await serve(server={"connect_timeout": 0.2})
    assert (await proxy.post("/api/v1/messages", message())).status == 200


async def test_a_port_that_speaks_no_tls(serve: Serve, upstream: Upstream) -> None:
    upstream.greeting = b"220 mail.invalid ESMTP\r\n"
    proxy: Proxy = await serve(providers={"claude_api": {"base_url": f"https://127.0.0.1:{upstream.port}"}})
    answer = await proxy.post("/api/v1/messages", message())
    assert answer.status == 502
    assert answer.json["error"]["type"] == "api_error"


def says(data: bytes) -> Script:
    async def script(wire: Wire, _: Received) -> None:
        await wire.send(data)
        wire.close()

    return script


NOT_HTTP = {
    "nothing": b"",
    "ssh": b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Ty",
    "no status": b"HTTP/1.1 abc OK\r\n\r\n",
    "another protocol": b"HTTP/3 200 OK\r\n\r\n",
    "switching": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    "a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nab",
    "a coding that nobody knows": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: wat\r\n\r\nab",
    "a field name with a blank": b"HTTP/1.1 200 OK\r\nbad name: x\r\nContent-Length: 2\r\n\r\nab",
    "a folded line": b"HTTP/1.1 200 OK\r\nX-A: b\r\n Content-Length: 7\r\nContent-Length: 2\r\n\r\nab",
    "a bare CR": b"HTTP/1.1 200 OK\r\nX-A: b\rSet-Cookie: x\r\nContent-Length: 2\r\n\r\nab",
    "a NUL": b"HTTP/1.1 200 OK\r\nX-A: b\0c\r\nContent-Length: 2\r\n\r\nab",
    "a head without end": b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 400_000,
    "too many interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
}


@pytest.mark.parametrize(
    ("route", "answer"),
    [*((NATIVE[0], answer) for answer in NOT_HTTP.values()), *((route, b"\0") for route in NATIVE[1:])],
    ids=[*NOT_HTTP, *IDS[1:]],
)
async def test_what_is_no_answer(
    proxy: Proxy, upstream: Upstream, route: Native, answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    upstream.script = says(answer)
    async with proxy.connect() as client:
        got = await client.ask(request(route.path, route.body))
        assert (got.status, got["content-type"]) == (502, "application/json")
        assert got.json["error"]["type"] == route.error_type
        for secret in ("OpenSSH", "bad name", "validate_inbound_headers", "hello"):
            assert secret not in got.message  # neither what was sent nor an option of mitmproxy's
        assert got["x-ccproxy-flow"]
        assert len(upstream.requests) == 1  # it may have done the work: not asked again
        upstream.script = says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        assert (await client.ask(request(route.path, route.body))).status == 200  # the client's connection lives on
    await upstream.deserted()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@native
async def test_whole_json_that_breaks_off(proxy: Proxy, upstream: Upstream, route: Native) -> None:
    """JSON is held until it is whole, so that the client gets a proper error instead of half an object."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    for broken in (
        head + b"Content-Length: 100\r\n\r\n" + b'{"type":"message",',
        head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b'{"type":"message",'),
        head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b'{"type":"message",') + b"zz\r\n",
    ):
        upstream.script = says(broken)
        answer = await proxy.post(route.path, route.body)
        assert (answer.status, answer.whole) == (502, True)
        assert answer.json["error"]["type"] == route.error_type


async def test_more_bytes_than_announced(proxy: Proxy, upstream: Upstream, caplog: pytest.LogCaptureFixture) -> None:
    """What follows an answer must not become the answer of the next request."""
    caplog.set_level(logging.DEBUG)

    async def script(wire: Wire, _: Received) -> None:
        await wire.send(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
        )
        await wire.left()

    upstream.script = script
    async with proxy.connect() as client:
        for number in range(3):
            assert (await client.ask(request(body=message()))).body == b"{}"
            assert upstream.connections == number + 1
    assert "poison" not in caplog.text


# ---- kept connections and attempts


async def test_connections_are_kept_and_used_again(proxy: Proxy, upstream: Upstream) -> None:
    async with proxy.connect() as client:
        for route in NATIVE:
            assert (await client.ask(request(route.path, route.body))).status == 200
    assert upstream.connections == 1
    await upstream.deserted()


async def test_an_upstream_that_closes_a_kept_connection(proxy: Proxy, upstream: Upstream) -> None:
    async def script(wire: Wire, _: Received) -> None:
        await wire.answer()
        wire.close()

    upstream.script = script
    async with proxy.connect() as client:
        for number in range(5):
            assert (await client.ask(request(body=message()))).status == 200
            await upstream.deserted()
            await turns()
            assert upstream.connections == number + 1


@pytest.mark.parametrize("goodbye", [Wire.close, Wire.reset], ids=["close", "reset"])
async def test_a_kept_connection_that_is_stale_is_tried_again_on_a_fresh_one(
    proxy: Proxy, upstream: Upstream, goodbye: object, caplog: pytest.LogCaptureFixture
) -> None:
    """The upstream closed it before the request came, so it cannot have done the work."""
    caplog.set_level(logging.INFO, "ccproxy.access")

    async def script(wire: Wire, request: Received) -> None:
        if request.connection == 1 and len(upstream.requests) == 2:
            goodbye(wire)  # type: ignore[operator]
        else:
            await wire.answer()

    upstream.script = script
    async with proxy.connect() as client:
        assert (await client.ask(request(body=message(text="1")))).status == 200
        assert (await client.ask(request(body=message(text="2")))).status == 200
    assert [(r.connection, r.json["messages"][0]["content"]) for r in upstream.requests] == [
        (1, "1"),
        (1, "2"),
        (2, "2"),
    ]
    assert upstream.requests[1].everything == upstream.requests[2].everything
    assert "attempts=2" in caplog.messages[-1]


async def test_a_fresh_connection_that_closes_is_not_tried_again(
    proxy: Proxy, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ccproxy.access")
    upstream.script = says(b"")
    answer = await proxy.post("/api/v1/messages", message())
    assert (answer.status, len(upstream.requests)) == (502, 1)
    assert "before it responded" in answer.message
    assert "attempts" not in caplog.messages[-1]


async def test_a_stale_connection_and_then_a_fresh_one_that_closes(proxy: Proxy, upstream: Upstream) -> None:
    async def script(wire: Wire, _: Received) -> None:
        if len(upstream.requests) == 1:
            await wire.answer()
        else:
            wire.close()

    upstream.script = script
    async with proxy.connect() as client:
        assert (await client.ask(request(body=message()))).status == 200
        assert (await client.ask(request(body=message()))).status == 502
    assert [found.connection for found in upstream.requests] == [1, 1, 2]


def each(*statuses: int, wait: str = "0") -> Script:
    """One status after the other, each with a body that tells its number; the last one for ever."""
    left = list(statuses)

    async def script(wire: Wire, request: Received) -> None:
        status = left.pop(0) if len(left) > 1 else left[0]
        await wire.answer(status, b'{"n":%d}' % request.connection, ("Retry-After", wait), reason="Said")

    return script


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 429, 500, 502, 503, 504, 529])
async def test_no_status_is_tried_again_unless_the_configuration_says_so(
    proxy: Proxy, upstream: Upstream, status: int
) -> None:
    upstream.script = each(status, 200)
    assert (await proxy.post("/api/v1/messages", message())).status == status
    assert len(upstream.requests) == 1


@native
async def test_statuses_that_are_tried_again(serve: Serve, upstream: Upstream, route: Native) -> None:
    names = ("claude_api", "codex", "zai", "chatty", "respy")
    proxy: Proxy = await serve(providers={name: {"retries": [503, 529]} for name in names})
    upstream.script = each(503, 529, 200)
    answer = await proxy.post(route.path, route.body)
    assert (answer.status, len(upstream.requests)) == (200, 3)
    assert len({found.everything for found in upstream.requests}) == 1
    assert upstream.connections == 1  # what was not wanted was read to its end
    upstream.requests.clear()

    upstream.script = each(529)
    answer = await proxy.post(route.path, route.body)
    assert (answer.status, answer.body, len(upstream.requests)) == (
        529,
        b'{"n":2}',
        3,
    )  # and the last one is the client's
    assert answer.line == b"HTTP/1.1 529 Said"
    upstream.requests.clear()

    upstream.script = each(500)
    assert (await proxy.post(route.path, route.body)).status == 500
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("wait", ["\xc2\xb2", "\xb2", "1_0", "\xd9\xa4", "inf", "-1", "9" * 400, "0.", "soon", ""])
async def test_a_pause_that_is_not_a_number_is_no_obstacle(serve: Serve, upstream: Upstream, wait: str) -> None:
    proxy: Proxy = await serve(providers={"claude_api": {"retries": [503]}})

    async def script(wire: Wire, _: Received) -> None:
        await wire.answer(503 if len(upstream.requests) == 1 else 200, b"{}", ("Retry-After", wait))

    upstream.script = script
    assert (await proxy.post("/api/v1/messages", message())).status == 200
    assert len(upstream.requests) == 2


async def test_a_status_to_try_again_whose_body_breaks_off(serve: Serve, upstream: Upstream) -> None:
    proxy: Proxy = await serve(providers={"claude_api": {"retries": [503]}})
    upstream.script = says(b"HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\n{")
    assert (await proxy.post("/api/v1/messages", message())).status == 502


async def test_a_stream_is_never_tried_again_once_it_has_begun(serve: Serve, upstream: Upstream) -> None:
    proxy: Proxy = await serve(providers={"claude_api": {"retries": [500, 502, 503]}})
    upstream.script = says(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunk(b"data: 1\n")
    )
    answer = await proxy.post("/api/v1/messages", message())
    assert (answer.body, answer.whole, len(upstream.requests)) == (b"data: 1\n", False, 1)


async def test_the_client_leaves_while_the_next_attempt_is_waited_for(serve: Serve, upstream: Upstream) -> None:
    """Nobody is left to pay for another attempt."""
    proxy: Proxy = await serve(providers={"claude_api": {"retries": [529]}})
    upstream.script = each(529, wait="0.2")
    async with proxy.connect() as client:
        await client.send(request(body=message()))
        await upstream.asked()
    await upstream.deserted()
    await asyncio.sleep(0.3)  # past the attempt that must not come
    assert len(upstream.requests) == 1
