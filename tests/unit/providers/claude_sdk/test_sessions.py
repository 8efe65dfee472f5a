from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ccproxy.errors import Conflict, TooManyRequests
from ccproxy.providers.claude_sdk.request import Plan, plan_request
from ccproxy.providers.claude_sdk.sessions import Session, Sessions
from ccproxy.providers.local import LocalRequest


class Alive:
    """A connection whose process lives."""

    alive = True
    pid = 1


def plan(*texts: str) -> Plan:
    messages = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]
    return plan_request(LocalRequest({"model": "m", "messages": messages}), "plain")


def test_only_an_extension_goes_on() -> None:
    session = Session("s")
    connection: Any = Alive()
    session.connection = connection
    session.remember(plan("a"), ["b"])
    turns = session.new_turns(plan("a", "b", "c"))
    assert turns is not None
    assert [turn.messages for turn in turns] == [(("user", "c"),)]
    for other in (plan("a"), plan("x", "b", "c"), plan("a", "x", "c"), plan("a", "b", "c", "d", "e")):
        assert session.new_turns(other) is None or len(other.turns) == 5
    assert session.turns == 2
    assert len(session.said) == 32, "a digest, however long the conversation is"


async def test_only_so_many_requests_wait() -> None:
    sessions = Sessions(60, "wait", queue=2)
    go = asyncio.Event()

    async def use(name: str) -> None:
        async with sessions.use(name):
            await go.wait()

    tasks = [asyncio.create_task(use(name)) for name in ("a", "a", "b", "b")]
    await asyncio.sleep(0)
    for name in ("a", "b"):
        with pytest.raises(TooManyRequests) as caught:
            await use(name)
        assert "retry-after" in caught.value.headers
    third = asyncio.create_task(use("c"))  # nobody uses it: it need not wait
    tasks[1].cancel()
    await asyncio.wait({tasks[1]})
    again = asyncio.create_task(use("a"))  # one that left made room
    go.set()
    await asyncio.gather(*tasks, third, again, return_exceptions=True)
    assert sessions.status() == []


async def test_a_busy_session_can_be_refused() -> None:
    sessions = Sessions(60, "reject")
    async with sessions.use("a"):
        with pytest.raises(Conflict):
            await sessions.use("a").__aenter__()
    assert sessions.status() == []
