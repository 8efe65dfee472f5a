"""Answers as the Chat Completions API writes them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccproxy.translate.exchange import Translated, translate_request
from ccproxy.translate.formats import Format
from ccproxy.translate.sse import SseParser
from tests.examples.answers import (
    ANTHROPIC,
    ASKING,
    chat_chunk,
    response,
    sse,
)
from tests.referees.facts import facts

Json = dict[str, Any]

A, C, R = Format


def ask(client: Format, upstream: Format, **more: Any) -> Translated:
    return translate_request(client, upstream, {**ASKING[client], **more})


def streamed(exchange: Translated, events: list[Json]) -> list[Json]:
    """The client's events."""
    stream = exchange.stream_translator()
    data = stream.feed(sse(exchange.upstream, events)) + stream.close()
    return [json.loads(text) for _, text in SseParser().feed(data) if text != "[DONE]"]


def folded(exchange: Translated, events: list[Json]) -> Json:
    """The client's whole answer."""
    folder = exchange.folder()
    folder.feed(sse(exchange.upstream, events))
    status, _, body = folder.result()
    assert status == 200, body
    found: Json = json.loads(body)
    return found


@pytest.mark.parametrize("client", [A, R])
def test_a_whole_answer_is_the_fold_of_its_stream_for_chat(client: Format) -> None:
    completion = {
        "id": "chatcmpl-01",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "gpt-5.5",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Hi",
                    "reasoning_content": "Hm.",
                    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "now", "arguments": "{}"}}],
                },
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    }
    events = [
        chat_chunk({"role": "assistant", "content": ""}),
        chat_chunk({"reasoning_content": "Hm."}),
        chat_chunk({"content": "Hi"}),
        chat_chunk(
            {
                "tool_calls": [
                    {"index": 0, "id": "c1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
                ]
            }
        ),
        chat_chunk({}, "stop", usage=completion["usage"]),
    ]
    exchange = ask(client, C)
    _, _, body = exchange.whole(200, json.dumps(completion).encode())
    assert json.loads(body) == folded(exchange, events)
    assert facts(client, json.loads(body)).stop == "tool", "many servers use stop also after a call"


def test_chat_names_and_formats_stand_in_the_first_delta_only() -> None:
    chunks = streamed(ask(C, A), ANTHROPIC)
    details = [
        entry
        for chunk in chunks
        for choice in chunk["choices"]
        for entry in choice["delta"].get("reasoning_details", ())
    ]
    assert [("format" in entry, entry["index"]) for entry in details if "format" in entry] == [(True, 0), (True, 1)]
    assert [entry["signature"] for entry in details if "signature" in entry] == ["c2lnbmF0dXJl"]
    assert {entry["pos"] for entry in details if "pos" in entry} == {0, 1}
    calls = [call for chunk in chunks for choice in chunk["choices"] for call in choice["delta"].get("tool_calls", ())]
    assert [(call["index"], call["id"], call["function"]["arguments"]) for call in calls if "id" in call] == [
        (0, "toolu_1", ""),
        (1, "toolu_2", ""),
    ]
    assert calls[-1]["function"]["arguments"] == "{}", "a call without arguments gets an empty object"


def test_chat_usage_comes_last_and_only_when_asked_for() -> None:
    chunks = streamed(ask(C, A), ANTHROPIC)
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["prompt_tokens_details"] == {
        "cached_tokens": 7,
        "cache_write_tokens": 5,
        "audio_tokens": 0,
    }
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    quiet = streamed(ask(C, A, stream_options=None), ANTHROPIC)
    assert all("usage" not in chunk for chunk in quiet)
    assert quiet[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_chat_marks_citations_in_the_joined_text() -> None:
    message = folded(ask(C, A), ANTHROPIC)["choices"][0]["message"]
    (annotation,) = message["annotations"]
    place = annotation["url_citation"]
    assert message["content"][place["start_index"] : place["end_index"]] == "As found."


def test_custom_calls_keep_their_kind() -> None:
    item = {
        "id": "ctc_1",
        "type": "custom_tool_call",
        "status": "completed",
        "call_id": "call_9",
        "name": "patch",
        "input": 'say "hi"\n',
    }
    body = json.dumps(response("completed", [item])).encode()
    _, _, chat = ask(C, R).whole(200, body)
    assert json.loads(chat)["choices"][0]["message"]["tool_calls"] == [
        {"id": "call_9", "type": "custom", "custom": {"name": "patch", "input": 'say "hi"\n'}}
    ]
    _, _, message = ask(A, R).whole(200, body)
    assert json.loads(message)["content"] == [
        {"type": "tool_use", "id": "call_9", "name": "patch", "input": {"input": 'say "hi"\n'}}
    ]
    deltas = "".join(
        event["delta"]["partial_json"]
        for event in _events(ask(A, R).whole_as_stream(body))
        if event["type"] == "content_block_delta"
    )
    assert json.loads(deltas) == {"input": 'say "hi"\n'}


def _events(data: bytes) -> list[Json]:
    return [json.loads(text) for _, text in SseParser().feed(data) if text != "[DONE]"]
