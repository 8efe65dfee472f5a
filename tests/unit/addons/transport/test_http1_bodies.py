"""Bodies of HTTP/1 messages: where they end, in whatever pieces they come, and what they may cost."""

from __future__ import annotations

import pytest
from hypothesis import example, given, strategies as st

from ccproxy.addons.transport import http1_bodies as bodies
from ccproxy.addons.transport.http1_bodies import BodyReader, ChunkedReader, reader_for
from ccproxy.addons.transport.http1_heads import Framing, Malformed
from tests.fakes.scaling import assert_linear
from tests.fakes.upstream import chunk
from tests.property.strategies import cuts


def read(reader: BodyReader, pieces: list[bytes]) -> tuple[bytes, bytes | None]:
    """The body, and what came after it; None if its end has not come."""
    body = b""
    rest: bytes | None = None
    for piece in pieces:
        if rest is None:
            data, rest = reader.read(piece)
            body += data
            if reader.error is not None:
                raise reader.error
        else:
            rest += piece
    return body, rest


BODIES: dict[str, tuple[Framing, bytes, bytes]] = {
    "a length": (4, b"abcd", b"abcd"),
    "a length of 0": (0, b"", b""),
    "chunks": ("chunked", chunk(b"ab") + chunk(b"cd") + b"0\r\n\r\n", b"abcd"),
    "a size with zeros": ("chunked", b"0000000000000004\r\nabcd\r\n0000000000000000\r\n\r\n", b"abcd"),
    "line ends in chunks": ("chunked", chunk(b"\r\n0\r\n\r\n") + b"0\r\n\r\n", b"\r\n0\r\n\r\n"),
    "no chunk": ("chunked", b"0\r\n\r\n", b""),
    "extensions": ("chunked", b'2;a;b=c;d="e\\"\\\\;f"\r\nab\r\nA;x\r\n0123456789\r\n0;y=z\r\n\r\n', b"ab0123456789"),
    "trailers": ("chunked", chunk(b"ab") + b"0\r\nX-A: b\r\nX-B:\r\n\r\n", b"ab"),
}


@pytest.mark.parametrize(("framing", "data", "body"), BODIES.values(), ids=BODIES.keys())
def test_a_body_and_what_follows(framing: Framing, data: bytes, body: bytes) -> None:
    for rest in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\r\n", b"\0"):
        whole = data + rest
        assert read(reader_for(framing), [whole]) == (body, rest)
        assert read(reader_for(framing), [whole[at : at + 1] for at in range(len(whole))] or [b""]) == (body, rest)
        assert read(reader_for(framing), [whole[at : at + 7] for at in range(0, len(whole), 7)] or [b""]) == (
            body,
            rest,
        )


def test_a_body_that_ends_with_the_connection() -> None:
    reader = reader_for("until close")
    assert read(reader, [b"ab", b"cd"]) == (b"abcd", None)
    reader.end()


@pytest.mark.parametrize(
    ("framing", "data"),
    [(4, b"abc"), (1, b""), ("chunked", b"4\r\nabc"), ("chunked", b""), ("chunked", b"0\r\n"), ("chunked", b"0\r\n\r")],
)
def test_a_body_that_is_not_whole(framing: Framing, data: bytes) -> None:
    reader = reader_for(framing)
    assert reader.read(data)[1] is None
    with pytest.raises(Malformed, match="ended"):
        reader.end()


SIZES = [
    b"+2",
    b"-2",
    b"0x2",
    b"2_0",
    b" 2",
    b"2 ",
    b"\t2",
    b"2\t",
    b"",
    b"g",
    b"2h",
    b"1" * 17,
    b"0" * 16 + b"2",
    "\u00b2".encode(),
    "\uff12".encode(),
    b"2;",
    b"2;;a",
    b"2; a=b",
    b"2;a =b",
    b"2;a= b",
    b'2;a="b',
    b'2;a="b"c',
    b"2;a=b\0",
    b"2;a=b\rc",
    b"2\r",
    b"2.0",
    b"2,2",
    b"\x0b2",
    b"2\x0c",
    b"2;=b",
    "2;ä".encode(),
]


@pytest.mark.parametrize("size", SIZES, ids=repr)
def test_a_size_that_is_not_one(size: bytes) -> None:
    data = chunk(b"ok") + size + b"\r\nab\r\n0\r\n\r\n"
    for pieces in ([data], [data[at : at + 1] for at in range(len(data))]):
        with pytest.raises(Malformed):
            read(reader_for("chunked"), pieces)


@pytest.mark.parametrize("line", [b"2\n", b"2;a\n"])
def test_a_line_that_ends_with_lf_alone(line: bytes) -> None:
    with pytest.raises(Malformed):
        read(reader_for("chunked"), [line + b"ab\r\n0\r\n\r\n"])


@pytest.mark.parametrize("end", [b"xx", b"\n", b"\n\r", b"\rx", b"0\r", b"\r\r\n", b"a\r\n"], ids=repr)
def test_a_chunk_without_its_end(end: bytes) -> None:
    data = b"2\r\nab" + end + b"0\r\n\r\n"
    for pieces in ([data], [data[at : at + 1] for at in range(len(data))]):
        with pytest.raises(Malformed):
            read(reader_for("chunked"), pieces)


