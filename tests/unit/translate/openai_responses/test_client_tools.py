"""Calls of a Responses client's own tools."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccproxy.translate.exchange import Translated, translate_request
from ccproxy.translate.formats import Format
from tests.examples.answers import (
    ASKING,
    anthropic_answer,
    anthropic_block,
    chat_chunk,
    sse,
)
from tests.referees import sdk

Json = dict[str, Any]

A, C, R = Format


def ask(client: Format, upstream: Format, **more: Any) -> Translated:
    return translate_request(client, upstream, {**ASKING[client], **more})


def folded(exchange: Translated, events: list[Json]) -> Json:
    """The client's whole answer."""
    folder = exchange.folder()
    folder.feed(sse(exchange.upstream, events))
    status, _, body = folder.result()
    assert status == 200, body
    found: Json = json.loads(body)
    return found


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


@pytest.mark.parametrize(
    ("name", "given", "item"),
    [
        ("patch", {"input": 'a "b"\n\\ü😀'}, {"type": "custom_tool_call", "name": "patch", "input": 'a "b"\n\\ü😀'}),
        ("patch", {"other": 1}, {"type": "custom_tool_call", "name": "patch", "input": '{"other": 1}'}),
        (
            "local_shell",
            {"command": ["ls"]},
            {"type": "local_shell_call", "action": {"type": "exec", "env": {}, "command": ["ls"]}},
        ),
        ("shell", {"commands": ["ls"]}, {"type": "shell_call", "action": {"commands": ["ls"]}}),
        (
            "apply_patch",
            {"type": "delete_file", "path": "a"},
            {"type": "apply_patch_call", "operation": {"type": "delete_file", "path": "a"}},
        ),
        ("tool_search", {"q": "x"}, {"type": "tool_search_call", "arguments": {"q": "x"}, "execution": "client"}),
        ("crm__find", {}, {"type": "function_call", "name": "find", "namespace": "crm", "arguments": "{}"}),
    ],
    ids=range(7),
)
@pytest.mark.parametrize("upstream", [A, C])
def test_calls_of_a_responses_clients_own_tools_come_back_as_their_items(
    name: str, given: Json, item: Json, upstream: Format
) -> None:
    exchange = ask(R, upstream, tools=RESPONSES_TOOLS)
    written = json.dumps(given)
    pieces = [written[i : i + 3] for i in range(0, len(written), 3)]
    if upstream is A:
        block = anthropic_block(
            0,
            {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}},
            [{"type": "input_json_delta", "partial_json": p} for p in pieces],
        )
        events = anthropic_answer([block], {"stop_reason": "tool_use"}, {"output_tokens": 1})
    else:
        first = {"index": 0, "id": "toolu_1", "type": "function", "function": {"name": name, "arguments": ""}}
        events = [
            chat_chunk({"tool_calls": [first]}),
            *(chat_chunk({"tool_calls": [{"index": 0, "function": {"arguments": p}}]}) for p in pieces),
            chat_chunk({}, "tool_calls"),
        ]
    (found,) = folded(exchange, events)["output"]
    assert found["call_id"] == "toolu_1"
    assert {key: value for key, value in found.items() if key not in ("id", "status", "call_id")} == item
    stream = exchange.stream_translator()
    data = stream.feed(sse(upstream, events)) + stream.close()
    assert sdk.accumulate(R, data)["output"][0]["type"] == item["type"]
