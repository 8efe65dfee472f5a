"""Streams fold into the whole response, and into as much of it as arrived."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ccproxy.translate.fold import events, fold, fold_any, format_of, text_of
from ccproxy.translate.formats import Format
from tests.examples.answers import EVENTS, sse
from tests.property.response_streams import streams
from tests.property.strategies import bent
from tests.referees import sdk
from tests.referees.facts import facts
from tests.referees.recordings import recordings

Json = dict[str, Any]
A, C, R = Format
RECORDINGS = [recording for recording in recordings() if recording.stream]
FORMATS = pytest.mark.parametrize("fmt", list(Format), ids=lambda fmt: fmt.value)


@FORMATS
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_stream_folds_into_what_the_sdk_makes_of_it(fmt: Format, end: str) -> None:
    data = sse(fmt, EVENTS[fmt], end=end)
    whole = fold(fmt, data)
    assert facts(fmt, whole) == facts(fmt, sdk.plain(sdk.accumulate(fmt, sse(fmt, EVENTS[fmt]))))
    assert text_of(whole) == facts(fmt, whole).text
    assert format_of(data) is fmt
    assert fold_any(data) == (fmt, whole)


@FORMATS
def test_a_stream_that_is_cut_anywhere(fmt: Format) -> None:
    data = sse(fmt, EVENTS[fmt])
    text = text_of(fold(fmt, data))
    seen = ""
    for end in range(0, len(data), 11):
        cut = text_of(fold(fmt, data[:end]))
        assert text.startswith(cut)
        assert len(cut) >= len(seen)
        seen = cut
    assert seen


def test_a_call_that_is_cut_is_kept_as_far_as_it_came() -> None:
    start = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
    delta = {"type": "input_json_delta", "partial_json": '{"city": "Zü'}
    messages = [
        {"type": "content_block_start", "index": 0, "content_block": start},
        {"type": "content_block_delta", "index": 0, "delta": delta},
    ]
    (block,) = fold(A, sse(A, messages))["content"]
    assert (block["name"], block["partial_json"]) == ("look", '{"city": "Zü')
    item = {"type": "function_call", "call_id": "c", "name": "look", "arguments": ""}
    responses = [
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": '{"city'},
    ]
    assert fold(R, sse(R, responses))["output"] == [{**item, "arguments": '{"city'}]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("output_text", {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}),
        ("refusal", {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "Hi"}]}),
        ("reasoning_summary_text", {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hi"}]}),
        ("reasoning_text", {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hi"}]}),
        ("custom_tool_call_input", {"input": "Hi"}),
    ],
)
def test_parts_of_responses_without_an_end(kind: str, expected: Json) -> None:
    stream = [{"type": f"response.{kind}.delta", "output_index": 0, "delta": piece} for piece in ("H", "i")]
    assert fold(R, sse(R, stream))["output"] == [expected]


def test_several_choices() -> None:
    chunks = [
        {"choices": [{"index": index, "delta": {"content": text}}]} for index, text in ((0, "a"), (1, "x"), (0, "b"))
    ]
    assert [choice["message"]["content"] for choice in fold(C, sse(C, chunks))["choices"]] == ["ab", "x"]


@pytest.mark.parametrize(
    ("data", "fmt"),
    [
        (b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"busy"}}\n\n', A),
        (b'data: {"error":{"code":"server_error","message":"busy"}}\n\n', C),
        (b'data: {"type":"codex.rate_limits"}\n\ndata: {"type":"error","code":"x","message":"busy"}\n\n', R),
    ],
)
def test_streams_that_only_fail(data: bytes, fmt: Format) -> None:
    assert format_of(data) is fmt
    assert fold(fmt, data)["error"]["message"] == "busy"


def test_whole_objects_are_what_they_are() -> None:
    body = {"type": "message", "content": [{"type": "text", "text": "Hi"}]}
    for fmt in Format:
        assert fold(fmt, json.dumps(body).encode()) == body
    assert fold_any(json.dumps(body).encode()) == (A, body)


@given(
    st.binary().filter(lambda data: b"{" not in data)
)  # Hypothesis also tries constants of the code, such as whole messages
def test_garbage_is_nothing(data: bytes) -> None:
    assert fold_any(data) is None
    for fmt in Format:
        assert text_of(fold(fmt, data)) == ""


@settings(max_examples=200, deadline=None)
@given(stream=streams(), end=st.integers(0, 400))
def test_any_stream_cut_anywhere(stream: tuple[Format, bytes], end: int) -> None:
    fmt, data = stream
    text_of(fold(fmt, data[: len(data) - end]))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), fmt=st.sampled_from(list(Format)))
def test_events_of_any_shape(data: st.DataObject, fmt: Format) -> None:
    changed = [data.draw(bent(event)) if data.draw(st.integers(0, 9)) == 0 else event for event in EVENTS[fmt]]
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in changed)
    for other in Format:
        text_of(fold(other, body))
    format_of(body)


def test_the_work_grows_with_the_data_and_not_faster() -> None:
    """100,000 pieces of one text, of one call and of one thought: quadratic work would take minutes."""
    pieces = 100_000
    chat = b'data: {"choices":[{"index":0,"delta":{"content":"abcd","tool_calls":[{"index":0,"function":{"arguments":"abcd"}}]}}]}\n\n'
    assert len(text_of(fold(C, chat * pieces))) == 4 * pieces
    thought = (
        b'data: {"choices":[{"delta":{"reasoning_details":[{"type":"reasoning.text","text":"abcd","index":0}]}}]}\n\n'
    )
    (choice,) = fold(C, thought * pieces)["choices"]
    assert len(choice["message"]["reasoning_details"][0]["text"]) == 4 * pieces


@pytest.mark.skipif(not RECORDINGS, reason="CCPROXY_CORPUS names no folder of recordings")
@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name[:-5])
def test_recordings(recording: Any) -> None:
    found, expected = (
        facts(recording.fmt, fold(recording.fmt, recording.answer)),
        facts(recording.fmt, recording.whole()),
    )
    if (
        "incomplete_partial_json" in recording.name
    ):  # a call that was cut stays apart from the calls that can be carried out
        found, expected = found._replace(calls=()), expected._replace(calls=())
    if "shell_container" in recording.name:  # shortened by hand: its last event is not what its items add up to
        found, expected = found._replace(text=""), expected._replace(text="")
    assert found == expected
    assert format_of(recording.answer) is recording.fmt
    assert list(events(recording.answer))
