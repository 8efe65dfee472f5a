"""Bounded decoders for `content-encoding`: whole bodies, and bodies that arrive in chunks. Pure; the codecs are imported when first needed.

A few hundred bytes of brotli or zstd can stand for gigabytes, so output is produced in pieces and counted: no call keeps more than its limit in memory.

    body = decode(raw, "gzip, br", limit=64 << 20)         # a whole body

    decoder = ContentDecoder("zstd", limit=64 << 20)       # a body in chunks
    for chunk in chunks:
        for piece in decoder.pieces(chunk):
            ...
    decoder.close()                                        # raises CorruptEncoding when the body was cut

Decoding runs at roughly 300 MB of output per second for brotli and faster for the others: decode large bodies off the event loop.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Final

Decode = Callable[[bytes], bytes]
"""Take the next encoded bytes, return what can be decoded so far; raises a ContentEncodingError."""

MAX_OUTPUT: Final = 128 << 20
"""The most that `incremental_decoder` makes of one body, in bytes."""
MAX_OUTPUT_PER_FEED: Final = 8 << 20
"""The most that `incremental_decoder` makes of one chunk, in bytes: some 30 ms of work for brotli."""
MAX_LAYERS: Final = 4
"""The most encodings that may be stacked on one body."""
MAX_MEMBERS: Final = 10_000
"""The most gzip members or zstd frames in one body: each costs an allocation, however little is in it."""

_PIECE = 1 << 20
"""The output that codecs with an output limit return at once, in bytes."""
_ZLIB_SLICE = 1 << 14
"""Input bytes per call: what zlib has not consumed is copied with every call."""
_ZSTD_SLICE = 256
"""Input bytes per call: at most 8 MiB of output, since a block has 4 bytes or more and holds 128 KiB or less (RFC 8878, 3.1.1.2)."""
_ZSTD_WINDOW = 8 << 20
"""Decoders of `content-encoding: zstd` need not support larger windows, and encoders must not use them (RFC 9659)."""
_BROTLI_SLICE = 16
"""Input bytes per call before brotli 1.2, which cannot limit its output: at most 48 MiB, as a meta-block holds 16 MiB or less and has a header of some 10
bytes (RFC 7932, 9.2)."""


class ContentEncodingError(ValueError):
    """A body that cannot be decoded."""


class UnknownEncoding(ContentEncodingError):
    """There is no decoder for this `content-encoding`; the text is its name."""


class CorruptEncoding(ContentEncodingError):
    """The bytes are not valid in this encoding, or end too early."""


class TooLarge(ContentEncodingError):
    """The decoded body exceeds the limit."""


def decode(body: bytes, content_encoding: str, limit: int) -> bytes:
    """Return the decoded body; the body itself when there is nothing to decode.

    `limit` is the largest result in bytes, and the largest intermediate result where encodings are stacked.

    Raises:
        UnknownEncoding: no decoder for one of the encodings.
        CorruptEncoding: the body is not valid in its encoding, or was cut.
        TooLarge: the result exceeds `limit`.

    """
    decoder = ContentDecoder(content_encoding, limit=limit)
    if not decoder.encoded or not body:
        if len(body) > limit:
            raise TooLarge(f"The body has more than {limit} bytes")
        return body
    plain = decoder.feed(body)
    decoder.close()
    return plain


def incremental_decoder(
    content_encoding: str, *, limit: int = MAX_OUTPUT, feed_limit: int = MAX_OUTPUT_PER_FEED
) -> Decode | None:
    """Return the decoder for the value of a header `content-encoding`; None when there is nothing to decode.

    Raises:
        UnknownEncoding: no decoder for one of the encodings.

    """
    decoder = ContentDecoder(content_encoding, limit=limit, feed_limit=feed_limit)
    return decoder.feed if decoder.encoded else None


class ContentDecoder:
    """Decodes one body that arrives in chunks."""

    def __init__(self, content_encoding: str, *, limit: int = MAX_OUTPUT, feed_limit: int | None = None) -> None:
        """Choose the decoders for the value of a header `content-encoding`.

        `limit` is the most that the whole body may decode to, in bytes; `feed_limit` the most that a single chunk may. Both hold for each layer of stacked
        encodings.

        Raises:
            UnknownEncoding: no decoder for one of the encodings.

        """
        names = [name.strip().lower() for name in content_encoding.split(",")]
        names = [name for name in reversed(names) if name and name != "identity"]
        if len(names) > MAX_LAYERS:
            raise UnknownEncoding(f"of {len(names)} layers")
        self._layers = [_codec(name) for name in names]
        self._limit = limit
        self._feed_limit = limit if feed_limit is None else min(feed_limit, limit)

    @property
    def encoded(self) -> bool:
        """Is there anything to decode?"""
        return bool(self._layers)

    def feed(self, data: bytes) -> bytes:
        """Return what can be decoded so far.

        Raises:
            CorruptEncoding: the data are not valid in this encoding.
            TooLarge: they decode to more than the limits allow. Nothing more may be fed after an error.

        """
        return b"".join(self.pieces(data))

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Like `feed`, but yield the output piece by piece, so that a caller can use it and stop before an error or a limit."""
        pieces: Iterator[bytes] = iter((data,))
        for layer in self._layers:
            pieces = self._layer(layer, pieces)
        return pieces

    def close(self) -> None:
        """Check that the body is complete.

        Raises:
            CorruptEncoding: it was cut.

        """
        for layer in self._layers:
            if not layer.complete:
                raise CorruptEncoding(f"The {layer.name} data end too early")

    def _layer(self, codec: _Codec, pieces: Iterator[bytes]) -> Iterator[bytes]:
        most = min(codec.produced + self._feed_limit, self._limit)
        for piece in pieces:
            for output in codec.decode(piece):
                codec.produced += len(output)
                if codec.produced > most:
                    total = most == self._limit
                    raise TooLarge(
                        f"The body decodes to more than {self._limit} bytes"
                        if total
                        else f"A part of the body decodes to more than {self._feed_limit} bytes"
                    )
                yield output


