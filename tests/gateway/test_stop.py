"""Starting and stopping a Host: addresses, a graceful end, what a stop leaves to a client that reads slowly."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from ccproxy.errors import StartError
from ccproxy.server.proxy_server import Extras, ProxyServer
from ccproxy.settings import Settings
from tests.conftest import Serve
from tests.fakes.client import message, request
from tests.fakes.pace import Pace, within
from tests.fakes.provider import START, Scripted
from tests.fakes.proxy import Proxy, running
from tests.fakes.routes import CHAT_BODY
from tests.fakes.upstream import PATIENCE, Received, Upstream, Wire, chunk, turns


async def ended(proxy: Proxy) -> None:
    async with asyncio.timeout(PATIENCE):
        await proxy.task


async def fails(extras: Extras | None = None, **server: Any) -> str:
    """What a start says that has to fail."""
    with pytest.raises(StartError) as caught:
        async with asyncio.timeout(PATIENCE):
            await ProxyServer(Settings(server={"port": 0, **server}), extras or Extras()).run()
    return str(caught.value)


# ---- where it listens


async def test_it_listens_on_both_loopback_addresses(proxy: Proxy) -> None:
    assert proxy.host.hosts == ("127.0.0.1", "::1")
    for address in ("127.0.0.1", "::1"):
        async with proxy.connect(address) as client:
            assert (await client.ask(request("/health", method="GET"))).status == 200


async def test_it_answers_on_another_loopback_address_under_its_name(serve: Serve) -> None:
    proxy: Proxy = await serve(server={"host": "127.0.0.2"})
    async with proxy.connect("127.0.0.2") as client:
        assert (await client.ask(request("/health", method="GET", host=f"127.0.0.2:{proxy.port}"))).status == 200


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
async def test_a_port_that_is_taken(family: int) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as taken:
        taken.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = await fails(port=port)
        assert str(port) in said
        assert "--port" in said


async def test_an_address_of_another_machine() -> None:
    assert "--host" in await fails(host="192.0.2.1", auth_token="t")


async def test_an_option_that_mitmproxy_does_not_know() -> None:
    for option in ("no_such_option=1", "nonsense", "connection_strategy_=lazy"):
        assert option.partition("=")[0] in await fails(Extras(options=[option]))


@pytest.mark.parametrize(
    "content",
    [
        "raise RuntimeError('broken')",
        "import no_such_module",
        "def load(loader):\n    raise RuntimeError('broken')\n",
        "syntax error",
    ],
)
async def test_a_script_that_fails_at_the_start(tmp_path: Path, content: str) -> None:
    path = tmp_path / "script.py"
    path.write_text(content)
    assert await fails(Extras(scripts=[str(path)]))


async def test_a_script_that_is_not_there(tmp_path: Path) -> None:
    assert "absent.py" in await fails(Extras(scripts=[str(tmp_path / "absent.py")]))


async def test_a_record_that_cannot_be_written(tmp_path: Path) -> None:
    assert str(tmp_path) in await fails(Extras(record=tmp_path))


async def test_a_host_that_has_run_leaves_its_port(tmp_path: Path) -> None:
    async with running(tmp_path) as proxy:
        port = proxy.port
    with socket.socket() as free:
        free.bind(("127.0.0.1", port))


# ---- a graceful end


async def refuses_connections(port: int) -> None:
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_an_idle_proxy_stops_at_once(proxy: Proxy) -> None:
    pace = Pace()
    async with proxy.connect() as client:
        assert (await client.ask(request("/health", method="GET"))).status == 200  # a connection that is kept
        await proxy.host.drain()
        await ended(proxy)
    assert pace.stop() < 1


async def test_running_streams_come_to_their_end(proxy: Proxy, upstream: Upstream) -> None:
    go = asyncio.Event()

    async def script(wire: Wire, _: Received) -> None:
        await wire.stream(b"data: 1\n\n", end=False)
        await go.wait()
        await wire.send(chunk(b"data: 2\n\n"), b"0\r\n\r\n")

    upstream.script = script
    async with proxy.connect() as client:
        await client.send(request(body=message()))
        answer = await client.head()
        assert await client.read_chunk() == b"data: 1\n\n"
        drained = asyncio.create_task(proxy.host.drain())
        await turns(10)
        await refuses_connections(proxy.port)
        assert not proxy.task.done()
        go.set()
        await client.body(answer)
        assert (answer.body, answer.whole) == (b"data: 2\n\n", True)
        await drained
        await ended(proxy)


async def test_an_answer_that_is_waited_for_comes(proxy: Proxy, upstream: Upstream) -> None:
    go = asyncio.Event()

    async def script(wire: Wire, _: Received) -> None:
        await go.wait()
        await wire.answer(200, b'{"late": true}')

    upstream.script = script
    async with proxy.connect() as client:
        await client.send(request(body=message()))
        await upstream.asked()
        drained = asyncio.create_task(proxy.host.drain())
        await turns(10)
        go.set()
        assert (await client.answer()).body == b'{"late": true}'
        await drained
        await ended(proxy)


async def test_a_stream_that_does_not_end_gets_its_grace_and_is_cut(serve: Serve, upstream: Upstream) -> None:
    async def script(wire: Wire, _: Received) -> None:
        await wire.stream(b"data: 1\n\n", end=False)
        await wire.left()

    upstream.script = script
    proxy: Proxy = await serve(server={"shutdown_grace": 0.3})
    start, pace = asyncio.get_running_loop().time(), Pace()
    async with proxy.connect() as client:
        await client.send(request(body=message()))
        await client.until(b"data: 1\n\n")
        await proxy.host.drain()
        await ended(proxy)
        assert pace.stop() < 1
        assert asyncio.get_running_loop().time() - start >= 0.3


async def test_a_local_answer_is_stopped_with_the_proxy(serve: Serve) -> None:
    proxy: Proxy = await serve(server={"shutdown_grace": 0.1})
    provider = Scripted([START], hang=True)
    proxy.addon("gateway").shared.locals["mock"] = provider
    async with proxy.connect() as client:
        await client.send(request("/mock/v1/messages", message(stream=True)))
        await client.until(b"message_start")
        await proxy.host.drain()
        await ended(proxy)
        async with within(0.2):
            await provider.closed.wait()
        assert provider.stopped
        assert not (await client.rest()).endswith(b"0\r\n\r\n")  # it was cut: it must not look whole


@pytest.mark.parametrize("kind", ["whole", "stream"])
async def test_a_client_that_reads_slowly_gets_all_of_it(proxy: Proxy, upstream: Upstream, kind: str) -> None:
    """The last of an answer leaves this process long after it was written: a stop waits for that too."""
    body = b'"' + b"x" * 20_000_000 + b'"'

    async def script(wire: Wire, _: Received) -> None:
        if kind == "whole":
            await wire.answer(200, body)
        else:
            await wire.stream(*(body[at : at + 1_000_000] for at in range(0, len(body), 1_000_000)))

    upstream.script = script
    async with proxy.connect(receive_buffer=65536) as client:
        await client.send(request(body=message()))
        await upstream.asked()
        answer = await client.head()
        drained = asyncio.create_task(proxy.host.drain())
        await turns(50)
        received = 0
        async with asyncio.timeout(4 * PATIENCE):
            while data := await client.reader.read(1_000_000):
                received += len(data)
                if received >= len(body) and (kind == "whole" or data.endswith(b"0\r\n\r\n")):
                    break
        assert received >= len(body), answer
        await drained
        await ended(proxy)


@pytest.mark.parametrize(
    ("path", "body"),
    [("/api/v1/messages", message()), ("/api/v1/chat/completions", CHAT_BODY), ("/mock/v1/messages", message())],
    ids=["native", "translated", "in process"],
)
async def test_a_whole_request_that_is_ended_gets_an_error(
    serve: Serve, upstream: Upstream, path: str, body: bytes
) -> None:
    arrived = asyncio.Event()

    async def script(wire: Wire, received: Received) -> None:
        if received.method == "GET":
            await wire.answer(200, b'{"data":[]}')
            return
        arrived.set()
        await wire.left()

    upstream.script = script
    proxy: Proxy = await serve(server={"shutdown_grace": 0.1})
    proxy.addon("gateway").shared.locals["mock"] = provider = Scripted([START], hang=True)
    async with proxy.connect() as client:
        await client.send(request(path, body.replace(b',"stream":true', b"")))
        async with asyncio.timeout(PATIENCE):
            await (provider.began.wait() if "mock" in path else arrived.wait())
            await proxy.host.drain()
            answer = await client.answer()
        assert answer.status == 503
        assert "stopping" in answer.message
        await ended(proxy)


async def test_a_stream_that_is_ended_says_so(serve: Serve, upstream: Upstream) -> None:
    async def script(wire: Wire, _: Received) -> None:
        await wire.stream(b"data: 1\n\n", end=False)
        await wire.left()

    upstream.script = script
    proxy: Proxy = await serve(server={"shutdown_grace": 0.1})
    async with proxy.connect() as client:
        await client.send(request("/api/v1/messages", message()))
        await client.until(b"data: 1\n\n")
        await proxy.host.drain()
        async with asyncio.timeout(PATIENCE):
            assert b"event: error" in await client.until(b"0\r\n\r\n")
        await ended(proxy)