@pytest.mark.parametrize(
    "line",
    [
        b"Content-Length: 3\r\n",
        b"transfer-encoding: chunked\r\n",
        b"no colon\r\n",
        b" folded\r\n",
        b": b\r\n",
        b"A : b\r\n",
        b"A: \0\r\n",
        b"A: b\n",
        b"\n",
        b"A: b\r\r\n",
    ],
)
def test_trailers_that_are_malformed(line: bytes) -> None:
    with pytest.raises(Malformed):
        read(reader_for("chunked"), [b"0\r\n" + line + b"\r\n"])


def test_what_came_before_an_error_is_returned() -> None:
    reader = reader_for("chunked")
    assert reader.read(chunk(b"ab") + chunk(b"cd") + b"zz\r\n") == (b"abcd", None)
    assert reader.error is not None
    assert "zz" not in str(reader.error)


# ---- limits


@pytest.mark.parametrize("step", [1, 100_000])
def test_the_line_of_a_chunk(step: int) -> None:
    room = bodies.MAX_CHUNK_LINE - len(b"2;=\r\n") - 1
    for length, fits in ((room, True), (room + 1, False), (5_000_000, False)):
        data = b"2;a=" + b"b" * length + b"\r\nab\r\n0\r\n\r\n"
        pieces = [data[at : at + step] for at in range(0, min(len(data), 20_000 * step), step)]
        if fits:
            assert read(ChunkedReader(), pieces) == (b"ab", b"")
        else:
            with pytest.raises(Malformed, match="too long"):
                read(ChunkedReader(), pieces)


def test_many_extensions() -> None:
    small = b"2;a=" + b"b" * 400 + b"\r\nab\r\n"
    with pytest.raises(Malformed, match="too many chunk extensions"):
        read(ChunkedReader(), [small] * 1000)
    large = b"12c;a=" + b"b" * 400 + b"\r\n" + b"c" * 300 + b"\r\n"
    assert read(ChunkedReader(), [large] * 1000) == (b"c" * 300_000, None)
    signed = b"10;a=bcdefgh\r\n" + b"c" * 16 + b"\r\n"
    assert read(ChunkedReader(), [signed] * 10_000) == (b"c" * 160_000, None)


@pytest.mark.parametrize("line", [b"A: " + b"b" * 9000 + b"\r\n", b"A:b\r\n" * 2000, b"A: " + b"b" * 10_000_000])
@pytest.mark.parametrize("step", [1000, 100_000_000])
def test_trailers(line: bytes, step: int) -> None:
    data = b"0\r\n" + line + b"\r\n"
    with pytest.raises(Malformed, match="trailers are too large"):
        read(ChunkedReader(), [data[at : at + step] for at in range(0, len(data), step)])


def test_trailers_below_the_limit() -> None:
    assert read(ChunkedReader(), [b"0\r\n" + b"A: b\r\n" * 1000 + b"\r\n"]) == (b"", b"")


# ---- work and memory


@pytest.mark.parametrize(
    "unit",
    [b"1\r\nx\r\n", b"000000000000001\r\nx\r\n", b"1;a\r\nx\r\n", b"10\r\n" + b"x" * 16 + b"\r\n"],
    ids=["one byte", "zeros", "extensions", "16 bytes"],
)
@pytest.mark.parametrize("step", [1, 65_535])
def test_tiny_chunks_take_linear_time(unit: bytes, step: int) -> None:
    def work(size: int) -> None:
        data = unit * (size // len(unit))
        reader = ChunkedReader()
        for at in range(0, len(data), step):
            reader.read(data[at : at + step])
            assert reader.error is None

    assert_linear(work)


def test_two_million_chunks_of_a_byte() -> None:
    piece = b"1\r\nx\r\n" * 10_000
    reader = ChunkedReader()
    for _ in range(200):
        assert reader.read(piece) == (b"x" * 10_000, None)
    assert not any(isinstance(value, bytes) and value for value in vars(reader).values())  # nothing is kept


def test_a_body_of_known_length_is_not_copied() -> None:
    data = b"x" * 65_535
    for framing in (10**9, "until close"):
        assert reader_for(framing).read(data)[0] is data  # type: ignore[arg-type]


@example([b"1;a\r\nx\r\n0\r\n\r\n"], 1)
@given(
    st.lists(
        st.sampled_from([b"1\r\nx\r\n", b"0\r\n", b"\r\n", b"2;a=b\r\n", b"ab", b"\r", b"\n", b"A: b\r\n", b"f"])
        | st.binary(max_size=3),
        max_size=12,
    ),
    st.integers(1, 5),
)
def test_any_pieces_are_read_alike(parts: list[bytes], step: int) -> None:
    data = b"".join(parts)

    def outcome(pieces: list[bytes]) -> object:
        reader = ChunkedReader()
        body = b""
        for number, piece in enumerate(pieces):
            some, rest = reader.read(piece)
            body += some
            if reader.error is not None:
                return body, "malformed"
            if rest is not None:
                return body, rest + b"".join(pieces[number + 1 :])
        return body, None

    assert outcome([data]) == outcome([data[at : at + step] for at in range(0, len(data), step)] or [b""])


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=10), st.data())
def test_any_body_in_any_pieces(parts: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(map(chunk, parts)) + b"0\r\n\r\n"
    assert read(ChunkedReader(), data.draw(cuts(whole))) == (b"".join(parts), b"")
