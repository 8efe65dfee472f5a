"""Plain-model mode: Claude Code as the Messages API."""

from __future__ import annotations

from tests.e2e.claude_sdk.conftest import Make, collect, request, words
from tests.fakes.messages_upstream import Answer, MessagesUpstream, text


async def test_text_comes_through_event_by_event(make: Make, upstream: MessagesUpstream) -> None:
    upstream.answers.append(Answer([text("one two three")], usage={"input_tokens": 7, "output_tokens": 9}))
    events = await collect(make(), request("count", system="Be brief."))
    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert words(events) == "one two three"
    assert events[0]["message"]["id"] == "msg_0001"
    assert events[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert events[-2]["usage"] == {"input_tokens": 7, "output_tokens": 9}
