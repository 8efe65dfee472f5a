"""A Messages API on loopback that answers what the test tells it to, for the real Claude Code."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.upstream import PATIENCE

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


@dataclass
class Answer:
    """One answer: a stream of `blocks`, or an error with `status`."""

    blocks: list[dict[str, Any]] = field(default_factory=lambda: [text("ok")])
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: dict[str, int] = field(default_factory=lambda: {"input_tokens": 10, "output_tokens": 5})
    status: int = 200
    message: str = "as requested"
    headers: dict[str, str] = field(default_factory=dict)
    hold_before: asyncio.Event | None = None
    """Waited for before the first byte."""
    hold: asyncio.Event | None = None
    """Waited for after the first delta."""
    then: str = ""
    """After the first delta: "error" (an error event) or "cut" (the connection ends)."""
    pieces: int = 3


@dataclass
class Call:
    """One request that came in. `left` is set when the client goes before its answer is whole."""

    body: dict[str, Any]
    headers: dict[str, str]
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def thinking(words: str, signature: str = "c2ln") -> dict[str, Any]:
    return {"type": "thinking", "thinking": words, "signature": signature}


def tool_use(identifier: str, name: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": identifier, "name": name, "input": arguments}


class MessagesUpstream:
    """`answers` are given in order; after the last one, `otherwise` says what comes for a request's body."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.other_requests: list[str] = []
        self.answers: deque[Answer] = deque()
        self.otherwise: Callable[[dict[str, Any]], Answer] = lambda _body: Answer()
        self.url = ""
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[Any]] = set()
        self._numbers = itertools.count(1)
        self._called = asyncio.Condition()

    async def __aenter__(self) -> MessagesUpstream:
        self._server = await asyncio.start_server(self._client, "127.0.0.1", 0, limit=1 << 26)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._clients:
            task.cancel()
        if self._clients:
            await asyncio.wait(self._clients)

    async def called(self, times: int) -> Call:
        """Wait for the given number of calls; returns the last of them."""
        async with self._called:
            await asyncio.wait_for(self._called.wait_for(lambda: len(self.calls) >= times), PATIENCE)
        return self.calls[times - 1]

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                await self._request(reader, writer)
        finally:
            self._clients.discard(task)
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        if (method, target.partition("?")[0]) != ("POST", "/v1/messages"):
            self.other_requests.append(f"{method} {target}")
            await _send(writer, 404, {"type": "error", "error": {"type": "not_found_error", "message": target}})
            return
        call = Call(json.loads(raw), headers)
        answer = self.answers.popleft() if self.answers else self.otherwise(call.body)
        async with self._called:
            self.calls.append(call)
            self._called.notify_all()
        watch = asyncio.create_task(_until_gone(reader, call))
        try:
            await self._answer(writer, call, answer)
            call.finished.set()
        finally:
            watch.cancel()
            if not call.finished.is_set():
                call.left.set()

    async def _answer(self, writer: asyncio.StreamWriter, call: Call, answer: Answer) -> None:
        if answer.hold_before is not None:
            await _either(answer.hold_before, call.left)
        if answer.status != 200:
            error = {"type": _KINDS.get(answer.status, "api_error"), "message": answer.message}
            await _send(writer, answer.status, {"type": "error", "error": error}, answer.headers)
            return
        lines = ["HTTP/1.1 200 OK", "content-type: text/event-stream", "connection: close"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        events = self._events(call, answer)
        async for event in events:
            if call.left.is_set():
                raise ConnectionResetError
            writer.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
            await writer.drain()
        writer.close()

    async def _events(self, call: Call, answer: Answer) -> AsyncIterator[dict[str, Any]]:
        called = any(block["type"] == "tool_use" for block in answer.blocks)
        stop = answer.stop_reason or ("tool_use" if called else "end_turn")
        message = {
            "id": f"msg_{next(self._numbers):04}",
            "type": "message",
            "role": "assistant",
            "model": call.body["model"],
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {**answer.usage, "output_tokens": 1},
        }
        yield {"type": "message_start", "message": message}
        yield {"type": "ping"}
        first = True
        for index, block in enumerate(answer.blocks):
            start, deltas = _parts(block, answer.pieces)
            yield {"type": "content_block_start", "index": index, "content_block": start}
            for delta in deltas:
                yield {"type": "content_block_delta", "index": index, "delta": delta}
                if first:
                    first = False
                    if answer.hold is not None:
                        await _either(answer.hold, call.left)
                    if answer.then == "error":
                        yield {"type": "error", "error": {"type": "overloaded_error", "message": answer.message}}
                        return
                    if answer.then == "cut":
                        raise ConnectionResetError
            yield {"type": "content_block_stop", "index": index}
        delta = {"stop_reason": stop, "stop_sequence": answer.stop_sequence}
        yield {"type": "message_delta", "delta": delta, "usage": answer.usage}
        yield {"type": "message_stop"}


def _parts(block: dict[str, Any], pieces: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    if block["type"] == "text":
        return {"type": "text", "text": ""}, [
            {"type": "text_delta", "text": part} for part in _cut(block["text"], pieces)
        ]
    if block["type"] == "thinking":
        deltas: list[dict[str, Any]] = [
            {"type": "thinking_delta", "thinking": part} for part in _cut(block["thinking"], pieces)
        ]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
        return {"type": "thinking", "thinking": "", "signature": ""}, deltas
    if block["type"] == "tool_use":
        parts = _cut(json.dumps(block["input"]), pieces)
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": part} for part in parts]
    return block, []


def _cut(words: str, pieces: int) -> list[str]:
    size = max(1, -(-len(words) // pieces))
    return [words[at : at + size] for at in range(0, len(words), size)]


async def _either(*events: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def _until_gone(reader: asyncio.StreamReader, call: Call) -> None:
    with contextlib.suppress(ConnectionError):
        if not await reader.read(1):
            call.left.set()


async def _send(writer: asyncio.StreamWriter, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
    raw = json.dumps(body).encode()
    lines = [
        f"HTTP/1.1 {status} X",
        "content-type: application/json",
        f"content-length: {len(raw)}",
        "connection: close",
    ]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + raw)
    await writer.drain()
    writer.close()
