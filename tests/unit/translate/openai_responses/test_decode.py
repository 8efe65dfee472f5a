"""Answers of Responses servers with habits of their own."""

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


def test_a_responses_server_with_habits_of_its_own() -> None:
    text = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Hi"}
    message = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "Hi", "annotations": []}],
    }
    events = [
        {"type": "response.created", "response": {"id": "resp_1", "model": "m"}},
        {"type": "response.output_item.added", "output_index": 0, "item": None},
        text,
        {"type": "response.output_item.done", "output_index": 0, "item": message},
        {"type": "response.output_item.done", "output_index": 0, "item": message},
        text,
        {"type": "response.content_part.added", "output_index": 0, "content_index": 0, "part": message["content"][0]},  # type: ignore[index]
        {"type": "response.content_part.done", "output_index": 0, "content_index": 0, "part": message["content"][0]},  # type: ignore[index]
        {"type": "response.content_part.added", "output_index": 1, "content_index": 0, "part": {"type": "hologram"}},
        {"type": "response.refusal.delta", "output_index": 2, "content_index": 0, "delta": "No."},
        {"type": "response.reasoning_summary_text.delta", "output_index": 9, "summary_index": 0, "delta": "lost"},
        {"type": "response.function_call_arguments.delta", "output_index": 9, "delta": "lost"},
        {
            "type": "response.completed",
            "response": {"id": "resp_1", "model": "m", "status": "completed", "output": [message]},
        },
        {"type": "response.completed", "response": {"id": "resp_1"}},
    ]
    found = whole(C, R, events)["choices"][0]
    assert found["message"]["content"] == "Hi"
    assert found["message"]["refusal"] == "No."
    assert found["finish_reason"] == "stop"


def test_items_are_matched_by_their_ids_where_indices_have_gaps() -> None:
    message = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "Hi", "annotations": []}],
    }
    call = {
        "id": "fc",
        "type": "function_call",
        "call_id": "c",
        "name": "now",
        "arguments": "{}",
        "status": "completed",
    }
    late = {
        "id": "fc2",
        "type": "function_call",
        "call_id": "c2",
        "name": "now",
        "arguments": "{}",
        "status": "completed",
    }
    events = [
        {"type": "response.created", "response": {"id": "resp_1", "model": "m"}},
        {"type": "response.output_item.added", "output_index": 1, "item": {**message, "content": []}},
        {"type": "response.output_item.done", "output_index": 1, "item": message},
        {"type": "response.output_item.added", "output_index": 2, "item": {**call, "arguments": ""}},
        {
            "type": "response.completed",
            "response": {"id": "resp_1", "model": "m", "status": "completed", "output": [message, call, late]},
        },
    ]
    found = whole(C, R, events)["choices"][0]["message"]
    assert found["content"] == "Hi"
    assert [entry["id"] for entry in found["tool_calls"]] == ["c", "c2"]


def test_annotations_without_an_address_are_lost() -> None:
    cited = {
        "type": "char_location",
        "cited_text": "x",
        "document_index": 0,
        "document_title": "D",
        "start_char_index": 0,
        "end_char_index": 1,
    }
    message = {
        **EVENTS[A][0]["message"],
        "content": [{"type": "text", "text": "Hi", "citations": [cited]}],
        "stop_reason": "end_turn",
    }
    for client in (C, R):
        _, headers, _ = translate_request(client, A, ASKING[client]).whole(200, json.dumps(message).encode())
        assert headers["x-ccproxy-loss"] == "content.citations"
    filed = {"type": "file_citation", "file_id": "f", "filename": "a", "index": 0}
    item = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "Hi", "annotations": [filed]}],
    }
    body = {"id": "resp_1", "model": "m", "status": "completed", "output": [item]}
    _, headers, _ = translate_request(A, R, ASKING[A]).whole(200, json.dumps(body).encode())
    assert headers["x-ccproxy-loss"] == "content.citations"
