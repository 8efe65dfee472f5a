"""Server-sent events, however they are cut."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from ccproxy.translate.sse import SseParser, frame


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
