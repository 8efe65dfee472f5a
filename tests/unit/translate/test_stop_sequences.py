"""Stop sequences that ccproxy watches for itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ccproxy.errors import BadRequest
from ccproxy.translate.exchange import translate_request
from ccproxy.translate.formats import Format
from ccproxy.translate.neutral import Delta, Part, PartEnd, PartStart, Ping, Start, UsageUpdate
from ccproxy.translate.profiles import ResponsesProfile
from ccproxy.translate.stop_sequences import MAX_STOP_LENGTH, MAX_STOPS, StopFilter, emulated
from ccproxy.translate.usage import Tokens, Usage
from tests.examples.answers import ASKING, RESPONSES, sse

Json = dict[str, Any]
A, C, R = Format


def stopped(stops: list[str], pieces: list[str]) -> tuple[str, str | None]:
    """What of a text passes a filter, and the sequence that ended it."""
    found = StopFilter(stops)
    part = Part("text")
    events = found.feed(PartStart(0, part))
    for piece in pieces:
        events += found.feed(Delta(0, piece))
    events += found.feed(PartEnd(0, Part("text", "".join(pieces))))
    text = "".join(event.text for event in events if isinstance(event, Delta))
    ends = [event for event in events if isinstance(event, PartEnd)]
    assert len(ends) == 1
    if found.match is not None:
        assert ends[0].part.text == text
    return text, found.match


@given(
    text=st.text("abc", max_size=20),
    stops=st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3),
    cuts=st.lists(st.integers(0, 20), max_size=6),
)
def test_text_ends_at_the_first_match_wherever_it_is_cut(text: str, stops: list[str], cuts: list[int]) -> None:
    places = sorted(min(cut, len(text)) for cut in cuts)
    pieces = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    first = min((text.find(stop) for stop in stops if stop in text), default=-1)
    found, match = stopped(stops, pieces)
    if first < 0:
        assert (found, match) == (text, None)
    else:
        assert match in stops
        assert text.startswith(found)
        assert text[len(found) :].startswith(match)
        assert len(found) <= text.find(match)


def _codex(client: Format, stops: list[str], **more: Any) -> Any:
    field = "stop_sequences" if client is A else "stop"
    return translate_request(
        client, R, {**ASKING[client], field: stops, **more}, ResponsesProfile.of_model("gpt-5.5", codex=True)
    )


@pytest.mark.parametrize("client", [A, C])
def test_a_stop_sequence_on_codex(client: Format) -> None:
    exchange = _codex(client, ["warm", ""], stream=True)
    stream = exchange.stream_translator()
    out = b""
    for event in RESPONSES:
        out += stream.feed(sse(R, [event]))
        if stream.stopped:
            break
    assert not stream.finished, "the upstream may still tell the usage"
    rest = stream.close()
    assert stream.finished
    assert stream.reading.usage is None, "the upstream reported none"
    assert b"warm" not in out
    if client is A:
        assert b'"stop_reason":"stop_sequence","stop_sequence":"warm"' in rest
    else:
        assert b'"finish_reason":"stop"' in rest
    folder = exchange.folder()
    folder.feed(sse(R, RESPONSES))
    assert folder.stopped
    status, _, body = folder.result()
    assert status == 200
    assert folder.reading.usage is not None
    assert folder.reading.usage.tokens.output == 42, "an upstream that is read to its end reports its usage"
    whole = json.loads(body)
    text = whole["content"][-1]["text"] if client is A else whole["choices"][0]["message"]["content"]
    assert text == "Zürich is "
    assert b"weather" not in body[-300:]


def test_calls_before_a_stop_stay_and_what_is_open_is_ended() -> None:
    found = StopFilter(["X"])
    found.feed(Start(usage=Usage(Tokens(input=7))))
    found.feed(PartStart(0, Part("tool_call", id="c")))
    found.feed(Delta(0, "{}"))
    found.feed(PartStart(1, Part("text")))
    assert found.feed(Delta(5, "nobody's")) == [Delta(5, "nobody's")]
    events = found.feed(Delta(1, "aXb"))
    assert [(event.index, event.part.text) for event in events if isinstance(event, PartEnd)] == [(0, "{}"), (1, "a")]
    assert found.feed(Delta(0, "more")) == []
    assert found.feed(Ping()) == [Ping()]
    assert found.feed(UsageUpdate(Usage(Tokens(output=3)))) == [UsageUpdate(Usage(Tokens(output=3)))]


def test_the_beginning_of_a_match_is_held_back_and_no_more() -> None:
    watch = StopFilter(["aab", "ba"])
    watch.feed(PartStart(0, Part("text")))
    for text, sent in [("xaa", "x"), ("a", "a"), ("b", None)]:
        assert watch.feed(Delta(0, text))[:1] == ([Delta(0, sent)] if sent else watch.feed(Ping())[:0]) or sent is None
    assert watch.match == "aab"


@pytest.mark.parametrize(
    "stops", [["x"] * 100_000 + ["y"], [f"stop {number}" for number in range(MAX_STOPS)], ["x" * MAX_STOP_LENGTH]]
)
def test_as_many_stop_sequences_as_can_be_watched_for(stops: list[str]) -> None:
    assert set(emulated(stops, "stop")) == set(stops)


@pytest.mark.parametrize("stops", [[f"stop {number}" for number in range(100_000)], ["x" * (MAX_STOP_LENGTH + 1)]])
@pytest.mark.parametrize(("client", "path"), [(A, "stop_sequences"), (C, "stop")])
def test_more_are_refused(client: Format, path: str, stops: list[str]) -> None:
    with pytest.raises(BadRequest) as refused:
        _codex(client, stops)
    assert refused.value.param == path


def test_the_work_per_piece_is_bounded() -> None:
    """The worst that can be asked for: every end of the text looks like the beginning of every sequence."""
    stops = ["a" * (MAX_STOP_LENGTH - 2) + str(number) for number in range(10, 10 + MAX_STOPS)]
    watch = StopFilter(emulated(stops, "stop"))
    watch.feed(PartStart(0, Part("text")))
    sent = "".join(
        event.text for _ in range(50) for event in watch.feed(Delta(0, "a" * 100)) if isinstance(event, Delta)
    )
    assert 5000 - MAX_STOP_LENGTH <= len(sent) <= 5000
