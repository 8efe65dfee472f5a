from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ccproxy.errors import Overloaded
from ccproxy.providers.claude_sdk import stream as module
from ccproxy.providers.claude_sdk.stream import ClaudeStream, Sink

Work = Callable[[Sink], Awaitable[None]]


def make(work: Callable[[Sink], Any]) -> ClaudeStream:
    return ClaudeStream(work, asyncio.get_running_loop().create_task)


async def test_silence_is_filled_with_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PING_AFTER", 0.01)
    monkeypatch.setattr(module, "FIRST_PING_AFTER", 0.03)
    go_on = asyncio.Event()

    async def work(sink: Sink) -> None:
        await go_on.wait()
        await sink.put({"type": "message_start"})
        go_on.clear()
        await go_on.wait()
        await sink.put({"type": "message_stop"})
        await sink.end()

    stream = make(work)
    assert await anext(stream) == {"type": "ping"}
    assert await anext(stream) == {"type": "ping"}
    go_on.set()
    seen = [await anext(stream) for _ in range(3)]
    assert {"type": "message_start"} in seen
    assert {"type": "ping"} in seen
    go_on.set()
    rest = [event async for event in stream]
    assert rest[-1] == {"type": "message_stop"}
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_nothing_begins_before_it_is_read() -> None:
    async def work(_sink: Sink) -> None:
        raise AssertionError

    stream = make(work)
    await stream.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_an_error_ends_the_stream_once() -> None:
    async def work(sink: Sink) -> None:
        await sink.put({"type": "message_start"})
        await sink.fail(Overloaded("busy"))

    stream = make(work)
    assert await anext(stream) == {"type": "message_start"}
    with pytest.raises(Overloaded):
        await anext(stream)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_work_after_the_end_is_left_alone() -> None:
    settled = asyncio.Event()

    async def work(sink: Sink) -> None:
        await sink.put({"type": "message_stop"})
        await sink.end()
        await asyncio.sleep(0.01)
        settled.set()

    stream = make(work)
    assert [event async for event in stream] == [{"type": "message_stop"}]
    await stream.aclose()
    await asyncio.wait_for(settled.wait(), 30)
