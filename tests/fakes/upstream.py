"""An upstream on 127.0.0.1 of which every byte and every fault can be scripted, and which keeps every byte that it gets.

A script is `async def script(wire, request)`. It runs once for each request and says what goes on the wire, byte for byte. Without one the upstream
answers `{}`. Nothing here knows HTTP beyond what it takes to find the end of a request, so that a test sees what was really sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self

PATIENCE = 30.0
"""Seconds after which a test that waits for something has failed, on a busy machine too. Nothing waits this long when all is well."""

Fields = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came off the wire."""

    head: bytes
    """Request line and header lines, the blank line included."""
    framed: bytes
    """The body as it was framed."""
    body: bytes
    connection: int
    """The number of the connection, from 1."""

    @property
    def line(self) -> bytes:
        return self.head.partition(b"\r\n")[0]

    @property
    def method(self) -> str:
        return self.line.split(b" ")[0].decode()

    @property
    def target(self) -> str:
        return self.line.split(b" ")[1].decode("latin-1")

    @property
    def fields(self) -> Fields:
        """Names and values in order, spelled as they came."""
        return parse_fields(self.head)

    def values(self, name: str) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name.lower().encode()]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def everything(self) -> bytes:
        return self.head + self.framed


def parse_fields(head: bytes) -> Fields:
    lines = head.split(b"\r\n")[1:]
    return [(name, value.removeprefix(b" ")) for name, _, value in (line.partition(b":") for line in lines if line)]


class Wire:
    """The upstream's end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader = reader
        self.writer = writer
        self.number = number

    async def send(self, *pieces: bytes) -> None:
        """Write each piece, and let the other end read it before the next one goes."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await turns()

    async def answer(
        self, status: int = 200, body: bytes = b"{}", *fields: tuple[str, str], reason: str = "OK"
    ) -> None:
        """A whole answer of known length."""
        head = f"HTTP/1.1 {status} {reason}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields)
        if not any(name.lower() == "content-type" for name, _ in fields):
            head += "Content-Type: application/json\r\n"
        await self.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body)

    async def stream(self, *events: bytes, end: bool = True, fields: Iterable[tuple[str, str]] = ()) -> None:
        """An event stream, one chunk for each of `events`."""
        head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n"
        await self.send((head + "".join(f"{n}: {v}\r\n" for n, v in fields) + "\r\n").encode())
        for event in events:
            await self.send(chunk(event))
        if end:
            await self.send(b"0\r\n\r\n")

    def close(self) -> None:
        """Say goodbye properly."""
        self.writer.close()

    def reset(self) -> None:
        """Drop the connection without a goodbye, as a crash does."""
        found = self.writer.get_extra_info("socket")
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def left(self) -> bytes:
        """Wait until the other end has closed; what it still sent."""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                return await self.reader.read()
        return b""


Script = Callable[[Wire, Received], Awaitable[None]]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def turns(count: int = 3) -> None:
    """Let everything that is ready happen: both ends of a loopback connection live in this loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def plain(wire: Wire, request: Received) -> None:
    await wire.answer()


@dataclass
class Upstream:
    """`async with Upstream() as upstream`. `script` may be changed at any time."""

    script: Script = plain
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    """How many there have been."""
    open: int = 0
    """How many there are."""
    silent: bool = False
    """Accept connections and never read from them."""
    greeting: bytes = b""
    """Send this on each new connection, and close it."""
    port: int = 0
    broken: list[BaseException] = field(default_factory=list)
    """What scripts raised: a defect of the test."""

    def __post_init__(self) -> None:
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await turns()

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    @property
    def last(self) -> Received:
        return self.requests[-1]

    async def until(self, condition: Callable[[Upstream], bool]) -> None:
        """Wait until `condition` holds; it is looked at whenever a request came or a connection opened or closed."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: condition(self))

    async def asked(self, count: int = 1) -> Received:
        """Wait for that many requests in all; the last of them."""
        await self.until(lambda upstream: len(upstream.requests) >= count)
        return self.requests[count - 1]

    async def deserted(self) -> None:
        """Wait until every connection is closed."""
        await self.until(lambda upstream: upstream.open == 0)

    async def _note(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        wire = Wire(reader, writer, self.connections)
        try:
            await self._note()
            if self.silent:
                await asyncio.Event().wait()
            if self.greeting:
                await wire.send(self.greeting)
                return
            while (request := await read_request(reader, wire.number)) is not None:
                self.requests.append(request)
                await self._note()
                await self.script(wire, request)
                if writer.is_closing():
                    break
        except (ConnectionError, asyncio.CancelledError):
            pass  # the proxy went away, or the test ended
        except BaseException as error:
            self.broken.append(error)
            raise
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()
            await self._note()


async def read_request(reader: asyncio.StreamReader, connection: int) -> Received | None:
    """The next request, or None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    given = {name.lower(): value for name, value in parse_fields(head)}
    if b"chunked" in given.get(b"transfer-encoding", b""):
        framed, body = await read_chunked(reader)
    else:
        framed = body = await reader.readexactly(int(given.get(b"content-length", b"0")))
    return Received(head, framed, body, connection)


async def read_chunked(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """A chunked body, as framed and as meant."""
    framed = body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        framed += line
        size = int(line.split(b";")[0], 16)
        piece = await reader.readexactly(size + 2)
        framed += piece
        body += piece[:-2]
        if size == 0:
            return framed, body
