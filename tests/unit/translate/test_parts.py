"""The small parts of the translator, each by its own door."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ccproxy.translate import attachments, jsontext, schema
from ccproxy.translate.exchange import translate_request
from ccproxy.translate.formats import Format
from ccproxy.translate.freeform import Unwrapper, unwrap_object, unwrap_text, wrap_end, wrap_start, wrap_text
from ccproxy.translate.losses import Losses, child
from ccproxy.translate.names import ClientTool, Names, fit
from ccproxy.translate.neutral import Tool
from ccproxy.translate.sse import SseParser, frame
from tests.examples.answers import ASKING, EVENTS, chat_chunk, sse

Json = dict[str, Any]
A, C, R = Format

# --- server-sent events ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"data: a\n\n", [("", "a")]),
        (b"event: x\ndata: a\n\n", [("x", "a")]),
        (b"data:a\ndata: b\ndata\ndata:  c\n\n", [("", "a\nb\n\n c")]),
        (b"event:x\n\ndata: a\n\n", [("", "a")]),
        (b": comment\n\nid: 3\nretry: 5\nfoo\ndata: a\n\n", [("", "a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("", "a")]),
        (b"data: a\r\rdata: b\r\n\r\n", [("", "a"), ("", "b")]),
        ("data: ü\u2028\x85\n\n".encode(), [("", "ü\u2028\x85")]),
        (b"data: \xff\n\n", [("", "\ufffd")]),
        (b"data: a\n", []),
        (b"\n\n\n", []),
        (b"", []),
    ],
    ids=range(12),
)
def test_event_streams(data: bytes, events: list[tuple[str, str]]) -> None:
    assert SseParser().feed(data) == events
    parser = SseParser()
    assert [event for byte in data for event in parser.feed(bytes([byte]))] == events


def test_a_stream_may_end_without_its_last_blank_line() -> None:
    parser = SseParser()
    assert parser.feed(b"event: x\ndata: a") == []
    assert parser.close() == [("x", "a")]
    assert parser.close() == []


def test_a_long_line_in_many_pieces_takes_no_quadratic_time() -> None:
    parser = SseParser()
    parser.feed(b"data: ")
    for _ in range(50_000):
        parser.feed(b"x" * 100)
    ((_, data),) = parser.feed(b"\n\n")
    assert len(data) == 5_000_000


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "ping", "message"]), st.text().filter(lambda t: "\n" not in t and "\r" not in t)
        ),
        max_size=5,
    )
)
def test_what_is_framed_is_read(events: list[tuple[str, str]]) -> None:
    data = b"".join(frame(name, text.encode("utf-8", "replace")) for name, text in events)
    assert SseParser().feed(data) == [(name, text.encode("utf-8", "replace").decode()) for name, text in events]


# --- free text in JSON -----------------------------------------------------------------------------------------------


@given(
    text=st.text(),
    steps=st.lists(st.integers(1, 9), min_size=1, max_size=30),
    ascii_only=st.booleans(),
    spaces=st.sampled_from(["", " ", "\n  "]),
)
def test_free_text_is_unwrapped_while_it_streams(text: str, steps: list[int], ascii_only: bool, spaces: str) -> None:
    written = f'{{{spaces}"input"{spaces}:{spaces}{json.dumps(text, ensure_ascii=ascii_only)}{spaces}}}'
    unwrapper, out, at = Unwrapper(), "", 0
    for step in steps:
        out += unwrapper.feed(written[at : at + step])
        assert text.startswith(out)
        at += step
    out += unwrapper.feed(written[at:])
    out += unwrapper.close(written)
    assert out == text == unwrapper.text == unwrap_text(written)


@given(st.text(), st.lists(st.integers(0, 20), max_size=4))
def test_free_text_is_wrapped_while_it_streams(text: str, cuts: list[int]) -> None:
    places = sorted(min(cut, len(text)) for cut in cuts)
    pieces = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    assert json.loads(wrap_start() + "".join(wrap_text(piece) for piece in pieces) + wrap_end()) == {"input": text}


@pytest.mark.parametrize("written", ['{"other": "x"}', '{"input": 3}', "plain", '{"input": "x', '["input"]', ""])
def test_what_does_not_keep_to_the_schema_is_passed_on_whole(written: str) -> None:
    unwrapper = Unwrapper()
    out = unwrapper.feed(written)
    out += unwrapper.close(written)
    assert out in (written, "x"), "what was given cannot be taken back"


def test_objects_of_arguments() -> None:
    assert unwrap_object("") == {}
    assert unwrap_object('{"a": 1}') == {"a": 1}
    assert unwrap_object("[1]") == {"_raw_arguments": "[1]"}
    assert unwrap_object("{") == {"_raw_arguments": "{"}


def test_a_broken_escape_gives_what_can_be_given() -> None:
    unwrapper = Unwrapper()
    assert unwrapper.feed('{"input": "a\\x') == ""
    assert unwrapper.close('{"input": "a\\xb"}') == '{"input": "a\\xb"}'


# --- names, losses, JSON ---------------------------------------------------------------------------------------------


def test_names_there_and_back() -> None:
    names = Names(20)
    tool = Tool("function", "find", "tools[0]", namespace="crm")
    assert names.declare(tool) == names.declare(tool) == names.upstream("find", "crm") == "crm__find"
    assert names.client("crm__find") == ClientTool("find", "crm")
    clash = names.declare(Tool("function", "crm__find", "tools[1]"))
    assert clash != "crm__find"
    assert names.client(clash) == ClientTool("crm__find")
    assert names.client("stranger", "ns") == ClientTool("stranger", "ns")
    long = names.upstream("é" * 50)
    assert len(long) <= 20
    assert names.client(long).name == "é" * 50


@given(st.text(max_size=200), st.integers(16, 128))
def test_every_name_fits(name: str, limit: int) -> None:
    fitted = fit(name, limit)
    assert 0 < len(fitted) <= limit
    assert all(char.isascii() and (char.isalnum() or char in "_-") for char in fitted)
    assert fit(fitted, limit) == fitted == fit(name, limit)


def test_paths() -> None:
    assert child("", "model") == "model"
    assert child("a[0]", "b") == "a[0].b"
    assert child("a", "b c") == 'a["b c"]'
    losses = Losses()
    losses.add("a", "one")
    losses.add("a", "two")
    assert [tuple(loss) for loss in losses] == [("a", "one")]
    assert len(losses) == 1


def test_json_with_lone_surrogates_goes_out_as_it_came() -> None:
    for text in ('{"a":"\\ud83d"}', '{"a":"\\ude00x"}'):
        assert json.loads(jsontext.dump_bytes(json.loads(text))) == json.loads(text)
    first = b'data: {"choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}\n\n'
    second = b'data: {"choices":[{"index":0,"delta":{"content":"\\ude00"},"finish_reason":"stop"}]}\n\n'
    stream = translate_request(A, C, ASKING[A]).stream_translator()
    out = stream.feed(first + second) + stream.close()
    assert b'"text":"\\ud83d"' in out
    assert b'"text":"\\ude00"' in out


def test_white_space_around_json_is_none_of_our_business() -> None:
    assert jsontext.parse(' {"a": 1} ') == {"a": 1}
    for text in ("", "{} {}", "nul"):
        with pytest.raises(jsontext.Garbled):
            jsontext.parse(text)


# --- schemas, attachments -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "strict"),
    [
        ({"type": "object", "properties": {}, "additionalProperties": False}, True),
        ({"type": "object", "properties": {}}, False),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": False}, False),
        (
            {"type": "object", "properties": {"a": {"default": 1}}, "required": ["a"], "additionalProperties": False},
            False,
        ),
        (
            {
                "type": "object",
                "properties": {"a": {"$ref": "#/$defs/A"}},
                "required": ["a"],
                "additionalProperties": False,
                "$defs": {"A": {"type": "object"}},
            },
            False,
        ),
        ({"anyOf": [], "type": "object"}, False),
        ({"type": "string"}, False),
        ("x", False),
    ],
    ids=range(8),
)
def test_what_openai_takes_as_strict(found: Any, strict: bool) -> None:
    assert schema.is_openai_strict(found) is strict


def test_schemas_of_any_shape_are_survived() -> None:
    assert schema.for_anthropic(3) == {}
    assert schema.tool_input(
        {"allOf": [{"properties": {"a": {}}, "required": ["a"]}, {"properties": {"b": {}}, "required": ["b"]}, 3]}
    )["required"] == ["a", "b"]


def test_data_uris() -> None:
    assert attachments.data_uri("https://example.com") is None
    assert attachments.data_uri("data:nothing") is None
    assert attachments.data_uri("data:,hi") == ("text/plain", "aGk=")


# --- decoders on odd servers -----------------------------------------------------------------------------------------


def whole(client: Format, upstream: Format, events: list[Json], *, done: bool = True) -> Json:
    folder = translate_request(client, upstream, ASKING[client]).folder()
    folder.feed(sse(upstream, events, done=done))
    status, _, body = folder.result()
    assert status == 200, body
    found: Json = json.loads(body)
    return found


def test_a_chat_server_that_forgets_to_say_that_it_is_done() -> None:
    events = [chat_chunk({"content": "Hi"}), chat_chunk({}, "stop")]
    assert whole(A, C, events, done=False)["stop_reason"] == "end_turn"


def test_chat_servers_with_habits_of_their_own() -> None:
    parts = [{"type": "text", "text": "He"}, {"type": "text", "text": "llo"}]
    call = {"function": {"name": "now", "arguments": {"a": 1}}}
    message = whole(A, C, [chat_chunk({"content": parts}), chat_chunk({"tool_calls": [call]}), chat_chunk({}, "stop")])
    assert message["content"] == [
        {"type": "text", "text": "Hello"},
        {"type": "tool_use", "id": "call_0", "name": "now", "input": {"a": 1}},
    ]
    legacy = whole(
        A, C, [chat_chunk({"function_call": {"name": "now", "arguments": "{}"}}), chat_chunk({}, "function_call")]
    )
    assert legacy["content"] == [{"type": "tool_use", "id": "call_now", "name": "now", "input": {}}]
    custom = {"index": 0, "id": "c", "type": "custom", "custom": {"name": "patch", "input": "x"}}
    assert whole(A, C, [chat_chunk({"tool_calls": [custom]}), chat_chunk({}, "tool_calls")])["content"][0]["input"] == {
        "input": "x"
    }
    refusal = whole(A, C, [chat_chunk({"refusal": "No."}), chat_chunk({}, "stop")])
    assert refusal["stop_reason"] == "refusal"
    second = {**chat_chunk({"content": "b"}), "choices": [{"index": 1, "delta": {"content": "b"}}]}
    assert whole(A, C, [chat_chunk({"content": "a"}), second, chat_chunk({}, "stop")])["content"][0]["text"] == "a"
    odd = whole(R, C, [chat_chunk({"content": "a"}), chat_chunk({}, "eos")])
    assert odd["status"] == "completed"


def test_a_routers_reasoning_details_survive() -> None:
    details = [
        {"type": "reasoning.text", "text": "", "signature": "", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.text", "text": "Hm", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.text", "text": "m.", "index": 0},
        {"type": "reasoning.text", "signature": "c2ln", "format": None, "index": 0},
        {"type": "reasoning.encrypted", "data": "x", "index": 1},
    ]
    events = [
        chat_chunk({"content": "", "reasoning": entry.get("text") or None, "reasoning_details": [entry]})
        for entry in details
    ]
    message = whole(A, C, [*events, chat_chunk({"content": "Hi", "reasoning_details": []}), chat_chunk({}, "stop")])
    thinking = message["content"][0]
    assert thinking["thinking"] == "Hmm."
    answer = {"role": "assistant", "content": message["content"]}
    back = translate_request(
        A,
        C,
        {
            "model": "m",
            "max_tokens": 1,
            "messages": [{"role": "user", "content": "hi"}, answer, {"role": "user", "content": "ok"}],
        },
    )
    assert back.body["messages"][1]["reasoning_details"] == [
        {"type": "reasoning.text", "text": "Hmm.", "signature": "c2ln", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": "x", "index": 1},
    ]
    only = [
        chat_chunk({"reasoning_details": [{"type": "reasoning.summary", "summary": "S", "index": 0}]}),
        chat_chunk({"content": "Hi"}),
        chat_chunk({}, "stop"),
    ]
    assert whole(R, C, only)["output"][0]["summary"] == [{"type": "summary_text", "text": "S"}]


def test_citations_that_come_before_their_text() -> None:
    cited = {
        "type": "url_citation",
        "url_citation": {
            "url": "https://example.com",
            "title": "T",
            "start_index": 0,
            "end_index": 0,
            "content": "words",
        },
    }
    message = whole(
        A,
        C,
        [chat_chunk({"content": "", "annotations": [cited]}), chat_chunk({"content": "Hi"}), chat_chunk({}, "stop")],
    )
    assert message["content"][0]["citations"][0]["cited_text"] == "words"


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
