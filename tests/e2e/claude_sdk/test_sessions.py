"""Sessions: one process for a conversation, built again whenever that would not be the conversation."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import Any

import pytest

from ccproxy.errors import Conflict, ExchangeError
from ccproxy.providers.claude_sdk.provider import ClaudeSdkProvider
from tests.e2e.claude_sdk.conftest import Make, claude_processes, collect, request, until, words
from tests.fakes.messages_upstream import Answer, MessagesUpstream, text, thinking, tool_use


def texts(upstream: MessagesUpstream) -> list[str]:
    """The texts of the last call's messages, one a turn."""
    found = []
    for message in upstream.calls[-1].body["messages"]:
        content = message["content"]
        found.append(content if isinstance(content, str) else "".join(block.get("text", "*") for block in content))
    return found


async def idle(provider: ClaudeSdkProvider, session: str = "s") -> int:
    """Wait until the session is ready for its next turn; returns its process."""
    await until(lambda: any(entry["id"] == session and not entry["busy"] for entry in provider.status()["sessions"]))
    return next(int(entry["pid"]) for entry in provider.status()["sessions"] if entry["id"] == session)


async def test_a_conversation_goes_on_in_its_process(make: Make, upstream: MessagesUpstream) -> None:
    provider = make()
    pids, costs = set(), []
    turns: list[Any] = []
    for number in range(4):
        upstream.answers.append(Answer([thinking("hm"), text(f"answer {number}"), text(" more")]))
        turns.append(f"question {number}")
        stream = provider.stream(request(*turns, session="s"))
        events = [event async for event in stream]
        assert words(events) == f"answer {number} more"
        pids.add(await idle(provider))
        costs.append(stream.cost_usd)
        # As a client of another format says it: one text, no thinking.
        turns.append(f"answer {number} more")
    assert len(pids) == 1
    assert costs == pytest.approx([costs[0]] * 4)
    assert texts(upstream)[0::2] == [f"question {number}" for number in range(4)]
    assert len(upstream.calls) == 4
    (session,) = provider.status()["sessions"]
    assert (session["turns"], session["busy"], session["waiting"]) == (8, False, 0)


async def test_another_conversation_is_built_again(make: Make, upstream: MessagesUpstream) -> None:
    provider = make()
    await collect(provider, request("one", session="s"))
    first = await idle(provider)
    # The client edited its first turn, then its system prompt, then goes back to where it was.
    for asked, expected in (
        (request("edited", "ok", "two", session="s"), ["edited", "ok", "two"]),
        (
            request("edited", "ok", "two", "ok", "three", session="s", system="new"),
            ["edited", "ok", "two", "ok", "three"],
        ),
        (request("one", session="s"), ["one"]),
    ):
        assert words(await collect(provider, asked)) == "ok"
        assert texts(upstream) == expected
        assert await idle(provider) != first
        assert len(claude_processes()) == 1
    assert len(upstream.calls) == 4


@pytest.mark.parametrize(
    "answer",
    [
        Answer([text("cut")], stop_reason="max_tokens"),
        Answer([thinking("hm")]),
        Answer([tool_use("t1", "add", a=1)]),
        Answer(status=529),
    ],
    ids=["max_tokens", "thinking", "tool_use", "error"],
)
async def test_an_answer_that_cannot_go_on_ends_the_process(
    make: Make, upstream: MessagesUpstream, answer: Answer
) -> None:
    provider = make()
    upstream.answers += [Answer([text("hi")], stop_reason="stop_sequence", stop_sequence="X"), answer]
    await collect(provider, request("one", session="s"))
    await idle(provider)
    with contextlib.suppress(ExchangeError):  # one of the cases is an error
        await collect(provider, request("one", "hi", "two", session="s"))
    await until(lambda: provider.status()["sessions"] == [])
    assert claude_processes() == []
    # In a session no budget holds Claude Code back: on a busy machine it may go on by itself before it is ended.
    assert len(upstream.calls) <= (3 if answer.blocks[0]["type"] != "tool_use" else 2)
    assert words(await collect(provider, request("one", "hi", "two", "cut", "three", session="s"))) == "ok"
    assert texts(upstream) == ["one", "hi", "two", "cut", "three"]


async def test_a_process_that_died_is_built_again(make: Make, upstream: MessagesUpstream) -> None:
    provider = make()
    await collect(provider, request("one", session="s"))
    pid = await idle(provider)
    os.kill(pid, signal.SIGKILL)
    assert words(await collect(provider, request("one", "ok", "two", session="s"))) == "ok"
    assert texts(upstream) == ["one", "ok", "two"]
    assert await idle(provider) != pid


