"""Streamed answers that say much, in each format, as lists of events."""

from __future__ import annotations

import json
from typing import Any

from ccproxy.translate.formats import Format

Json = dict[str, Any]


def sse(fmt: Format, events: list[Json], *, end: str = "\n", done: bool = True) -> bytes:
    """The events as a server sends them. Chat has no event names, and says `[DONE]`."""
    lines: list[str] = []
    for event in events:
        if fmt is not Format.OPENAI_CHAT:
            lines.append(f"event: {event['type']}")
        lines += [f"data: {json.dumps(event, ensure_ascii=False)}", ""]
    if fmt is Format.OPENAI_CHAT and done:
        lines += ["data: [DONE]", ""]
    return (end.join(lines) + end).encode("utf-8", "surrogatepass")


def text_deltas(text: str, step: int = 3) -> list[str]:
    """A text in small pieces."""
    return [text[i : i + step] for i in range(0, len(text), step)]


# --- Anthropic -------------------------------------------------------------------------------------------------------


def anthropic_block(index: int, start: Json, deltas: list[Json]) -> list[Json]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def anthropic_answer(blocks: list[list[Json]], stop: Json, usage: Json) -> list[Json]:
    start = {"input_tokens": 11, "cache_creation_input_tokens": 5, "cache_read_input_tokens": 7, "output_tokens": 1}
    message = {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5",
        "content": [],
        "stop_reason": None,
        "usage": start,
    }
    return [
        {"type": "message_start", "message": message},
        {"type": "ping"},
        *(event for block in blocks for event in block),
        {"type": "message_delta", "delta": {"stop_sequence": None, **stop}, "usage": usage},
        {"type": "message_stop"},
    ]


CITATION = {
    "type": "web_search_result_location",
    "url": "https://example.com/a",
    "title": "A page",
    "cited_text": "found words",
    "encrypted_index": "aW5kZXg=",
}

ANTHROPIC = anthropic_answer(
    [
        anthropic_block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            [{"type": "thinking_delta", "thinking": piece} for piece in text_deltas("Let me think. 🤔")]
            + [{"type": "signature_delta", "signature": "c2lnbmF0dXJl"}],
        ),
        anthropic_block(1, {"type": "redacted_thinking", "data": "cmVkYWN0ZWQ="}, []),
        anthropic_block(
            2,
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
            [{"type": "input_json_delta", "partial_json": '{"query": "weather"}'}],
        ),
        anthropic_block(
            3,
            {
                "type": "web_search_tool_result",
                "tool_use_id": "srvtoolu_1",
                "content": [
                    {
                        "type": "web_search_result",
                        "url": "https://example.com/a",
                        "title": "A page",
                        "encrypted_content": "ZW5j",
                        "page_age": None,
                    }
                ],
            },
            [],
        ),
        anthropic_block(
            4,
            {"type": "text", "text": ""},
            [{"type": "text_delta", "text": piece} for piece in text_deltas("Zürich is warm. ")],
        ),
        anthropic_block(
            5,
            {"type": "text", "text": "", "citations": []},
            [{"type": "text_delta", "text": "As found."}, {"type": "citations_delta", "citation": CITATION}],
        ),
        anthropic_block(
            6,
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
            [{"type": "input_json_delta", "partial_json": piece} for piece in ("", '{"city"', ': "Zür', 'ich"}')],
        ),
        anthropic_block(7, {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}}, []),
    ],
    {"stop_reason": "tool_use"},
    {
        "input_tokens": 11,
        "cache_creation_input_tokens": 5,
        "cache_read_input_tokens": 7,
        "output_tokens": 42,
        "output_tokens_details": {"thinking_tokens": 9},
        "server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 0},
    },
)

# --- Chat ------------------------------------------------------------------------------------------------------------


def chat_chunk(delta: Json, finish: str | None = None, **more: Any) -> Json:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {
        "id": "chatcmpl-01",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "gpt-5.5",
        "choices": [choice],
        **more,
    }


CHAT_USAGE = {
    "prompt_tokens": 23,
    "completion_tokens": 42,
    "total_tokens": 65,
    "prompt_tokens_details": {"cached_tokens": 7, "cache_write_tokens": 5},
    "completion_tokens_details": {"reasoning_tokens": 9},
}

