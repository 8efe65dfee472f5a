"""The tap against a referee that decodes everything first and parses every event."""

from __future__ import annotations

import functools
import gzip
import json
import os
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import brotli
import pytest
import zstandard
from hypothesis import given, strategies as st

from ccproxy.ledger.tap import UsageTap
from ccproxy.translate.formats import Format
from ccproxy.translate.reading import Reading
from ccproxy.translate.stops import StopClass
from ccproxy.translate.usage import Tokens, read_usage
from tests.property.response_streams import JSON_STYLES, compact, streams

Json = dict[str, Any]
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


def is_output(fmt: Format, event: Any) -> bool:
    if fmt is C:
        deltas = [choice.get("delta", {}) for choice in event.get("choices", [])]
        return any(value for delta in deltas for name, value in delta.items() if name != "role")
    return str(event.get("type")).endswith("_delta" if fmt is A else ".delta") and event["type"] != "message_delta"


def shown(name: str | None) -> str | None:
    """A name as it may appear in a log."""
    return "".join(c if c.isprintable() else "?" for c in name) if name else None


def referee(fmt: Format, body: bytes) -> Reading:
    answer = Reading()
    merged: dict[str, Any] = {}
    calls = False
    for event in parsed_events(body):
        if event == "[DONE]":
            answer.ended = True
            continue
        kind = event.get("type")
        answer.saw_output = answer.saw_output or is_output(fmt, event)
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
            answer.model = answer.model or event.get("model")
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
                calls = calls or any(item["type"] in CLIENT_CALLS for item in response.get("output") or [])
                if kind == "response.completed" and calls:
                    answer.stop = StopClass.TOOL_USE
            elif kind == "error":
                answer.ended, answer.error_type = True, error_name(event.get("error") or {"code": event.get("code")})
            elif kind == "response.output_item.done":
                calls = calls or event["item"].get("type") in CLIENT_CALLS
            elif kind == "codex.rate_limits":
                answer.rate_limits = event
    if fmt is C and answer.stop_reason:
        answer.ended = True
    answer.model, answer.stop_reason = shown(answer.model), shown(answer.stop_reason)
    return answer


def watch(fmt: Format, chunks: list[bytes], content_type: str, encoding: str = "", **limits: int) -> Reading:
    tap = UsageTap(fmt, content_type, encoding, **limits)
    for chunk in chunks:
        tap.feed(chunk)
    return tap.finish()


# Streams


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
    assert tap.held < 200_000
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


def test_a_line_without_an_end_takes_no_memory() -> None:
    for start in (b"data: ", b": comment ", b"", b'data: {"type":"response.completed","a":"'):
        tap = UsageTap(R, "text/event-stream", max_event=1 << 20)
        tap.feed(b'data: {"type":"response.output_text.delta","delta":"a"}\n\n' + start)
        for _ in range(100):
            tap.feed(b"x" * 65536)
            assert tap.held <= 1 << 20
        tap.feed(b'\n\ndata: {"type":"response.completed","response":{"model":"m","usage":{"input_tokens":3}}}\n\n')
        assert tap.finish().usage is not None, "what follows is read again"


@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
def test_a_body_in_tiny_chunks_is_held_once(content_type: str) -> None:
    """A list of 300,000 chunks of one byte would take 20 MB."""
    tap = UsageTap(A, content_type)
    tracemalloc.start()
    for _ in range(300_000):
        tap.feed(b"x")
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 2 << 20


ODD: list[Any] = ["\ud800", "m" * 10**6, "a\nb\x1b[31m", 10**400, 1e308, True, [], {}, ["x"], {"a": 1}, None]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_odd_values_never_get_further(odd: Any) -> None:
    usage = {
        "input_tokens": odd,
        "output_tokens": odd,
        "service_tier": odd,
        "speed": odd,
        "iterations": odd,
        "server_tool_use": odd,
        "cost": odd,
    }
    usage |= {"prompt_tokens": odd, "completion_tokens": odd, "cache_creation": odd, "input_tokens_details": odd}
    bodies: dict[Format, list[Json]] = {
        A: [
            {"type": "message", "model": odd, "stop_reason": odd, "usage": usage},
            {"type": "error", "error": {"type": odd}},
        ],
        C: [
            {"model": odd, "choices": [{"finish_reason": odd}], "usage": usage, "service_tier": odd},
            {"error": {"code": odd}},
        ],
        R: [
            {"object": "response", "status": "completed", "model": odd, "output": [odd, {"type": odd}], "usage": usage},
            {"error": {"type": odd}},
        ],
    }
    for fmt, values in bodies.items():
        for value in values:
            reading = watch(fmt, [json.dumps(value).encode()], "application/json")
            assert reading.problem is None
            for name in (
                reading.model,
                reading.stop_reason,
                reading.error_type,
                reading.usage and reading.usage.service_tier,
            ):
                assert name is None or (len(name) <= 200 and name.isprintable() and name.encode())
            if reading.usage:
                assert all(
                    0 <= getattr(reading.usage.tokens, slot) < 1 << 55 for slot in reading.usage.tokens.__slots__
                )


@pytest.mark.parametrize("fmt", [A, C, R])
def test_deep_nesting(fmt: Format) -> None:
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        for depth in (900, 1100, 100_000):
            deep = opening * depth + (b"1" if opening != b"[" else b"") + closing * depth
            body = b'{"type":"message","object":"response","status":"completed","usage":' + deep + b"}"
            assert watch(fmt, [body], "application/json").usage is None
            assert watch(fmt, [b"data: " + body + b"\n\n"], "text/event-stream").usage is None


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
            answer = watch(fmt, [json.dumps(record["response"]).encode()], "application/json")
            assert (answer.usage is None) == (not record["response"].get("usage")), path.name
            counted += answer.usage is not None
    assert counted > 50
