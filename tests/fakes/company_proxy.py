"""The HTTP proxy of a company: CONNECT, with a login, and a network of its own behind it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from dataclasses import dataclass, field
from typing import Self

from tests.fakes.upstream import Fields, parse_fields


@dataclass
class CompanyProxy:
    """`async with CompanyProxy(network={"api.test:443": ("127.0.0.1", port)})`."""

    network: dict[str, tuple[str, int]]
    login: str = ""
    """`user:password` that it wants, if any."""
    tls: ssl.SSLContext | None = None
    silent: bool = False
    asked: list[tuple[str, Fields]] = field(default_factory=list)
    """The request line and header fields of each CONNECT."""

    def __post_init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def url(self, login: str = "") -> str:
        return f"{'https' if self.tls else 'http'}://{login + '@' if login else ''}localhost:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._tunnel(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        line, fields = head.split(b"\r\n")[0].decode(), parse_fields(head)
        self.asked.append((line, fields))
        if self.silent:
            await asyncio.Event().wait()
        wanted = b"Basic " + base64.b64encode(self.login.encode())
        given = [value for name, value in fields if name.lower() == b"proxy-authorization"]
        if self.login and given != [wanted]:
            writer.write(
                b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
            )
            await writer.drain()
            return
        method, target, _ = line.split(" ")
        if method != "CONNECT" or target not in self.network:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        far_reader, far_writer = await asyncio.open_connection(*self.network[target])
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.wait(
                {asyncio.ensure_future(pump(reader, far_writer)), asyncio.ensure_future(pump(far_reader, writer))},
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            far_writer.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
