"""Answers of Chat servers with habits of their own."""

from __future__ import annotations

import json
from typing import Any

from ccproxy.translate.exchange import translate_request
from ccproxy.translate.formats import Format
from tests.examples.answers import ASKING, chat_chunk, sse

Json = dict[str, Any]

A, C, R = Format


def whole(client: Format, upstream: Format, events: list[Json], *, done: bool = True) -> Json:
    folder = translate_request(client, upstream, ASKING[client]).folder()
    folder.feed(sse(upstream, events, done=done))
    status, _, body = folder.result()
    assert status == 200, body
    found: Json = json.loads(body)
    return found


def test_a_chat_server_that_forgets_to_say_that_it_is_done() -> None:
    events = [chat_chunk({"content": "Hi"}), chat_chunk({}, "stop")]
    assert whole(A, C, events, done=False)["stop_reason"] == "end_turn"


def test_chat_servers_with_habits_of_their_own() -> None:
    parts = [{"type": "text", "text": "He"}, {"type": "text", "text": "llo"}]
    call = {"function": {"name": "now", "arguments": {"a": 1}}}
    message = whole(A, C, [chat_chunk({"content": parts}), chat_chunk({"tool_calls": [call]}), chat_chunk({}, "stop")])
    assert message["content"] == [
        {"type": "text", "text": "Hello"},
        {"type": "tool_use", "id": "call_0", "name": "now", "input": {"a": 1}},
    ]
    legacy = whole(
        A, C, [chat_chunk({"function_call": {"name": "now", "arguments": "{}"}}), chat_chunk({}, "function_call")]
    )
    assert legacy["content"] == [{"type": "tool_use", "id": "call_now", "name": "now", "input": {}}]
    custom = {"index": 0, "id": "c", "type": "custom", "custom": {"name": "patch", "input": "x"}}
    assert whole(A, C, [chat_chunk({"tool_calls": [custom]}), chat_chunk({}, "tool_calls")])["content"][0]["input"] == {
        "input": "x"
    }
    refusal = whole(A, C, [chat_chunk({"refusal": "No."}), chat_chunk({}, "stop")])
    assert refusal["stop_reason"] == "refusal"
    second = {**chat_chunk({"content": "b"}), "choices": [{"index": 1, "delta": {"content": "b"}}]}
    assert whole(A, C, [chat_chunk({"content": "a"}), second, chat_chunk({}, "stop")])["content"][0]["text"] == "a"
    odd = whole(R, C, [chat_chunk({"content": "a"}), chat_chunk({}, "eos")])
    assert odd["status"] == "completed"


def test_a_routers_reasoning_details_survive() -> None:
    details = [
        {"type": "reasoning.text", "text": "", "signature": "", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.text", "text": "Hm", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.text", "text": "m.", "index": 0},
        {"type": "reasoning.text", "signature": "c2ln", "format": None, "index": 0},
        {"type": "reasoning.encrypted", "data": "x", "index": 1},
    ]
    events = [
        chat_chunk({"content": "", "reasoning": entry.get("text") or None, "reasoning_details": [entry]})
        for entry in details
    ]
    message = whole(A, C, [*events, chat_chunk({"content": "Hi", "reasoning_details": []}), chat_chunk({}, "stop")])
    thinking = message["content"][0]
    assert thinking["thinking"] == "Hmm."
    answer = {"role": "assistant", "content": message["content"]}
    back = translate_request(
        A,
        C,
        {
            "model": "m",
            "max_tokens": 1,
            "messages": [{"role": "user", "content": "hi"}, answer, {"role": "user", "content": "ok"}],
        },
    )
    assert back.body["messages"][1]["reasoning_details"] == [
        {"type": "reasoning.text", "text": "Hmm.", "signature": "c2ln", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": "x", "index": 1},
    ]
    only = [
        chat_chunk({"reasoning_details": [{"type": "reasoning.summary", "summary": "S", "index": 0}]}),
        chat_chunk({"content": "Hi"}),
        chat_chunk({}, "stop"),
    ]
    assert whole(R, C, only)["output"][0]["summary"] == [{"type": "summary_text", "text": "S"}]


def test_citations_that_come_before_their_text() -> None:
    cited = {
        "type": "url_citation",
        "url_citation": {
            "url": "https://example.com",
            "title": "T",
            "start_index": 0,
            "end_index": 0,
            "content": "words",
        },
    }
    message = whole(
        A,
        C,
        [chat_chunk({"content": "", "annotations": [cited]}), chat_chunk({"content": "Hi"}), chat_chunk({}, "stop")],
    )
    assert message["content"][0]["citations"][0]["cited_text"] == "words"
