"""Answers of Messages servers with habits of their own."""

from __future__ import annotations

import json
from typing import Any

from ccproxy.translate.exchange import translate_request
from ccproxy.translate.formats import Format
from tests.examples.answers import ASKING, EVENTS, sse

Json = dict[str, Any]

A, C, R = Format


def whole(client: Format, upstream: Format, events: list[Json], *, done: bool = True) -> Json:
    folder = translate_request(client, upstream, ASKING[client]).folder()
    folder.feed(sse(upstream, events, done=done))
    status, _, body = folder.result()
    assert status == 200, body
    found: Json = json.loads(body)
    return found


def test_an_anthropic_server_with_habits_of_its_own() -> None:
    start = EVENTS[A][0]
    events = [
        start,
        start,
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "He"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "llo"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "news_delta", "news": 1}},
        {"type": "content_block_delta", "index": 9, "delta": {"type": "text_delta", "text": "lost"}},
        {"type": "content_block_stop", "index": 9},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "compaction", "content": None}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "compaction_delta", "content": "So far."}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "content_block_start",
            "index": 1,
            "content_block": {"type": "tool_use", "id": "t", "name": "now", "input": {}},
        },
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"a'}},
        {"type": "news"},
        {"type": "message_delta", "delta": {}, "usage": None},
        {"type": "message_stop"},
        {"type": "message_stop"},
    ]
    completion = whole(C, A, events)
    assert completion["choices"][0]["message"]["content"] == "Hello"
    assert completion["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == '{"a'
    assert completion["choices"][0]["finish_reason"] == "tool_calls"
