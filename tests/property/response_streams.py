"""Streams of responses in each format, in every style of JSON and of server-sent events, with text that looks like the events that accounting reads."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from ccproxy.translate.formats import Format

A, C, R = Format

COUNTS = st.integers(0, 10**6)
LOOKALIKES = [
    '"usage":{"prompt_tokens":1}',
    '"usage":null',
    '"finish_reason":"stop"',
    "usage",
    "error",
    "[DONE]",
    "message_delta",
    '\n\nevent: message_delta\ndata: {"type":"message_delta","usage":{"output_tokens":9}}\n\n',
    '\r\n\r\ndata: {"type":"response.completed","response":{"usage":{"input_tokens":7}}}\r\n\r\n',
    '{"type":"error","error":{"type":"overloaded_error"}}',
    '\\"usage\\":{',
    "response.completed",
    "\u2028\u2029\x85\x00é😀",
]
TEXT = st.lists(st.sampled_from(LOOKALIKES) | st.text(max_size=20), max_size=3).map("".join)


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


JSON_STYLES = [
    compact,
    lambda value: json.dumps(value).encode(),
    lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"),
    lambda value: json.dumps(value, indent=1).encode(),  # several data lines
    lambda value: compact(dict(reversed(value.items()))),
]


@st.composite
def messages_events(draw: st.DrawFn) -> list[Any]:
    usage = draw(
        st.fixed_dictionaries(
            {"input_tokens": COUNTS, "output_tokens": COUNTS},
            optional={
                "cache_read_input_tokens": COUNTS,
                "cache_creation_input_tokens": COUNTS,
                "cache_creation": st.fixed_dictionaries(
                    {"ephemeral_5m_input_tokens": COUNTS, "ephemeral_1h_input_tokens": COUNTS}
                ),
                "service_tier": st.sampled_from(["standard", None]),
            },
        )
    )
    events = [{"type": "message_start", "message": {"model": draw(TEXT) or "claude", "usage": usage, "content": []}}]
    for _ in range(draw(st.integers(0, 6))):
        text = draw(TEXT)
        events.append(
            draw(
                st.sampled_from(
                    [
                        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
                        {"type": "content_block_start", "content_block": {"usage": {"output_tokens": 5}, "type": text}},
                        {"type": "ping"},
                        {"type": "future_event", "usage": {"output_tokens": 3}, "text": text, "error": None},
                    ]
                )
            )
        )
    final = draw(st.fixed_dictionaries({"output_tokens": COUNTS}, optional={"input_tokens": COUNTS | st.none()}))
    tail: list[Any] = [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": final}]
    tail.append({"type": "message_stop"})
    events += draw(st.sampled_from([tail, [{"type": "error", "error": {"type": "overloaded_error", "message": "x"}}]]))
    return events


@st.composite
def chat_events(draw: st.DrawFn) -> list[Any]:
    def chunk(delta: Any, finish: Any = None) -> dict[str, Any]:
        return {"model": "gpt", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": None}

    events: list[Any] = [chunk({"role": "assistant", "content": ""})]
    for _ in range(draw(st.integers(0, 6))):
        text = draw(TEXT)
        calls = [{"index": 0, "function": {"arguments": text}}]
        events.append(chunk(draw(st.sampled_from([{"content": text}, {"tool_calls": calls}, {"usage": 1}]))))
    if draw(st.booleans()):
        events.append({"error": {"message": draw(TEXT), "type": "server_error", "code": None}})
        return events
    events.append(chunk({}, draw(st.sampled_from(["stop", "length", "tool_calls"]))))
    if draw(st.booleans()):
        usage = {"prompt_tokens": draw(COUNTS), "completion_tokens": draw(COUNTS)}
        events.append({"model": "gpt", "choices": [], "usage": usage, "service_tier": "default"})
    return [*events, "[DONE]"]


@st.composite
def responses_events(draw: st.DrawFn) -> list[Any]:
    usage = {"input_tokens": draw(COUNTS), "output_tokens": draw(COUNTS)}
    response = {"object": "response", "model": "gpt", "error": None, "usage": None, "output": []}
    events: list[Any] = [{"type": "response.created", "response": response}]
    for _ in range(draw(st.integers(0, 6))):
        text = draw(TEXT)
        events.append(
            draw(
                st.sampled_from(
                    [
                        {"type": "response.output_text.delta", "delta": text},
                        {"type": "response.output_item.done", "item": {"type": text, "error": None, "usage": usage}},
                        {"type": "codex.rate_limits", "rate_limits": {"primary": {"used_percent": 12.5}}},
                        {"type": "response.new.thing", "blob": text * 40},
                    ]
                )
            )
        )
    output = [{"type": draw(st.sampled_from(["message", "function_call"])), "text": draw(TEXT)}]
    events.append(
        draw(
            st.sampled_from(
                [
                    {"type": "response.completed", "response": {**response, "usage": usage, "output": output}},
                    {
                        "type": "response.incomplete",
                        "response": {**response, "usage": usage, "incomplete_details": {"reason": "max_output_tokens"}},
                    },
                    {
                        "type": "response.failed",
                        "response": {**response, "error": {"code": "rate_limit_exceeded", "message": "m"}},
                    },
                    {"type": "error", "code": "server_error", "message": "m"},
                    {"type": "error", "error": {"type": "too_many", "code": None}},
                ]
            )
        )
    )
    return events


@st.composite
def streams(draw: st.DrawFn) -> tuple[Format, bytes]:
    fmt = draw(st.sampled_from([A, C, R]))
    events = draw({A: messages_events, C: chat_events, R: responses_events}[fmt]())
    end = draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    space = draw(st.sampled_from([b" ", b""]))
    style = draw(st.sampled_from(JSON_STYLES))
    named = draw(st.booleans())
    out = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    for event in events:
        lines = [b": comment"] if draw(st.integers(0, 5)) == 0 else []
        if event == "[DONE]":
            lines.append(b"data:" + space + b"[DONE]")
        else:
            if named and "type" in event:
                lines.append(b"event: " + event["type"].encode())
            lines += [b"data:" + space + line for line in style(event).split(b"\n")]
        out += end.join(lines) + end * draw(st.sampled_from([2, 2, 2, 3]))
    return fmt, out
