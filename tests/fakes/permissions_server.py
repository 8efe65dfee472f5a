"""The permission endpoints over a real broker, in a thread of their own: what the command line talks to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from ccproxy.errors import ExchangeError
from ccproxy.permissions.broker import PermissionBroker

T = TypeVar("T")


class PermissionsServer:
    """`broker` lives on the thread's loop: use `run` for what it does there."""

    def __init__(self, broker: PermissionBroker, token: str) -> None:
        self.broker = broker
        self._token = token
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.url = ""

    def __enter__(self) -> PermissionsServer:
        self._thread.start()
        self._server = self.run(asyncio.start_server(self._client, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def ask(self, tool: str, **arguments: Any) -> asyncio.Future[Any]:
        """Let a tool ask; it goes on waiting."""

        async def begin() -> asyncio.Task[Any]:
            task = asyncio.get_running_loop().create_task(self.broker.ask(tool, arguments, session_id="s"))
            await asyncio.sleep(0)
            return task

        return self.run(begin())

    async def _stop(self) -> None:
        self.broker.close()
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, path, _ = head[0].split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            body = await reader.readexactly(int(headers.get("content-length") or 0))
            if headers.get("x-ccproxy-token") != self._token:
                await _reply(writer, 401, {"error": {"message": "ccproxy needs its token"}})
            elif path == "/permissions/stream":
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
                async for change in self.broker.changes():
                    writer.write(f"data: {json.dumps(change)}\n\n".encode())
                    await writer.drain()
            elif method == "GET":
                await _reply(writer, 200, self.broker.listing())
            else:
                try:
                    answer = await self.broker.decide(path.removeprefix("/permissions/"), json.loads(body))
                    await _reply(writer, 200, answer)
                except ExchangeError as error:
                    await _reply(writer, error.status, {"error": {"message": error.message}})
        writer.close()


async def _reply(writer: asyncio.StreamWriter, status: int, body: Any) -> None:
    raw = json.dumps(body).encode()
    writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(raw)}\r\nconnection: close\r\n\r\n".encode() + raw)
    await writer.drain()
