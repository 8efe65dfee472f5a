"""A client that sends raw bytes and sees raw bytes: what an HTTP library would tidy up, a test must see."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.upstream import PATIENCE, Fields, parse_fields


@dataclass(slots=True)
class Answer:
    """An answer as it came off the wire."""

    head: bytes
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)
    """The chunks of a chunked body, as they were framed."""
    whole: bool = False
    """It ended as its framing says it should; else the connection broke off."""

    @property
    def line(self) -> bytes:
        return self.head.partition(b"\r\n")[0]

    @property
    def status(self) -> int:
        return int(self.line.split(b" ")[1])

    @property
    def fields(self) -> Fields:
        return parse_fields(self.head)

    def __getitem__(self, name: str) -> str:
        """The one value of a header field."""
        (value,) = self.values(name)
        return value.decode("latin-1")

    def values(self, name: str) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name.lower().encode()]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """The message of an error answer, in whatever format."""
        return str(self.json["error"]["message"])


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        async with asyncio.timeout(PATIENCE):
            await self.writer.drain()

    async def head(self) -> Answer:
        """The head of the next answer."""
        async with asyncio.timeout(PATIENCE):
            return Answer(await self.reader.readuntil(b"\r\n\r\n"))

    async def read_chunk(self) -> bytes:
        """The next chunk of a chunked body; empty at its end."""
        async with asyncio.timeout(PATIENCE):
            size = int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16)
            return (await self.reader.readexactly(size + 2))[:-2]

    async def until(self, text: bytes) -> bytes:
        """Read on until this has come."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(text)

    async def rest(self) -> bytes:
        """Everything until the connection ends."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    async def answer(self, method: str = "POST") -> Answer:
        """The next answer, read by its framing."""
        answer = await self.head()
        while answer.status == 100:
            answer = await self.head()
        await self.body(answer, method)
        return answer

    async def body(self, answer: Answer, method: str = "POST") -> None:
        length = answer.values("content-length")
        try:
            if method == "HEAD" or answer.status in {204, 304}:
                pass
            elif answer.values("transfer-encoding") == [b"chunked"]:
                while piece := await self.read_chunk():
                    answer.chunks.append(piece)
                    answer.body += piece
            elif length:
                async with asyncio.timeout(PATIENCE):
                    answer.body = await self.reader.readexactly(int(length[0]))
            else:
                answer.body = await self.rest()
            answer.whole = True
        except asyncio.IncompleteReadError as error:
            answer.body += error.partial
        except ConnectionError:
            pass

    async def ask(self, data: bytes) -> Answer:
        """Send a request, read its answer."""
        await self.send(data)
        return await self.answer(data.split(b" ", 1)[0].decode("latin-1"))

    def reset(self) -> None:
        """Go away without a goodbye."""
        found = self.writer.get_extra_info("socket")
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


@asynccontextmanager
async def connected(port: int, host: str = "127.0.0.1", *, receive_buffer: int = 0) -> AsyncIterator[Client]:
    """A connection; with `receive_buffer` bytes of room in the kernel, so that not reading is felt soon."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    raw = socket.socket(family, socket.SOCK_STREAM)
    if receive_buffer:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    raw.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(raw, (host, port))
        reader, writer = await asyncio.open_connection(sock=raw, limit=receive_buffer or 2**24)
    except BaseException:
        raw.close()
        raise
    client = Client(reader, writer)
    try:
        yield client
    finally:
        await client.close()


def request(
    path: str = "/api/v1/messages",
    body: bytes = b"",
    *fields: tuple[str, str],
    method: str = "POST",
    host: str = "localhost",
) -> bytes:
    """A request, byte for byte, with a Host and, if there is a body, its length."""
    head = f"{method} {path} HTTP/1.1\r\n"
    if host:
        head += f"Host: {host}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in fields)
    if body:
        head += f"Content-Length: {len(body)}\r\n"
    return head.encode("utf-8", "surrogateescape") + b"\r\n" + body


def message(model: str = "claude-x", text: str = "hello", **more: Any) -> bytes:
    """The body of a Messages request."""
    return json.dumps(
        {"model": model, "max_tokens": 16, "messages": [{"role": "user", "content": text}], **more}
    ).encode()
