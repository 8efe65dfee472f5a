"""Bodies are decoded whatever their encoding and however they are cut, and never to more than the limit."""

from __future__ import annotations

import gzip
import zlib
from contextlib import suppress

import brotli
import pytest
import zstandard
from hypothesis import given, strategies as st

from ccproxy import content_encoding
from ccproxy.content_encoding import (
    ContentDecoder,
    ContentEncodingError,
    CorruptEncoding,
    TooLarge,
    UnknownEncoding,
    decode,
    incremental_decoder,
)

MIB = 1 << 20


def raw_deflate(body: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(body) + stream.flush()


def zstd(body: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(body)


ENCODERS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": lambda body: brotli.compress(body, quality=5),
    "zstd": zstd,
    "gzip, br": lambda body: brotli.compress(gzip.compress(body)),
    "zstd,identity , gzip": lambda body: gzip.compress(zstd(body)),
}


def in_chunks(body: bytes, size: int) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


@pytest.mark.parametrize("encoding", ENCODERS)
@given(body=st.binary(max_size=300) | st.text().map(lambda text: text.encode() * 40), size=st.integers(1, 400))
def test_every_encoding_however_it_is_cut(encoding: str, body: bytes, size: int) -> None:
    wire = ENCODERS[encoding](body)
    assert decode(wire, encoding, 1 << 20) == body
    decoder = ContentDecoder(encoding)
    assert b"".join(decoder.feed(chunk) for chunk in in_chunks(wire, size)) == body
    decoder.close()


@pytest.mark.parametrize("encoding", ENCODERS)
def test_bodies_larger_than_a_piece(encoding: str) -> None:
    body = b"".join(b"%d of a body that compresses well\n" % number for number in range(100_000))
    wire = ENCODERS[encoding](body)
    assert decode(wire, encoding, len(body)) == body
    with pytest.raises(TooLarge, match=f"more than {len(body) - 1} bytes"):
        decode(wire, encoding, len(body) - 1)


def test_deflate_without_its_zlib_header() -> None:
    assert decode(raw_deflate(b"raw" * 9), "deflate", 99) == b"raw" * 9


@pytest.mark.parametrize("encoding", ["", "identity", " , identity,"])
def test_nothing_to_decode(encoding: str) -> None:
    assert decode(b"as it is", encoding, 8) == b"as it is"
    assert incremental_decoder(encoding) is None
    with pytest.raises(TooLarge):
        decode(b"as it is", encoding, 7)


@pytest.mark.parametrize("encoding", ENCODERS)
def test_an_empty_body_is_an_empty_body(encoding: str) -> None:
    assert decode(b"", encoding, 9) == b""


@pytest.mark.parametrize("encoding", ["compress", "gzip, what", "gzip" + ", gzip" * content_encoding.MAX_LAYERS])
def test_unknown_encodings(encoding: str) -> None:
    with pytest.raises(UnknownEncoding):
        decode(b"x", encoding, 9)


@pytest.mark.parametrize("encoding", ENCODERS)
def test_damaged_and_cut_bodies(encoding: str) -> None:
    wire = ENCODERS[encoding](b"a body that is long enough to be cut in its middle")
    for cut in (1, len(wire) // 2, len(wire) - 1):
        with pytest.raises(CorruptEncoding):
            decode(wire[:cut], encoding, 999)
    with pytest.raises(CorruptEncoding):
        decode(b"\xff" * 64, encoding, 999)


@pytest.mark.parametrize("encoding", ENCODERS)
@given(data=st.data())
def test_nothing_but_its_own_errors(encoding: str, data: st.DataObject) -> None:
    wire = bytearray(ENCODERS[encoding](data.draw(st.binary(max_size=60))))
    for _ in range(data.draw(st.integers(0, 3))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ContentEncodingError):
        assert len(decode(bytes(wire + data.draw(st.binary(max_size=9))), encoding, 4096)) <= 4096


def test_members_and_frames_one_after_the_other() -> None:
    assert decode(gzip.compress(b"one ") + gzip.compress(b"two") + b"\0\0", "gzip", 99) == b"one two"
    assert decode(zstd(b"one ") + zstd(b"two"), "zstd", 99) == b"one two"


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_members_and_frames_without_content_are_counted(encoding: str) -> None:
    empty = ENCODERS[encoding](b"")
    assert decode(empty * content_encoding.MAX_MEMBERS, encoding, 9) == b""
    with pytest.raises(TooLarge):
        decode(empty * (content_encoding.MAX_MEMBERS + 1), encoding, 9)


def zstd_of_repeated_blocks(count: int) -> bytes:
    """The greatest expansion that zstd knows: 4 bytes are 128 KiB (RFC 8878, 3.1.1.2.2)."""
    frame_header = zstandard.MAGIC_NUMBER.to_bytes(4, "little") + bytes([0, 0x58])  # a window of 2 MiB
    block = (128 * 1024) << 3 | 1 << 1
    return frame_header + (block.to_bytes(3, "little") + b"a") * count


GZIP_BOMB = gzip.compress(b"a" * (24 * MIB))
BROTLI_BOMB = brotli.compress(b"a" * (128 * MIB), quality=5)
BOMBS = {
    "gzip": GZIP_BOMB,
    "deflate": zlib.compress(b"a" * (24 * MIB)),
    "br": BROTLI_BOMB,
    "zstd": zstd_of_repeated_blocks(2048),
    "gzip, gzip": gzip.compress(GZIP_BOMB),
    "br, gzip": gzip.compress(BROTLI_BOMB),
}


@pytest.mark.parametrize("encoding", BOMBS)
def test_bombs_are_not_unpacked(encoding: str) -> None:
    decoder = ContentDecoder(encoding, limit=8 * MIB)
    sizes = []
    with pytest.raises(TooLarge):  # noqa: PT012 - the loop is what raises
        for piece in decoder.pieces(BOMBS[encoding]):
            sizes.append(len(piece))
    assert sum(sizes) <= 8 * MIB
    assert max(sizes, default=0) <= 8 * MIB
    with pytest.raises(TooLarge):
        decode(BOMBS[encoding], encoding, 8 * MIB)


def test_a_bomb_in_the_outer_layer() -> None:
    """What is inside is small, but that shows only when the outer layer is decoded."""
    padded = gzip.compress(b"small") + b"\0" * (24 * MIB)
    with pytest.raises(TooLarge):
        decode(brotli.compress(padded, quality=5), "gzip, br", 8 * MIB)


@pytest.mark.parametrize("encoding", BOMBS)
def test_no_single_piece_is_large(encoding: str) -> None:
    """The memory of a caller that uses each piece at once is bounded by the largest piece, 48 MiB with brotli before 1.2."""
    largest = total = 0
    for piece in ContentDecoder(encoding).pieces(BOMBS[encoding]):
        largest, total = max(largest, len(piece)), total + len(piece)
        if total > 96 * MIB:
            break
    assert largest <= (48 * MIB if "br" in encoding and brotli.__version__ < "1.2" else 8 * MIB)


def test_a_limit_for_each_chunk() -> None:
    feed = incremental_decoder("zstd", limit=64 * MIB, feed_limit=2 * MIB)
    assert feed is not None
    bomb = zstd_of_repeated_blocks(200)
    assert len(feed(bomb[:50])) == 11 * 128 * 1024
    assert len(feed(bomb[50:94])) == 11 * 128 * 1024
    with pytest.raises(TooLarge, match="A part of the body"):
        feed(bomb[94:])


def test_zstd_windows_larger_than_8_mib_are_not_allocated() -> None:
    stream = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=27)
    ).compressobj()
    with pytest.raises(CorruptEncoding):
        decode(stream.compress(b"x" * 1000) + stream.flush(), "zstd", 9999)