async def test_one_request_at_a_time(make: Make, upstream: MessagesUpstream) -> None:
    hold = asyncio.Event()
    upstream.answers.append(Answer([text("first")], hold=hold))
    provider = make()
    one = asyncio.create_task(collect(provider, request("a", session="s")))
    await upstream.called(1)
    two = asyncio.create_task(collect(provider, request("a", "first", "b", session="s")))
    other = await collect(provider, request("c", session="another"))
    assert words(other) == "ok"
    assert [entry["waiting"] for entry in provider.status()["sessions"] if entry["id"] == "s"] == [1]
    hold.set()
    assert words(await one) == "first"
    assert words(await two) == "ok"
    assert texts(upstream) == ["a", "first", "b"]
    assert len(upstream.calls) == 3
    assert len(claude_processes()) == 2


async def test_a_busy_session_may_refuse(make: Make, upstream: MessagesUpstream) -> None:
    hold = asyncio.Event()
    upstream.answers.append(Answer([text("first")], hold=hold))
    provider = make(session_busy="reject")
    one = asyncio.create_task(collect(provider, request("a", session="s")))
    await upstream.called(1)
    with pytest.raises(Conflict, match="session_busy"):
        await collect(provider, request("a", "first", "b", session="s"))
    hold.set()
    assert words(await one) == "first"


async def test_idle_processes_end(make: Make, upstream: MessagesUpstream) -> None:
    provider = make(session_ttl=0.3)
    await collect(provider, request("a", session="s"))
    await idle(provider)
    await until(lambda: provider.status()["processes"]["live"] == 0)
    assert provider.status()["sessions"] == []
    assert claude_processes() == []


async def test_the_longest_idle_makes_room(make: Make, upstream: MessagesUpstream) -> None:
    provider = make(max_processes=2, queue=0)
    for name in ("old", "new"):
        await collect(provider, request("a", session=name))
        await idle(provider, name)
    assert words(await collect(provider, request("go"))) == "ok"
    assert [entry["id"] for entry in provider.status()["sessions"]] == ["new"]
    assert len(upstream.calls) == 3


async def test_leaving_ends_the_session_s_process(make: Make, upstream: MessagesUpstream) -> None:
    upstream.answers.append(Answer([text("one two")], hold=asyncio.Event()))
    provider = make()
    stream = provider.stream(request("a", session="s"))
    while (await anext(stream))["type"] != "content_block_delta":
        pass
    await stream.aclose()
    assert claude_processes() == []
    assert provider.status()["sessions"] == []


async def test_closing_after_the_last_event_keeps_the_process(make: Make, upstream: MessagesUpstream) -> None:
    provider = make()
    stream = provider.stream(request("a", session="s"))
    while (await anext(stream))["type"] != "message_stop":
        pass
    await stream.aclose()
    await idle(provider)
    assert words(await collect(provider, request("a", "ok", "b", session="s"))) == "ok"
    assert len(claude_processes()) == 1
    assert texts(upstream) == ["a", "ok", "b"]


async def test_spares_answer_as_processes_do(make: Make, upstream: MessagesUpstream) -> None:
    provider = make(prewarm=1, max_processes=3)
    assert claude_processes() == []
    fields: dict[str, Any] = {
        "system": "Be brief.",
        "tools": [{"name": "x", "input_schema": {"type": "object"}}],
        "stop_sequences": ["END"],
        "headers": {"anthropic-beta": "b-1"},
    }
    for _ in range(3):
        assert words(await collect(provider, request("one", "ok", "go", **fields))) == "ok"
        await until(lambda: provider.status()["processes"]["spare"] == 1)
    cold, *warm = [{**call.body, "metadata": None} for call in upstream.calls]
    for body in (cold, *warm):
        del body["system"][0]  # a hash of the process
    assert warm == [cold, cold]
    betas = {call.headers["anthropic-beta"] for call in upstream.calls}
    assert len(betas) == 1
    assert len(upstream.calls) == 3
    # A spare gives its place to whoever needs it.
    upstream.otherwise = lambda _body: Answer(hold_before=asyncio.Event())
    readers = [asyncio.create_task(anext(provider.stream(request(word)))) for word in ("a", "b", "c")]
    await upstream.called(6)
    for reader in readers:
        reader.cancel()
    await asyncio.wait(readers)
