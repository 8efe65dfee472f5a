from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ccproxy.errors import Overloaded, Unavailable
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
        sink.end()

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
        sink.fail(Overloaded("busy"))

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
        sink.end()
        await asyncio.sleep(0.01)
        settled.set()

    stream = make(work)
    assert [event async for event in stream] == [{"type": "message_stop"}]
    await stream.aclose()
    await asyncio.wait_for(settled.wait(), 30)


async def test_work_that_is_stopped_by_others_is_an_error() -> None:
    begun = asyncio.Event()

    async def work(sink: Sink) -> None:
        await sink.put({"type": "message_start"})
        begun.set()
        await asyncio.Event().wait()

    tasks: list[asyncio.Task[None]] = []

    def spawn(coroutine: Any) -> asyncio.Task[None]:
        tasks.append(asyncio.get_running_loop().create_task(coroutine))
        return tasks[-1]

    stream = ClaudeStream(work, spawn)
    assert await anext(stream) == {"type": "message_start"}
    tasks[0].cancel()
    with pytest.raises(Unavailable, match="stopping"):
        await anext(stream)


@pytest.mark.parametrize("complete", [True, False])
async def test_work_that_is_stopped_with_a_full_queue(complete: bool) -> None:
    """What was put is read; then comes the end that was said, or else an error."""

    async def work(sink: Sink) -> None:
        for _ in range(module.MOST_WAITING):
            await sink.put({"type": "ping"})
        if complete:
            sink.end()
        await asyncio.Event().wait()

    task: asyncio.Task[None] | None = None

    def spawn(coroutine: Any) -> asyncio.Task[None]:
        nonlocal task
        task = asyncio.get_running_loop().create_task(coroutine)
        return task

    stream = ClaudeStream(work, spawn)
    assert await anext(stream) == {"type": "ping"}
    assert task is not None
    task.cancel()
    await asyncio.wait({task})
    seen = 1
    try:
        async for _ in stream:
            seen += 1
    except Unavailable:
        assert not complete
    else:
        assert complete
    assert seen == module.MOST_WAITING


@pytest.mark.parametrize("part", ["delta", "content_block"])
async def test_what_waits_for_a_slow_reader_is_bounded_in_bytes(part: str) -> None:
    put = 0

    async def work(sink: Sink) -> None:
        nonlocal put
        for _ in range(100):
            await sink.put({"type": "content_block_delta", part: {"text": "x" * 1_000_000}})
            put += 1
        sink.end()

    stream = make(work)
    await anext(stream)
    for _ in range(5):
        await asyncio.sleep(0)
    assert put < 12
    assert len([event async for event in stream]) == 99


async def test_what_waits_for_a_slow_reader_is_bounded_in_number() -> None:
    put = 0

    async def work(sink: Sink) -> None:
        nonlocal put
        for _ in range(3 * module.MOST_WAITING):
            await sink.put({"type": "ping"})
            put += 1
        sink.end()

    stream = make(work)
    await anext(stream)
    for _ in range(5):
        await asyncio.sleep(0)
    assert put <= module.MOST_WAITING + 2
    assert len([event async for event in stream]) == 3 * module.MOST_WAITING - 1


async def test_nothing_follows_the_end() -> None:
    async def work(sink: Sink) -> None:
        await sink.put({"type": "message_stop"})
        sink.end()
        sink.fail(Overloaded("late"))

    assert [event async for event in make(work)] == [{"type": "message_stop"}]
