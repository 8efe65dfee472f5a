"""Bodies of HTTP/1 messages: where each ends. No I/O.

A reader is fed what comes and returns what of it is the body; what follows the end of the body it gives back. It keeps nothing but a part of one line,
and takes time that is linear in the bytes, however few come at a time and however small the chunks are. h11's readers, which mitmproxy uses, accept
any two bytes for the end of a chunk up to 0.14 (CVE-2025-43859), wait for trailers and chunk extensions without a limit, and make objects of each chunk.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from ccproxy.addons.transport.http1_heads import Framing, Malformed, check_trailer

MAX_CHUNK_LINE: Final = 1024
"""Bytes of a chunk's size and extensions, of which no known sender makes use."""
MAX_EXTENSIONS: Final = 16 * 1024
"""Bytes of extensions that a body may have in excess of its data: as in Go, where each chunk pays 16 bytes and twice its size of that back
(https://github.com/golang/go/blob/master/src/net/http/internal/chunked.go)."""
MAX_TRAILERS: Final = 8 * 1024
"""Bytes of a trailer section, which is checked and dropped: nothing in this field uses one."""

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})\r\n")
_NEXT = re.compile(rb"\r\n([0-9A-Fa-f]{1,16})\r\n")
# https://www.rfc-editor.org/rfc/rfc9112#section-7.1.1, without the blanks that it calls "bad whitespace"
_NAME = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})((?:;" + _NAME + rb"(?:=(?:" + _NAME + rb"|" + _QUOTED + rb"))?)*)\r\n")


class BodyReader(Protocol):
    """Finds the end of a body."""

    error: Malformed | None
    """Set once the body is malformed. What came before that has been returned."""

    def read(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Return the part of the body that has come, and what follows its end: None as long as that has not come."""
        ...

    def end(self) -> None:
        """Take note that the connection has ended.

        Raises:
            Malformed: the body is not whole.

        """
        ...


def reader_for(framing: Framing) -> BodyReader:
    """Return a reader for a body that ends so."""
    if framing == "chunked":
        return ChunkedReader()
    return ReadUntilClose() if framing == "until close" else LengthReader(framing)


class LengthReader:
    """A body of known size."""

    error: Malformed | None = None

    def __init__(self, size: int) -> None:
        self._size = self._left = size

    def read(self, data: bytes) -> tuple[bytes, bytes | None]:
        left = self._left
        if len(data) < left:
            self._left = left - len(data)
            return data, None
        self._left = 0
        return (data, b"") if len(data) == left else (data[:left], data[left:])

    def end(self) -> None:
        raise Malformed(f"it ended after {self._size - self._left} of {self._size} bytes of its body")


class ReadUntilClose:
    """A body that ends with the connection."""

    error: Malformed | None = None

    def read(self, data: bytes) -> tuple[bytes, bytes | None]:
        return data, None

    def end(self) -> None:
        """The body is whole, as far as anyone can tell."""


class ChunkedReader:
    """A body in chunks."""

    error: Malformed | None = None

    def __init__(self) -> None:
        self._chunk_left = 0
        """Bytes of the current chunk that are still to come."""
        self._after_chunk = False
        """The line end of a chunk is still to come."""
        self._partial = b""
        """The beginning of a line whose end has not come."""
        self._extensions = 0
        self._trailers: int | None = None
        """Bytes of trailers so far, once the last chunk has come."""

    def read(self, data: bytes) -> tuple[bytes, bytes | None]:
        if self._partial:
            data, self._partial = self._partial + data, b""
        pieces: list[bytes] = []
        try:
            rest = self._take(data, pieces)
        except Malformed as error:
            self.error, rest = error, None
        return (pieces[0] if len(pieces) == 1 else b"".join(pieces)), rest

    def end(self) -> None:
        raise Malformed("it ended before its last chunk")

    def _take(self, data: bytes, pieces: list[bytes]) -> bytes | None:
        """Append the data of chunks to `pieces`; return what follows the body, once its end has come."""
        at = 0
        while self._trailers is None:
            if self._chunk_left:
                piece = data[at : at + self._chunk_left]
                if not piece:
                    return None
                pieces.append(piece)
                at += len(piece)
                self._chunk_left -= len(piece)
                if self._chunk_left:
                    return None
                self._after_chunk = True
            match = (_NEXT if self._after_chunk else _SIZE).match(data, at)
            if match:
                self._after_chunk = False
                self._chunk_left = int(match[1], 16)
                at = match.end()
            elif (at := self._take_size(data, at)) < 0:
                return None
            if not self._chunk_left:
                self._trailers = 0
        return self._take_trailers(data, at)

    def _take_size(self, data: bytes, at: int) -> int:
        """Read a chunk's line that has extensions, is malformed, or has not come whole. Returns the position after it, -1 in the last case."""
        if self._after_chunk:
            end = data[at : at + 2]
            if not b"\r\n".startswith(end):
                raise Malformed("a chunk does not end with CRLF")
            if len(end) < 2:
                self._partial = end
                return -1
            self._after_chunk = False
            at += 2
        line = self._line(data, at, MAX_CHUNK_LINE, "the line of a chunk is too long")
        if line is None:
            return -1
        match = _LINE.fullmatch(line)
        if match is None:
            raise Malformed("the size of a chunk is malformed")
        self._chunk_left = int(match[1], 16)
        # The size is known before the data has come: what it pays back is no more than what the sender has to send.
        self._extensions = max(0, self._extensions + len(match[2]) - 16 - 2 * self._chunk_left)
        if self._extensions > MAX_EXTENSIONS:
            raise Malformed("it has too many chunk extensions")
        return at + len(line)

    def _take_trailers(self, data: bytes, at: int) -> bytes | None:
        assert self._trailers is not None
        while (line := self._line(data, at, MAX_TRAILERS, "its trailers are too large")) is not None:
            at += len(line)
            if line == b"\r\n":
                return data[at:]
            self._trailers += len(line)
            if self._trailers > MAX_TRAILERS:
                raise Malformed("its trailers are too large")
            if not line.endswith(b"\r\n"):
                raise Malformed("a line does not end with CRLF")
            check_trailer(line[:-2])
        return None

    def _line(self, data: bytes, at: int, limit: int, message: str) -> bytes | None:
        """The line that begins here, with its end; None if that has not come, and it is kept."""
        end = data.find(b"\n", at, at + limit)
        if end >= 0:
            return data[at : end + 1]
        if len(data) - at >= limit:
            raise Malformed(message)
        self._partial = data[at:]
        return None
