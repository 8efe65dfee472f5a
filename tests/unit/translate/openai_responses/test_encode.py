"""Answers as the Responses API writes them."""

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
    EVENTS,
    RESPONSES,
    anthropic_answer,
    sse,
)
from tests.referees import sdk

Json = dict[str, Any]

A, C, R = Format

WHOLE_RESPONSE = RESPONSES[-1]["response"]


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


@pytest.mark.parametrize("client", [A, C])
def test_a_whole_answer_is_the_fold_of_its_stream_for_responses(client: Format) -> None:
    exchange = ask(client, R)
    status, _, body = exchange.whole(200, json.dumps(WHOLE_RESPONSE).encode())
    assert status == 200
    assert json.loads(body) == folded(exchange, RESPONSES)


@pytest.mark.parametrize("upstream", [A, C])
def test_responses_numbers_its_events_and_keeps_its_ids(upstream: Format) -> None:
    events = streamed(ask(R, upstream), EVENTS[upstream])
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert len({event["response"]["id"] for event in events if "response" in event}) == 1
    added = {
        event["output_index"]: event["item"]["id"] for event in events if event["type"] == "response.output_item.added"
    }
    done = {
        event["output_index"]: event["item"]["id"] for event in events if event["type"] == "response.output_item.done"
    }
    final = {i: item["id"] for i, item in enumerate(events[-1]["response"]["output"])}
    assert added == done == final
    assert len(set(final.values())) == len(final)


def test_consecutive_texts_are_contents_of_one_message() -> None:
    output = folded(ask(R, A), ANTHROPIC)["output"]
    (message,) = [item for item in output if item["type"] == "message"]
    assert [part["text"] for part in message["content"]] == ["Zürich is warm. ", "As found."]
    assert message["content"][1]["annotations"][0]["end_index"] == len("As found.")
    assert [item["type"] for item in output] == [
        "reasoning",
        "reasoning",
        "web_search_call",
        "message",
        "function_call",
        "function_call",
    ]


def test_sources_of_a_search_are_sent_on_request() -> None:
    search = next(item for item in folded(ask(R, A), ANTHROPIC)["output"] if item["type"] == "web_search_call")
    assert search["action"] == {
        "type": "search",
        "query": "weather",
        "sources": [{"type": "url", "url": "https://example.com/a"}],
    }
    quiet = next(
        item for item in folded(ask(R, A, include=[]), ANTHROPIC)["output"] if item["type"] == "web_search_call"
    )
    assert "sources" not in quiet["action"]


def test_a_response_echoes_what_was_asked() -> None:
    tool = {"type": "function", "name": "now", "parameters": {"type": "object"}}
    exchange = ask(
        R,
        A,
        instructions="Be brief.",
        tools=[tool],
        max_output_tokens=99,
        metadata={"a": "b"},
        text={"verbosity": "low"},
        store=True,
    )
    answer = folded(exchange, ANTHROPIC)
    assert answer["instructions"] == "Be brief."
    assert answer["tools"] == [{**tool, "strict": False, "description": None}]
    assert answer["max_output_tokens"] == 99
    assert answer["metadata"] == {"a": "b"}
    assert answer["text"] == {"format": {"type": "text"}, "verbosity": "low"}
    assert answer["store"] is False
    sdk.check_answer(R, answer)


RESPONSES_TOOLS: list[Json] = [
    {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}},
    {"type": "local_shell"},
    {"type": "shell", "environment": {"type": "local"}},
    {"type": "apply_patch"},
    {
        "type": "tool_search",
        "execution": "client",
        "description": "Find tools.",
        "parameters": {"type": "object", "properties": {"q": {"type": "string"}}},
    },
    {
        "type": "namespace",
        "name": "crm",
        "description": "Customers.",
        "tools": [{"type": "function", "name": "find", "parameters": {"type": "object"}, "strict": False}],
    },
]


def test_free_text_streams_while_it_is_written() -> None:
    exchange = ask(R, A, tools=RESPONSES_TOOLS)
    stream = exchange.stream_translator()
    head = anthropic_answer([], {}, {})[:1]
    start = {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "tool_use", "id": "t", "name": "patch", "input": {}},
    }

    def delta(text: str) -> bytes:
        event = {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": text}}
        return stream.feed(sse(A, [event]))

    stream.feed(sse(A, [*head, start]))
    assert delta('{"inp') == b""
    assert b'"delta":"one ' in delta('ut": "one ')
    assert b'"delta":"two' in delta("two\\")
    assert b'"delta":"\\n' in delta("n\\ud83d")
    assert '"delta":"😀'.encode() in delta("\\ude00 three")
    assert delta('"}') == b""
