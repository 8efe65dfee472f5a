"""Server-sent events, however they are cut."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from ccproxy.translate.sse import EventTooLarge, SseParser, frame
from tests.fakes.scaling import assert_linear_work


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


# --- size ------------------------------------------------------------------------------------------------------------


def in_pieces(parser: SseParser, data: bytes, size: int) -> list[tuple[str, str]]:
    return [event for at in range(0, len(data), size) for event in parser.feed(data[at : at + size])]


def test_a_line_of_10_mb_in_pieces_is_one_event() -> None:
    data = b"data: " + b"x" * 10_000_000 + b"\n\n"
    assert in_pieces(SseParser(), data, 2**14) == [("", "x" * 10_000_000)]


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_small_pieces_are_linear(size: int) -> None:
    def prepare(n: int) -> Callable[[], object]:
        data = b"data: " + b"x" * n * size + b"\n\n"
        return lambda: in_pieces(SseParser(limit=10**9), data, size)

    assert_linear_work(prepare, 10_000)


def test_an_event_of_very_many_lines_is_linear() -> None:
    def prepare(n: int) -> Callable[[], object]:
        data = b"data: x\ndata\n" * n + b"\n"
        return lambda: in_pieces(SseParser(), data, 100)

    assert_linear_work(prepare, 5000)


@pytest.mark.parametrize(
    "data",
    [
        b"x" * 200,
        b"data: " + b"x" * 200,
        b"data: x\n" * 100,
        b"data\n" * 100,
        b": " + b"x" * 200,
        b"\xef\xbb\xbf" + b"y" * 200,
        b"data: 1\n\ndata: " + b"x" * 200,
    ],
    ids=range(7),
)
@pytest.mark.parametrize("size", [1, 7, 50])
def test_what_does_not_end_within_the_limit_is_refused(data: bytes, size: int) -> None:
    parser = SseParser(limit=100)
    with pytest.raises(EventTooLarge, match="more than 100 bytes"):
        in_pieces(parser, data, size)
    assert parser.feed(b"\n\ndata: x\n\n") == []
    assert parser.feed(b"x" * 1000) == []
    assert parser.close() == []


@given(
    lengths=st.lists(st.integers(0, 40), max_size=30),
    lines=st.integers(1, 3),
    size=st.integers(1, 60),
    name=st.sampled_from([b"", b"event: e\n", b": c\n"]),
)
def test_the_limit_is_for_one_event_and_not_for_the_stream(
    lengths: list[int], lines: int, size: int, name: bytes
) -> None:
    """A chunk may end anywhere; events of at most 3 lines of 47 bytes are within the limit, with the rest of a chunk that they may share."""
    data = b"".join(name + (b"data: " + b"x" * length + b"\n") * lines + b"\n" for length in lengths)
    parser = SseParser(limit=3 * 47 + 60)
    expected = [("e" if name.startswith(b"event") else "", "\n".join(["x" * length] * lines)) for length in lengths]
    assert in_pieces(parser, data, size) == expected
    assert parser.close() == []
