from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("claude_agent_sdk")

from claude_agent_sdk import AssistantMessage, RateLimitEvent, ResultMessage, StreamEvent, TextBlock
from claude_agent_sdk.types import RateLimitInfo

from ccproxy.errors import ExchangeError
from ccproxy.providers.claude_sdk.answer_events import AgentAnswer, PlainAnswer
from ccproxy.providers.claude_sdk.failures import Failure, process_error


def raw(event: dict[str, Any], parent: str | None = None) -> StreamEvent:
    return StreamEvent(uuid="u", session_id="s", event=event, parent_tool_use_id=parent)


def result(**fields: Any) -> ResultMessage:
    given = {"subtype": "success", "is_error": False, "usage": None, "total_cost_usd": 0.5, **fields}
    return ResultMessage(duration_ms=1, duration_api_ms=1, num_turns=1, session_id="s", **given)


def message(
    *events: dict[str, Any], stop: str | None = "end_turn", usage: dict[str, Any] | None = None
) -> Iterator[StreamEvent]:
    yield raw({"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 3, "cache": {"hits": 1}}}})
    for event in events:
        yield raw(event)
    if stop is not None:
        yield raw({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": usage or {"output_tokens": 4}})
        yield raw({"type": "message_stop"})


def start(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": "", **block}}


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def said(answer: PlainAnswer | AgentAnswer, *messages: Any) -> list[tuple[str, Any]]:
    return [(event["type"], event.get("index")) for given in messages for event in answer.feed(given)]


def test_a_message_that_broke_off_in_a_loop_leaves_no_block_open() -> None:
    answer = AgentAnswer("text", ())
    events = said(answer, *message(start(0), stop(0), start(1), stop=None), *message(start(0), stop(0)), result())
    assert events == [
        ("message_start", None),
        ("content_block_start", 0),
        ("content_block_stop", 0),
        ("content_block_start", 1),
        ("content_block_stop", 1),
        ("content_block_start", 2),
        ("content_block_stop", 2),
        ("message_delta", None),
        ("message_stop", None),
    ]


def test_usage_is_summed_where_the_sdk_has_no_sum() -> None:
    answer = AgentAnswer("hide", {"mine"})
    tool = start(0, type="tool_use", id="t", name="Bash")
    said(answer, *message(tool, stop(0), stop="tool_use"))
    mine = start(0, type="tool_use", id="u", name="mine")
    *_, delta, end = [event for given in message(mine, stop(0), stop="tool_use") for event in answer.feed(given)]
    assert end == {"type": "message_stop"}
    assert delta["usage"] == {"input_tokens": 6, "cache": {"hits": 2}, "output_tokens": 8}
    assert (answer.finished, answer.reusable) == (True, False)


def test_subagents_and_the_unknown_are_not_the_answer() -> None:
    for answer in (AgentAnswer("text", ()), PlainAnswer(keep=False)):
        assert said(answer, raw(start(0), parent="toolu_1")) == []
    assert said(AgentAnswer("text", ()), raw({"type": "of_tomorrow"})) == []
    assert said(PlainAnswer(keep=False), raw({"type": "of_tomorrow"})) == [("of_tomorrow", None)]


@pytest.mark.parametrize(
    ("reason", "text", "keep", "last"),
    [
        ("end_turn", "hi", True, False),
        ("stop_sequence", "hi", True, False),
        ("end_turn", "hi", False, True),
        ("end_turn", "", True, True),
        ("max_tokens", "hi", True, True),
        (None, "hi", True, False),
    ],
)
def test_the_last_message_is_known_when_it_is_read(reason: str | None, text: str, keep: bool, last: bool) -> None:
    answer = PlainAnswer(keep=keep)
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    assert not answer.is_last({"type": "stream_event", "event": delta})
    assert not answer.is_last({"type": "assistant"})
    end = {"type": "message_delta", "delta": {"stop_reason": reason}}
    assert not answer.is_last({"type": "stream_event", "event": end, "parent_tool_use_id": "t"})
    assert answer.is_last({"type": "stream_event", "event": end}) is last


def test_a_turn_without_an_answer_is_an_error() -> None:
    for answer in (AgentAnswer("text", ()), PlainAnswer(keep=False)):
        with pytest.raises(ExchangeError, match="without an answer"):
            said(answer, result())


@pytest.mark.parametrize(
    ("kind", "text", "status", "sent", "message"),
    [
        ("unknown", "API Error: 400 bad thing", 400, 400, "bad thing"),
        (
            "rate_limit",
            "You've hit your 5-hour limit · resets 2pm",
            429,
            429,
            "You've hit your 5-hour limit · resets 2pm",
        ),
        ("rate_limit", "API Error: Request rejected (429) · slow", 429, 429, "slow"),
        (
            "invalid_request",
            "Prompt is too long · the request is ~210000 tokens (limit 200000) but …",
            400,
            400,
            "prompt is too long: 210000 tokens > 200000 maximum",
        ),
        (
            "server_error",
            "API Error: Connection lost",
            None,
            502,
            "no answer from the upstream of Claude Code: Connection lost",
        ),
        ("of_tomorrow", "Whatever", None, 500, "Claude Code failed: Whatever"),
        ("overloaded", "busy", None, 529, "busy"),
        ("model_not_found", "No such model", None, 404, "No such model"),
    ],
)
def test_failures_keep_the_upstream_s_words(kind: Any, text: str, status: int | None, sent: int, message: str) -> None:
    failure = Failure()
    failure.note(AssistantMessage(content=[TextBlock(text)], model="<synthetic>", error=kind))
    error = failure.error(result(is_error=True, api_error_status=status))
    assert (error.status, error.message) == (sent, message)


def test_the_end_of_a_limit_is_counted_from_now() -> None:
    failure = Failure(clock=lambda: 1000.0)
    info = RateLimitInfo(status="rejected", resets_at=1059)
    failure.note(RateLimitEvent(rate_limit_info=info, uuid="u", session_id="s"))
    assert failure.error(result(is_error=True, api_error_status=429)).headers == {"retry-after": "59"}
    assert failure.error(result(is_error=True, api_error_status=500)).headers == {}


def test_what_breaks_below_is_told_without_details() -> None:
    for error in (ValueError("secret"), Exception("Control request timeout")):
        made = process_error(error, ["secret"])
        assert made.status == 502
        assert "secret" not in made.message


@pytest.mark.parametrize(
    "messages",
    [
        [result()],
        [*message(stop=None), result()],
        [*message(start(0), stop=None), result()],
        [*message(start(0), stop(0), stop=None), result()],
        [*message(start(0), stop(0), stop="tool_use"), *message(start(0), stop=None), result()],
        [*message(start(0), stop(0)), result(subtype="error_max_turns")],
        [*message(start(0), stop(0)), result(subtype="error_during_execution")],
        [*message(start(0), stop(0)), result(is_error=True)],
    ],
    ids=range(8),
)
def test_no_end_is_made_up(messages: list[Any]) -> None:
    for answer in (AgentAnswer("text", ()), PlainAnswer(keep=True)):
        events: list[tuple[str, Any]] = []
        try:
            for given in messages:
                events += said(answer, given)
        except ExchangeError:
            assert ("message_stop", None) not in events or isinstance(answer, PlainAnswer)
        else:
            # The upstream gave its stop reason before the result came, which is about what Claude Code did next.
            assert isinstance(answer, PlainAnswer)
            assert answer.finished
