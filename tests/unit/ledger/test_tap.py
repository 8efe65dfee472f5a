"""The tap against a referee that decodes everything first and parses every event."""

from __future__ import annotations

import functools
import gzip
import json
import os
import zlib
from pathlib import Path
from typing import Any

import brotli
import pytest
import zstandard
from hypothesis import given, strategies as st

from ccproxy.ledger.records import StopClass, Tokens
from ccproxy.ledger.tap import Answer, UsageTap, read_answer
from ccproxy.ledger.usage import read_usage
from ccproxy.translate.formats import Format

A, C, R = Format.ANTHROPIC, Format.OPENAI_CHAT, Format.OPENAI_RESPONSES

CLIENT_CALLS = {
    "function_call",
    "custom_tool_call",
    "local_shell_call",
    "shell_call",
    "apply_patch_call",
    "computer_call",
}

ENCODERS = {
    "": lambda body: body,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": lambda body: brotli.compress(body, quality=5),
    "zstd": lambda body: zstandard.ZstdCompressor().compress(body),
    "gzip, br": lambda body: brotli.compress(gzip.compress(body)),
}


def raw_deflate(body: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(body) + compressor.flush()


# The referee: whole body, every event, one rule after the other.


def parsed_events(body: bytes) -> list[Any]:
    text = body.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    events: list[Any] = []
    for block in text.split(b"\n\n"):
        data = b"\n".join(line[5:].removeprefix(b" ") for line in block.split(b"\n") if line.startswith(b"data:"))
        if data == b"[DONE]":
            events.append("[DONE]")
            continue
        try:
            value = json.loads(data)
        except ValueError:
            continue
        if isinstance(value, dict):
            events.append(value)
    return events


def error_name(error: Any) -> str:
    error = error if isinstance(error, dict) else {}
    for name in ("code", "type"):
        if isinstance(error.get(name), str) and error[name]:
            return str(error[name])
    return "error"


def referee(fmt: Format, body: bytes) -> Answer:
    answer = Answer()
    merged: dict[str, Any] = {}
    for event in parsed_events(body):
        if event == "[DONE]":
            answer.ended = True
            continue
        kind = event.get("type")
        if fmt is A:
            if kind == "message_start":
                answer.model = event["message"].get("model")
                merged.update({k: v for k, v in event["message"].get("usage", {}).items() if v is not None})
            elif kind == "message_delta":
                answer.stop_reason = event["delta"].get("stop_reason") or answer.stop_reason
                merged.update({k: v for k, v in event.get("usage", {}).items() if v is not None})
                answer.final = bool(merged)
            elif kind == "message_stop":
                answer.ended = True
            elif kind == "error":
                answer.ended, answer.error_type = True, error_name(event.get("error"))
            answer.usage = read_usage(A, merged) if merged else None
        elif fmt is C:
            if event.get("error"):
                answer.ended, answer.error_type = True, error_name(event["error"])
            answer.model = event.get("model") or answer.model
            if event.get("usage"):
                answer.usage, answer.final = read_usage(C, event["usage"], event), True
            for choice in event.get("choices", []):
                answer.stop_reason = answer.stop_reason or choice.get("finish_reason")
        else:
            response = event.get("response", {})
            if kind == "response.created":
                answer.model = response.get("model")
            elif kind in {"response.completed", "response.incomplete", "response.failed"}:
                answer.model = response.get("model") or answer.model
                answer.usage = read_usage(R, response.get("usage"), response) or answer.usage
                answer.final = answer.usage is not None
                answer.ended = True
                answer.stop_reason = str(kind).removeprefix("response.")
                if kind == "response.incomplete":
                    answer.stop_reason = response["incomplete_details"]["reason"]
                if kind == "response.failed":
                    answer.error_type = error_name(response.get("error"))
                if kind == "response.completed" and any(i["type"] in CLIENT_CALLS for i in response["output"]):
                    answer.stop = StopClass.TOOL_USE
            elif kind == "error":
                answer.ended, answer.error_type = True, error_name(event.get("error") or {"code": event.get("code")})
            elif kind == "codex.rate_limits":
                answer.rate_limits = event
    if fmt is C and answer.stop_reason:
        answer.ended = True
    return answer


def watch(fmt: Format, chunks: list[bytes], content_type: str, encoding: str = "", **limits: int) -> Answer:
    tap = UsageTap(fmt, content_type, encoding, **limits)
    for chunk in chunks:
        tap.feed(chunk)
    return tap.finish()


# Streams

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


def sliced(draw: st.DrawFn, data: bytes) -> list[bytes]:
    cuts = sorted(draw(st.sets(st.integers(0, len(data)), max_size=20)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@given(st.data())
def test_any_stream_in_any_slices_is_read_as_by_a_full_parser(data: st.DataObject) -> None:
    fmt, body = data.draw(streams())
    body = body[: data.draw(st.just(len(body)) | st.integers(0, len(body)), label="cut")]
    chunks = sliced(data.draw, body)
    content_type = data.draw(st.sampled_from(["text/event-stream; charset=utf-8", ""]))
    assert watch(fmt, chunks, content_type) == referee(fmt, body)


@given(st.data(), st.sampled_from(sorted(ENCODERS)))
def test_a_compressed_stream_is_read_the_same(data: st.DataObject, encoding: str) -> None:
    fmt, body = data.draw(streams())
    assert watch(fmt, sliced(data.draw, ENCODERS[encoding](body)), "text/event-stream", encoding) == referee(fmt, body)


@given(st.data())
def test_large_events_are_read_or_skipped_right(data: st.DataObject) -> None:
    """Events that outgrow the small buffer, in slices: those that matter are kept, the others are not."""
    big = "x" * data.draw(st.integers(3000, 30000))
    usage = {"input_tokens": 3, "output_tokens": 4}
    events = [
        {"type": "response.created", "response": {"model": "gpt"}},
        {"type": "response.output_text.delta", "delta": "a"},
        {"type": "response.image_generation_call.partial_image", "partial_image_b64": big},
        {"type": "response.output_item.done", "item": {"text": big}},
        {"type": "response.completed", "response": {"model": "gpt", "usage": usage, "output": [{"type": big}]}},
    ]
    named = data.draw(st.booleans())
    body = b"".join(
        (b"event: %b\n" % e["type"].encode() if named else b"") + b"data: " + compact(e) + b"\n\n" for e in events
    )
    answer = watch(R, sliced(data.draw, body), "text/event-stream", max_event=100_000)
    assert answer == referee(R, body)
    assert answer.usage is not None
    assert answer.problem is None


def test_events_of_several_lines_with_any_line_end_byte_by_byte() -> None:
    event = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}}
    lines = [b"event: message_delta", *(b"data: " + line for line in json.dumps(event, indent=1).encode().split(b"\n"))]
    for end in (b"\n", b"\r\n", b"\r"):
        body = end.join([*lines, b"", b""])
        assert watch(A, [bytes([byte]) for byte in body], "text/event-stream").usage == read_usage(A, event["usage"])


def test_a_large_event_whose_type_comes_last_is_kept() -> None:
    event = {"response": {"usage": {"input_tokens": 1, "output_tokens": 2}, "output": ["x" * 9000]}}
    body = b'data: {"type":"response.output_text.delta"}\n\ndata: ' + compact({**event, "type": "response.completed"})
    chunks = [body[at : at + 1000] for at in range(0, len(body), 1000)]
    assert watch(R, [*chunks, b"\n\n"], "text/event-stream").usage is not None


def test_a_null_beside_a_count_does_not_hide_it() -> None:
    first = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
    null = {"choices": [{"delta": {"usage": None}, "finish_reason": None}, {"finish_reason": "stop"}]}
    for style in JSON_STYLES[:2]:
        body = first + b"data: " + style({**null, "usage": {"prompt_tokens": 1, "completion_tokens": 2}}) + b"\n\n"
        answer = watch(C, [first, body], "text/event-stream")
        assert answer.usage is not None
        assert answer.stop_reason == "stop"


def test_the_parts_of_a_skipped_event_are_not_kept() -> None:
    tap = UsageTap(R, "text/event-stream")
    tap.feed(b'data: {"type":"response.output_text.delta","delta":"a"}\n\n')
    tap.feed(b'data: {"type":"response.image_generation_call.partial_image","b64":"')
    for _ in range(100):
        tap.feed(b"x" * 65536)
    assert sum(map(len, tap._kept)) + len(tap._tail) < 200_000
    tap.feed(b'"}\n')
    tap.feed(b'\ndata: {"type":"response.completed","response":{"usage":{"input_tokens":1,"output_tokens":2}}}\n\n')
    answer = tap.finish()
    assert answer.usage is not None
    assert answer.usage.tokens == Tokens(input=1, output=2)


def test_an_event_beyond_the_limit_is_given_up_and_the_stream_goes_on() -> None:
    tap = UsageTap(C, "text/event-stream", max_event=10_000)
    tap.feed(b'data: {"choices":[{"delta":{"content":"')
    for _ in range(10):
        tap.feed(b"x" * 5000)
    tap.feed(b'"}}]}\n\ndata: {"model":"m","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6}}\n\n')
    answer = tap.finish()
    assert answer.usage is not None
    assert answer.usage.tokens == Tokens(input=5, output=6)
    assert answer.problem == "event of more than 10000 bytes"


def test_first_output_is_the_first_event_with_something_from_the_model() -> None:
    for fmt, before, output in (
        (A, b'data: {"type":"message_start","message":{}}\n\n', b'data: {"type":"content_block_delta"}\n\n'),
        (
            C,
            b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n',
            b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n',
        ),
        (R, b'data: {"type":"response.created"}\n\n', b'data: {"type":"response.output_text.delta"}\n\n'),
    ):
        tap = UsageTap(fmt, "text/event-stream")
        tap.feed(before)
        assert not tap.saw_output
        tap.feed(output[:-3])
        assert not tap.saw_output
        tap.feed(output[-3:])
        assert tap.saw_output


# Whole answers

WHOLE = [
    (
        A,
        {
            "type": "message",
            "model": "claude",
            "stop_reason": "tool_use",
            "usage": {"input_tokens": 3, "output_tokens": 4},
        },
        Tokens(input=3, output=4),
        "tool_use",
        None,
    ),
    (A, {"type": "error", "error": {"type": "overloaded_error", "message": "m"}}, None, None, "overloaded_error"),
    (
        C,
        {
            "object": "chat.completion",
            "model": "gpt",
            "choices": [{"finish_reason": "length"}],
            "usage": {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens": 2},
        },
        Tokens(input=6, cache_read=4, output=2),
        "length",
        None,
    ),
    (C, {"error": {"type": "invalid_request_error", "code": "invalid_api_key"}}, None, None, "invalid_api_key"),
    (
        R,
        {
            "object": "response",
            "status": "completed",
            "model": "gpt",
            "error": None,
            "output": [
                {"type": "web_search_call", "action": {"type": "search"}},
                {"type": "web_search_call", "action": {"type": "open_page"}},
                {"type": "message"},
            ],
            "usage": {
                "input_tokens": 9,
                "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 3},
                "output_tokens": 1,
            },
        },
        Tokens(input=4, cache_read=2, cache_write_5m=3, output=1, web_searches=1, server_tool_uses=2),
        "completed",
        None,
    ),
    (R, {"error": {"message": "m", "type": "rate_limit", "code": None}}, None, None, "rate_limit"),
    (R, {"detail": "Unsupported parameter: temperature"}, None, None, None),
]  # fmt: skip


@pytest.mark.parametrize(("fmt", "body", "tokens", "stop_reason", "error_type"), WHOLE)
@pytest.mark.parametrize("encoding", sorted(ENCODERS))
@pytest.mark.parametrize("content_type", ["application/json", "application/problem+json; charset=utf-8", ""])
def test_whole_answers(
    fmt: Format, body: Any, tokens: Any, stop_reason: Any, error_type: Any, encoding: str, content_type: str
) -> None:
    wire = ENCODERS[encoding](b" \n" + json.dumps(body).encode())
    for size in (1, 7, len(wire)):
        answer = watch(fmt, [wire[at : at + size] for at in range(0, len(wire), size)], content_type, encoding)
        assert (answer.usage.tokens if answer.usage else None) == tokens
        assert (answer.stop_reason, answer.error_type, answer.problem) == (stop_reason, error_type, None)
    assert read_answer(fmt, json.dumps(body).encode()) == answer


def test_deflate_without_its_header() -> None:
    body = raw_deflate(json.dumps(WHOLE[0][1]).encode())
    assert watch(A, [body[:1], body[1:]], "application/json", "deflate").usage is not None


def test_gzip_members_one_after_the_other() -> None:
    body = json.dumps(WHOLE[0][1]).encode()
    wire = gzip.compress(body[:20]) + gzip.compress(body[20:]) + b"\0\0"
    assert watch(A, [wire], "application/json", "gzip").usage is not None


# Nothing raises


@given(
    st.sampled_from([A, C, R]), st.binary(max_size=300), st.sampled_from(["text/event-stream", "application/json", ""])
)
def test_garbage_harms_nobody(fmt: Format, body: bytes, content_type: str) -> None:
    for encoding in ENCODERS:
        watch(fmt, [body[:9], body[9:]], content_type, encoding)


def test_what_cannot_be_read_is_named() -> None:
    assert watch(A, [b"x"], "text/event-stream", "compress").problem == "unknown content-encoding compress"
    assert "Error" in str(watch(A, [b"no gzip at all"], "text/event-stream", "gzip").problem)
    assert watch(A, [b"{}" * 10], "application/json", max_body=8).problem == "body of more than 8 bytes"
    deep = b'{"type":"message","usage":' + b"[" * 100_000
    assert watch(A, [deep], "application/json").usage is None
    assert watch(A, [b"<html>"], "text/html").problem is None


@functools.cache
def bomb(encoding: str) -> bytes:
    return ENCODERS[encoding](b"data: " + b"a" * (12 << 20))


@pytest.mark.parametrize("content_type", ["text/event-stream", "application/json", ""])
@pytest.mark.parametrize("encoding", sorted(set(ENCODERS) - {""}))
def test_a_decompression_bomb_blinds_the_tap(content_type: str, encoding: str) -> None:
    for fmt in (A, C, R):
        answer = watch(fmt, [bomb(encoding), b"more"], content_type, encoding)
        assert answer.problem is not None
        assert answer.problem.startswith("TooLarge: ")
        assert answer.usage is None
        assert not answer.ended


@pytest.mark.skipif("CCPROXY_CORPUS" not in os.environ, reason="CCPROXY_CORPUS names no folder of recorded exchanges")
def test_recorded_answers_are_read_as_by_a_full_parser() -> None:
    formats = {"messages": A, "chat": C, "responses": R}
    counted = 0
    for path in sorted(Path(os.environ["CCPROXY_CORPUS"]).glob("*.json")):
        record = json.loads(path.read_text("utf-8"))
        if path.name == "index.json" or record["endpoint"] not in formats:
            continue
        fmt = formats[record["endpoint"]]
        if record.get("sse_text"):
            body = record["sse_text"].encode()
            for size in (1, 100, 5000, len(body)):
                chunks = [body[at : at + size] for at in range(0, len(body), size)]
                assert watch(fmt, chunks, "text/event-stream") == referee(fmt, body), path.name
            counted += referee(fmt, body).usage is not None
        elif isinstance(record.get("response"), dict):
            answer = read_answer(fmt, json.dumps(record["response"]).encode())
            assert (answer.usage is None) == (not record["response"].get("usage")), path.name
            counted += answer.usage is not None
    assert counted > 50
