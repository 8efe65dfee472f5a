"""Answers as the Messages API writes them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccproxy.translate import capsule
from ccproxy.translate.exchange import Translated, translate_request
from ccproxy.translate.formats import Format
from ccproxy.translate.sse import SseParser
from tests.examples.answers import (
    ANTHROPIC,
    ASKING,
    EVENTS,
    RESPONSES,
    RESPONSES_USAGE,
    anthropic_answer,
    anthropic_block,
    response,
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


@pytest.mark.parametrize(("client", "upstream"), [(client, A) for client in (C, R)])
def test_a_whole_answer_is_the_fold_of_its_stream_for_anthropic(client: Format, upstream: Format) -> None:
    message = {
        **ANTHROPIC[0]["message"],
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
            {"type": "text", "text": "Hello", "citations": None},
            {"type": "tool_use", "id": "t1", "name": "now", "input": {"a": [1]}},
        ],
        "stop_reason": "tool_use",
    }
    events = anthropic_answer(
        [
            anthropic_block(
                0,
                {"type": "thinking", "thinking": "Hm.", "signature": ""},
                [{"type": "signature_delta", "signature": "c2ln"}],
            ),
            anthropic_block(1, {"type": "text", "text": "Hello"}, []),
            anthropic_block(2, {"type": "tool_use", "id": "t1", "name": "now", "input": {"a": [1]}}, []),
        ],
        {"stop_reason": "tool_use"},
        message["usage"],
    )
    exchange = ask(client, upstream)
    status, _, body = exchange.whole(200, json.dumps(message).encode())
    assert status == 200
    assert json.loads(body) == folded(exchange, events)


@pytest.mark.parametrize("upstream", [C, R])
def test_anthropic_blocks_stand_in_a_row(upstream: Format) -> None:
    events = streamed(ask(A, upstream), EVENTS[upstream])
    open_block, count = None, 0
    for event in events:
        match event["type"]:
            case "content_block_start":
                assert open_block is None
                assert event["index"] == count
                open_block = count
            case "content_block_delta":
                assert event["index"] == open_block
            case "content_block_stop":
                assert event["index"] == open_block
                open_block, count = None, count + 1
    kinds = [event["type"] for event in events]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]


def test_anthropic_signs_thinking_just_before_its_end() -> None:
    events = streamed(ask(A, R), RESPONSES)
    at = next(i for i, event in enumerate(events) if event.get("delta", {}).get("type") == "signature_delta")
    assert events[at + 1]["type"] == "content_block_stop"
    opened = capsule.unseal(events[at]["delta"]["signature"])
    assert opened is not None
    assert opened.fmt is R
    assert opened.raw == WHOLE_RESPONSE["output"][0]


def test_hidden_reasoning_is_redacted_thinking() -> None:
    blocks = folded(ask(A, R), RESPONSES)["content"]
    redacted = next(block for block in blocks if block["type"] == "redacted_thinking")
    opened = capsule.unseal(redacted["data"])
    assert opened is not None
    assert opened.raw == WHOLE_RESPONSE["output"][1]


def test_reasoning_that_no_provider_accepts_is_marked() -> None:
    item = {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}
    empty = {"id": "rs_2", "type": "reasoning", "summary": []}
    exchange = ask(A, R)
    _, _, body = exchange.whole(200, json.dumps(response("completed", [item, empty])).encode())
    (block,) = json.loads(body)["content"]
    opened = capsule.unseal(block["signature"])
    assert opened is not None
    assert opened.fmt is None


def test_a_web_search_of_openai_has_the_form_of_anthropics() -> None:
    blocks = folded(ask(A, R), RESPONSES)["content"]
    call, result = (
        block for block in blocks if "web_search" in json.dumps(block["type"]) or block["type"] == "server_tool_use"
    )
    assert call["name"] == "web_search"
    assert call["input"] == {"query": "weather"}
    assert result["tool_use_id"] == call["id"]
    assert result["content"][0]["url"] == "https://example.com/a"
    opened = capsule.unseal(result["content"][0]["encrypted_content"])
    assert opened is not None
    assert opened.raw["id"] == "ws_1"


@pytest.mark.parametrize(
    ("status", "reason", "output", "stop"),
    [
        ("completed", None, [], "end_turn"),
        ("incomplete", "max_output_tokens", [], "max_tokens"),
        ("incomplete", "max_output_tokens", [WHOLE_RESPONSE["output"][4]], "max_tokens"),
        ("incomplete", "content_filter", [], "refusal"),
        ("incomplete", "steered", [], "end_turn"),
        ("completed", None, [WHOLE_RESPONSE["output"][4]], "tool_use"),
        (
            "completed",
            None,
            [
                {
                    "id": "m",
                    "type": "message",
                    "role": "assistant",
                    "status": "completed",
                    "content": [{"type": "refusal", "refusal": "No."}],
                }
            ],
            "refusal",
        ),
    ],
    ids=range(7),
)
def test_how_a_response_ends_for_anthropic(status: str, reason: str | None, output: list[Json], stop: str) -> None:
    body = response(status, output, incomplete_details={"reason": reason} if reason else None, usage=RESPONSES_USAGE)
    _, _, answer = ask(A, R).whole(200, json.dumps(body).encode())
    message = json.loads(answer)
    assert message["stop_reason"] == stop
    sdk.check_answer(A, message)
    if output and output[0]["type"] == "message":
        assert message["stop_details"] == {"type": "refusal", "category": None, "explanation": "No."}
        assert message["content"] == [{"type": "text", "text": "No."}]
