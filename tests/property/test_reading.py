"""A translator reads of a response what the usage tap would read from the same bytes, however they arrive and however they end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ccproxy.ledger.tap import UsageTap
from ccproxy.translate.exchange import Translated, translate_request
from ccproxy.translate.formats import Format
from ccproxy.translate.profiles import ResponsesProfile
from ccproxy.translate.reading import Reading
from tests.examples.answers import ASKING, EVENTS, sse
from tests.property.response_streams import streams
from tests.property.strategies import bent, cuts
from tests.referees.recordings import recordings

Json = dict[str, Any]
A, C, R = Format

RECORDINGS = list(recordings())
ROUTES = [(client, upstream) for client in Format for upstream in Format if client is not upstream]
SSE, WHOLE = "text/event-stream", "application/json"


def tapped(fmt: Format, pieces: list[bytes], content_type: str = SSE) -> Reading:
    tap = UsageTap(fmt, content_type)
    for piece in pieces:
        tap.feed(piece)
    return tap.finish()


def exchange(client: Format, upstream: Format, *, stream: bool = True) -> Translated:
    return translate_request(client, upstream, {**ASKING[client], "stream": stream})


def translated(client: Format, upstream: Format, pieces: list[bytes]) -> Reading:
    stream = exchange(client, upstream).stream_translator()
    for piece in pieces:
        stream.feed(piece)
    stream.close()
    return stream.reading


def folded(client: Format, upstream: Format, pieces: list[bytes]) -> Reading:
    folder = exchange(client, upstream, stream=False).folder()
    for piece in pieces:
        folder.feed(piece)
    folder.result()
    return folder.reading


@settings(max_examples=200, deadline=None)
@given(data=st.data(), stream=streams())
def test_any_stream_in_any_pieces(data: st.DataObject, stream: tuple[Format, bytes]) -> None:
    upstream, body = stream
    pieces = data.draw(cuts(body))
    for client in Format:
        expected = tapped(upstream, [body])
        assert folded(client, upstream, pieces) == expected, client
        if client is not upstream:
            assert translated(client, upstream, pieces) == expected, client


@settings(max_examples=200, deadline=None)
@given(data=st.data(), route=st.sampled_from(ROUTES))
def test_any_shape_of_events(data: st.DataObject, route: tuple[Format, Format]) -> None:
    client, upstream = route
    events = list(EVENTS[upstream])
    for at in data.draw(st.lists(st.integers(0, len(events) - 1), min_size=1, max_size=4)):
        events[at] = data.draw(bent(events[at]))
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    assert translated(client, upstream, [body]) == tapped(upstream, [body])


@pytest.mark.parametrize(("client", "upstream"), ROUTES)
def test_a_stream_that_is_cut_anywhere(client: Format, upstream: Format) -> None:
    body = sse(upstream, EVENTS[upstream])
    for end in range(0, len(body), 7):
        assert translated(client, upstream, [body[:end]]) == tapped(upstream, [body[:end]]), end


@pytest.mark.parametrize(("client", "upstream"), ROUTES)
def test_the_first_output_is_seen_in_the_same_piece(client: Format, upstream: Format) -> None:
    stream, tap = exchange(client, upstream).stream_translator(), UsageTap(upstream, SSE)
    for event in EVENTS[upstream]:
        piece = sse(upstream, [event], done=False)
        stream.feed(piece)
        tap.feed(piece)
        assert stream.reading.saw_output == tap.saw_output
    assert tap.saw_output


@pytest.mark.parametrize(("client", "upstream"), ROUTES)
def test_the_accounting_outlives_a_translation_that_failed(client: Format, upstream: Format) -> None:
    body = b"data: {no JSON\n\n" + sse(upstream, EVENTS[upstream]) + b"data: [3]\n\n"
    stream = exchange(client, upstream).stream_translator()
    stream.feed(body)
    assert stream.failed is not None
    assert stream.reading == tapped(upstream, [body])
    assert stream.reading.usage is not None


BODIES: list[tuple[Format, Json]] = [
    (A, {"type": "message", "model": "claude", "stop_reason": "end_turn", "content": [], "usage": {"input_tokens": 3, "output_tokens": 4}}),
    (A, {"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}}),
    (A, {"error": {"code": "server_error", "message": "another vendor's"}}),
    (C, {"model": "gpt", "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}),
    (C, {"choices": []}),
    (C, {"error": {"type": "invalid_request_error", "code": None, "message": "No"}}),
    (R, {"object": "response", "status": "completed", "model": "gpt", "output": [{"type": "function_call", "name": "f", "call_id": "c", "arguments": "{}"}],
         "usage": {"input_tokens": 1, "output_tokens": 2}}),
    (R, {"object": "response", "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "output": []}),
    (R, {"detail": "Store must be set to false"}),
    (R, {"error": {"type": "usage_limit_reached", "message": "later"}}),
]  # fmt: skip


@pytest.mark.parametrize(("upstream", "body"), BODIES)
@pytest.mark.parametrize("client", list(Format))
@pytest.mark.parametrize("status", [200, 400, 529])
def test_whole_bodies(client: Format, upstream: Format, body: Json, status: int) -> None:
    raw = json.dumps(body).encode()
    expected = tapped(upstream, [raw], WHOLE)
    whole = exchange(client, upstream, stream=False)
    whole.whole(status, raw)
    assert whole.reading == expected
    if status == 200 and client is not upstream:
        streamed = exchange(client, upstream)
        streamed.whole_as_stream(raw)
        assert streamed.reading == expected


@pytest.mark.parametrize("raw", [b"", b"[1]", b"null", b'"text"', b"<html>", b"\xff\xfe", b"[" * 5000, b'{"a":' * 5000])
def test_bodies_that_are_not_objects(raw: bytes) -> None:
    for client, upstream in ROUTES:
        for status in (200, 500):
            whole = exchange(client, upstream, stream=False)
            whole.whole(status, raw)
            assert whole.reading == Reading()


def test_a_stop_sequence_that_ccproxy_watches_for_hides_nothing() -> None:
    body = sse(R, EVENTS[R])
    asked = {**ASKING[A], "stop_sequences": ["warm"], "stream": True}
    stream = translate_request(A, R, asked, ResponsesProfile.of_model("gpt-5.5", codex=True)).stream_translator()
    stream.feed(body)
    stream.close()
    assert stream.stopped
    assert stream.reading == tapped(R, [body])


@pytest.mark.skipif(not RECORDINGS, reason="CCPROXY_CORPUS names no folder of recordings")
@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name[:-5])
def test_recordings(recording: Any) -> None:
    expected = tapped(recording.fmt, [recording.answer], SSE if recording.stream else WHOLE)
    for client in Format:
        if recording.stream:
            pieces = [recording.answer[at : at + 97] for at in range(0, len(recording.answer), 97)]
            assert folded(client, recording.fmt, pieces) == expected
            if client is not recording.fmt:
                assert translated(client, recording.fmt, pieces) == expected
        else:
            whole = exchange(client, recording.fmt, stream=False)
            whole.whole(200, recording.answer)
            assert whole.reading == expected
