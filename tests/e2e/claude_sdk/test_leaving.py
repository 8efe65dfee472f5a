"""Clients that leave, proxies that die: nothing stays behind, and nothing more is asked upstream."""

from __future__ import annotations

import asyncio
import gc

import pytest

from ccproxy.errors import ExchangeError
from tests.e2e.claude_sdk.conftest import (
    PROMPTLY,
    Make,
    children,
    claude_processes,
    collect,
    request,
    roots,
    until,
    words,
)
from tests.fakes.messages_upstream import Answer, MessagesUpstream, text
from tests.fakes.upstream import PATIENCE


@pytest.mark.parametrize(
    ("way", "moment"),
    [
        ("close", "starting"),
        ("close", "asked"),
        ("close", "streaming"),
        ("cancel", "starting"),
        ("cancel", "streaming"),
        ("let go", "between"),
    ],
)
async def test_leaving_at_any_moment(make: Make, upstream: MessagesUpstream, moment: str, way: str) -> None:
    hold = asyncio.Event()
    upstream.otherwise = lambda _body: (
        Answer(hold_before=hold) if moment == "asked" else Answer([text("one two three")], hold=hold)
    )
    provider = make()
    stream = provider.stream(request("go"))
    reader: asyncio.Task[object] | None = asyncio.create_task(anext(stream))
    if moment == "starting":
        await until(lambda: bool(claude_processes()))
    else:
        await upstream.called(1)
    if moment in ("streaming", "between"):
        assert reader is not None
        await reader
        reader = asyncio.create_task(anext(stream)) if moment == "streaming" else None
    if way == "close":
        closing = asyncio.create_task(stream.aclose())
        await until(closing.done)
    if reader is not None:
        reader.cancel()
        await asyncio.wait({reader})
    del reader, stream
    gc.collect()
    assert await until(lambda: not claude_processes()) < PROMPTLY
    await until(lambda: provider.status()["processes"]["live"] == 0)
    assert len(upstream.calls) == (0 if moment == "starting" else 1)
    if upstream.calls:
        await asyncio.wait_for(upstream.calls[0].left.wait(), PATIENCE)


async def test_a_client_that_does_not_read_keeps_nobody_from_stopping(make: Make, upstream: MessagesUpstream) -> None:
    upstream.answers.append(Answer([text("word " * 4000)], stop_reason="max_tokens", pieces=4000))
    stream = make().stream(request("go"))
    await anext(stream)
    await until(lambda: not claude_processes())
    assert len(upstream.calls) == 1
    events = [event async for event in stream]
    assert words(events) == "word " * 4000
    assert events[-1] == {"type": "message_stop"}


async def test_waiting_in_line_and_leaving(make: Make, upstream: MessagesUpstream) -> None:
    upstream.otherwise = lambda _body: Answer(hold_before=asyncio.Event())
    provider = make(max_processes=1, queue=2)
    first, second, third = (provider.stream(request(word)) for word in ("a", "b", "c"))
    reading = [asyncio.create_task(anext(stream)) for stream in (first, second, third)]
    await upstream.called(1)
    with pytest.raises(ExchangeError) as caught:
        await collect(provider, request("d"))
    assert (caught.value.status, caught.value.headers) == (429, {"retry-after": "5"})
    assert provider.status()["processes"] == {"live": 1, "max": 1, "spare": 0, "waiting": 2}
    reading[1].cancel()
    await until(lambda: provider.status()["processes"]["waiting"] == 1)
    reading[0].cancel()
    call = await upstream.called(2)
    assert call.body["messages"][0]["content"][0]["text"] == "c"
    reading[2].cancel()
    await asyncio.wait(reading)
    await until(lambda: provider.status()["processes"]["live"] == 0)


async def test_the_provider_closes_in_mid_answer(make: Make, upstream: MessagesUpstream) -> None:
    upstream.otherwise = lambda _body: Answer([text("one two three")], hold=asyncio.Event())
    provider = make(prewarm=1)
    stream = provider.stream(request("go", session="s"))
    while (await anext(stream))["type"] != "content_block_delta":
        pass
    waiting = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    await provider.aclose()
    assert children() == []
    assert roots() == []
    with pytest.raises(ExchangeError, match="stopping"):
        await asyncio.wait_for(waiting, PATIENCE)
    with pytest.raises(ExchangeError, match="stopping"):
        await collect(provider, request("late"))