class _Codec(ABC):
    """One encoding of one body."""

    name: str
    complete: bool
    """The data seen so far are a whole body in this encoding."""

    def __init__(self) -> None:
        self.produced = 0
        """Bytes decoded so far."""
        self.complete = False

    @abstractmethod
    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield what the data decode to, in pieces of bounded size."""


def _codec(name: str) -> _Codec:
    match name:
        case "gzip" | "x-gzip":
            return _Gzip()
        case "deflate":
            return _Deflate()
        case "br":
            return _Brotli()
        case "zstd":
            return _Zstd()
        case _:
            raise UnknownEncoding(name[:40])


def _inflate(stream: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    full = False
    while data or full:  # after a full piece zlib may hold more output although it has consumed all input
        try:
            output = stream.decompress(data, _PIECE)
        except zlib.error as error:
            raise CorruptEncoding(f"The gzip or deflate data are damaged: {error}") from None
        data = stream.unconsumed_tail
        full = len(output) == _PIECE
        if output:
            yield output


class _Gzip(_Codec):
    """Members may follow each other (RFC 1952, 2.2); padding after the last is ignored."""

    name = "gzip"

    def __init__(self) -> None:
        super().__init__()
        self._member = zlib.decompressobj(wbits=31)
        self._members = 1
        self._over = False

    def decode(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), _ZLIB_SLICE):
            part = data[at : at + _ZLIB_SLICE]
            while part and not self._over:
                if self._member.eof and not self._next(part):
                    return
                yield from _inflate(self._member, part)
                self.complete = self._member.eof
                part = self._member.unused_data

    def _next(self, part: bytes) -> bool:
        """Begin another member, if there is one."""
        if not part.startswith(b"\x1f"):
            self._over = True
            return False
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise TooLarge(f"The body has more than {MAX_MEMBERS} gzip members")
        self._member = zlib.decompressobj(wbits=31)
        return True


class _Deflate(_Codec):
    """With the zlib header that RFC 9110 asks for, or raw as some servers send it."""

    name = "deflate"

    def __init__(self) -> None:
        super().__init__()
        self._start = b""
        self._stream: zlib._Decompress | None = None

    def decode(self, data: bytes) -> Iterator[bytes]:
        if self._stream is None:
            data = self._start + data
            if len(data) < 2:
                self._start = data
                return
            zlib_header = data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
            self._stream = zlib.decompressobj(wbits=zlib.MAX_WBITS if zlib_header else -zlib.MAX_WBITS)
        for at in range(0, len(data), _ZLIB_SLICE):
            if self._stream.eof:
                break
            yield from _inflate(self._stream, data[at : at + _ZLIB_SLICE])
        self.complete = self._stream.eof


class _Brotli(_Codec):
    name = "br"

    def __init__(self) -> None:
        super().__init__()
        import brotli

        self._stream: Any = brotli.Decompressor()
        self._error: type[Exception] = brotli.error
        self._limited = hasattr(self._stream, "can_accept_more_data")  # brotli 1.2 and later

    def decode(self, data: bytes) -> Iterator[bytes]:
        try:
            yield from self._with_limit(data) if self._limited else self._in_slices(data)
        except self._error:
            raise CorruptEncoding("The brotli data are damaged") from None

    def _with_limit(self, data: bytes) -> Iterator[bytes]:
        stream = self._stream
        if self.complete:  # whatever follows is ignored, as after a gzip member
            return
        while True:
            output = stream.process(data, output_buffer_limit=_PIECE)
            if output:
                yield output
            self.complete = stream.is_finished()
            # After a full piece it may accept more data although it holds more output.
            if self.complete or (len(output) < _PIECE and stream.can_accept_more_data()):
                return
            data = b""

    def _in_slices(self, data: bytes) -> Iterator[bytes]:
        process = self._stream.process
        for at in range(0, len(data), _BROTLI_SLICE):
            if self.complete:
                return
            output = process(data[at : at + _BROTLI_SLICE])
            if output:
                yield output
            self.complete = self._stream.is_finished()


class _Zstd(_Codec):
    """Frames may follow each other (RFC 8878, 3)."""

    name = "zstd"

    def __init__(self) -> None:
        super().__init__()
        import zstandard

        self._error: type[Exception] = zstandard.ZstdError
        self._context = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        self._frame = self._context.decompressobj()
        self._frames = 1

    def decode(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), _ZSTD_SLICE):
            part = data[at : at + _ZSTD_SLICE]
            while part:
                if self._frame.eof:
                    self._next()
                try:
                    output = self._frame.decompress(part)
                except self._error as error:
                    raise CorruptEncoding(f"The zstd data are damaged: {error}") from None
                part = self._frame.unused_data if self._frame.eof else b""
                if output:
                    yield output
            self.complete = self._frame.eof

    def _next(self) -> None:
        self._frames += 1
        if self._frames > MAX_MEMBERS:
            raise TooLarge(f"The body has more than {MAX_MEMBERS} zstd frames")
        self._frame = self._context.decompressobj()