CHAT = [
    chat_chunk({"role": "assistant", "content": ""}, obfuscation="x"),
    *(chat_chunk({"reasoning_content": piece}) for piece in text_deltas("Let me think. 🤔")),
    *(chat_chunk({"content": piece}) for piece in text_deltas("Zürich is warm. As found.")),
    chat_chunk(
        {
            "annotations": [
                {
                    "type": "url_citation",
                    "url_citation": {
                        "url": "https://example.com/a",
                        "title": "A page",
                        "start_index": 16,
                        "end_index": 25,
                    },
                }
            ]
        }
    ),
    chat_chunk(
        {
            "tool_calls": [
                {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
            ]
        }
    ),
    chat_chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"city": '}}]}),
    chat_chunk(
        {
            "tool_calls": [
                {"index": 1, "id": "call_2", "type": "function", "function": {"name": "now", "arguments": "{}"}}
            ]
        }
    ),
    chat_chunk({"tool_calls": [{"index": 0, "function": {"arguments": '"Zürich"}'}}]}),
    chat_chunk({}, "tool_calls"),
    {**chat_chunk({}), "choices": [], "usage": CHAT_USAGE},
]

# --- Responses -------------------------------------------------------------------------------------------------------

RESPONSES_USAGE = {
    "input_tokens": 23,
    "input_tokens_details": {"cached_tokens": 7, "cache_write_tokens": 5},
    "output_tokens": 42,
    "output_tokens_details": {"reasoning_tokens": 9},
    "total_tokens": 65,
}


def response(status: str, output: list[Json], **more: Any) -> Json:
    return {
        "id": "resp_01",
        "object": "response",
        "created_at": 1700000000,
        "model": "gpt-5.5",
        "status": status,
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": None,
        **more,
    }


_REASONING = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "Let me think."}, {"type": "summary_text", "text": "🤔"}],
    "encrypted_content": "gAAAAA-sealed",
}
_HIDDEN = {"id": "rs_2", "type": "reasoning", "summary": [], "encrypted_content": "gAAAAA-hidden"}
_SEARCH = {
    "id": "ws_1",
    "type": "web_search_call",
    "status": "completed",
    "action": {"type": "search", "query": "weather", "sources": [{"type": "url", "url": "https://example.com/a"}]},
}
_ANNOTATION = {
    "type": "url_citation",
    "url": "https://example.com/a",
    "title": "A page",
    "start_index": 16,
    "end_index": 25,
}
_TEXT = "Zürich is warm. As found."
_MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": _TEXT, "annotations": [_ANNOTATION], "logprobs": []}],
}
_CALL = {
    "id": "fc_1",
    "type": "function_call",
    "status": "completed",
    "call_id": "call_1",
    "name": "weather",
    "arguments": '{"city": "Zürich"}',
}
_OTHER = {
    "id": "fc_2",
    "type": "function_call",
    "status": "completed",
    "call_id": "call_2",
    "name": "now",
    "arguments": "{}",
}
_OUTPUT = [_REASONING, _HIDDEN, _SEARCH, _MESSAGE, _CALL, _OTHER]


def _numbered(events: list[Json]) -> list[Json]:
    return [{**event, "sequence_number": i} for i, event in enumerate(events)]


def _item(place: int, item: Json, between: list[Json]) -> list[Json]:
    begun = {**item, "status": "in_progress"} if "status" in item else {**item, "summary": [], "encrypted_content": ""}
    if item["type"] == "message":
        begun["content"] = []
    if "arguments" in item:
        begun["arguments"] = ""
    return [
        {"type": "response.output_item.added", "output_index": place, "item": begun},
        *({"output_index": place, "item_id": item["id"], **event} for event in between),
        {"type": "response.output_item.done", "output_index": place, "item": item},
    ]


def _summary(place: int, text: str) -> list[Json]:
    return [
        {
            "type": "response.reasoning_summary_part.added",
            "summary_index": place,
            "part": {"type": "summary_text", "text": ""},
        },
        *(
            {"type": "response.reasoning_summary_text.delta", "summary_index": place, "delta": piece}
            for piece in text_deltas(text)
        ),
        {"type": "response.reasoning_summary_text.done", "summary_index": place, "text": text},
        {
            "type": "response.reasoning_summary_part.done",
            "summary_index": place,
            "part": {"type": "summary_text", "text": text},
        },
    ]


_CONTENT = [
    {
        "type": "response.content_part.added",
        "content_index": 0,
        "part": {"type": "output_text", "text": "", "annotations": []},
    },
    *(
        {"type": "response.output_text.delta", "content_index": 0, "delta": piece, "logprobs": [], "obfuscation": "xy"}
        for piece in text_deltas(_TEXT)
    ),
    {
        "type": "response.output_text.annotation.added",
        "content_index": 0,
        "annotation_index": 0,
        "annotation": _ANNOTATION,
    },
    {"type": "response.output_text.done", "content_index": 0, "text": _TEXT, "logprobs": []},
    {"type": "response.content_part.done", "content_index": 0, "part": _MESSAGE["content"][0]},  # type: ignore[index]
]
_CALL_EVENTS = _item(
    4,
    _CALL,
    [
        {"type": "response.function_call_arguments.delta", "delta": piece}
        for piece in text_deltas(_CALL["arguments"], 5)
    ],
)
_OTHER_EVENTS = _item(5, _OTHER, [{"type": "response.function_call_arguments.done", "arguments": "{}"}])


def _interleaved(a: list[Json], b: list[Json]) -> list[Json]:
    found = []
    for i in range(max(len(a), len(b))):
        found += a[i : i + 1] + b[i : i + 1]
    return found


RESPONSES = _numbered(
    [
        {"type": "response.created", "response": response("in_progress", [])},
        {"type": "response.in_progress", "response": response("in_progress", [])},
        {"type": "codex.rate_limits", "plan_type": "pro"},
        *_item(0, _REASONING, _summary(0, "Let me think.") + _summary(1, "🤔")),
        *_item(1, _HIDDEN, []),
        *_item(
            2,
            _SEARCH,
            [{"type": "response.web_search_call.in_progress"}, {"type": "response.web_search_call.completed"}],
        ),
        *_item(3, _MESSAGE, _CONTENT),
        *_interleaved(_CALL_EVENTS, _OTHER_EVENTS),
        {"type": "response.completed", "response": response("completed", _OUTPUT, usage=RESPONSES_USAGE)},
    ]
)

EVENTS: dict[Format, list[Json]] = {
    Format.ANTHROPIC: ANTHROPIC,
    Format.OPENAI_CHAT: CHAT,
    Format.OPENAI_RESPONSES: RESPONSES,
}

ASKING: dict[Format, Json] = {
    Format.ANTHROPIC: {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]},
    Format.OPENAI_CHAT: {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "stream_options": {"include_usage": True},
    },
    Format.OPENAI_RESPONSES: {"model": "m", "input": "hi", "include": ["web_search_call.action.sources"]},
}
"""A short question in each format."""
