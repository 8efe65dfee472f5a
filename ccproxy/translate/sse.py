"""Server-sent events on bytes: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream

The parser is incremental: a chunk may end anywhere, also inside a line end or a UTF-8 sequence. CR, LF and CRLF end a line, several `data` lines are joined,
and comments, unknown fields and a byte order mark at the beginning are skipped. An event without its blank line counts only at the end of the stream, because
some servers omit the last line ends.
"""

from __future__ import annotations

SseEvent = tuple[str, str]
"""The event's name ("" if it has none) and its data."""

MAX_EVENT_BYTES = 16 * 2**20
"""Bytes of one event. The largest ones, whole responses at the end of Responses streams, have one or two million."""

_BOM = b"\xef\xbb\xbf"


class EventTooLarge(ValueError):
    """An event has more bytes than the limit."""


class SseParser:
    """Takes bytes and returns events. After an event that exceeds the limit, all further input is ignored."""

    __slots__ = ("_after_cr", "_at_start", "_broken", "_data", "_line", "_name", "_size", "comments", "limit")

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self._line = bytearray()  # the incomplete line, which grows in place
        self._data: list[str] = []
        self._size = 0  # an upper limit of the characters in the incomplete event
        self._name = ""
        self._at_start = True
        self._after_cr = False
        self._broken = False
        self.limit = limit
        self.comments = 0
        """Comment lines so far: upstreams send them to keep the connection alive."""

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """The events that this chunk completes. Raises `EventTooLarge`."""
        if self._at_start:
            chunk = self._start(chunk)
        if not chunk:
            return []
        if self._after_cr:  # the CR at the end of the last chunk may belong to a CRLF
            self._after_cr = False
            if chunk[0] == 10:
                chunk = chunk[1:]
        if b"\r" in chunk:
            self._after_cr = chunk[-1] == 13
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        end = chunk.rfind(b"\n") + 1
        if not end:
            self._line += chunk
            if len(self._line) > self.limit:
                raise self._too_large()
            return []
        if self._line:
            self._line += chunk[:end]
            text = self._line.decode("utf-8", "replace")
            self._line.clear()
        else:
            text = chunk[:end].decode("utf-8", "replace")
        if end != len(chunk):
            self._line += chunk[end:]
        events = self._lines(text.split("\n"))
        if self._data:  # an incomplete event
            self._measure(len(text), new=bool(events))
        return events

    def _measure(self, length: int, *, new: bool) -> None:
        """Limit the incomplete event. The estimate is all text since its beginning, so that complete events cost nothing."""
        self._size = length if new else self._size + length
        if self._size > self.limit:
            self._size = sum(map(len, self._data)) + len("data: \n") * len(self._data)
            if self._size > self.limit:
                raise self._too_large()

    def _start(self, chunk: bytes) -> bytes:
        """The first bytes without a byte order mark: none if they may be the beginning of one, or after an event that exceeds the limit."""
        if self._broken:
            return b""
        chunk = bytes(self._line) + chunk
        self._line.clear()
        if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
            self._line += chunk
            return b""
        self._at_start = False
        return chunk.removeprefix(_BOM)

    def _lines(self, lines: list[str]) -> list[SseEvent]:
        events: list[SseEvent] = []
        lines.pop()  # the text after the last line end: empty
        for line in lines:
            if not line:
                if self._data:
                    events.append((self._name, self._data[0] if len(self._data) == 1 else "\n".join(self._data)))
                    self._data = []
                self._name = ""
            elif line.startswith("data:"):
                self._data.append(line[6:] if line.startswith(" ", 5) else line[5:])
            elif line.startswith("event:"):
                self._name = line[7:] if line.startswith(" ", 6) else line[6:]
            elif line[0] == ":":
                self.comments += 1
            elif line == "data":
                self._data.append("")
        return events

    def _too_large(self) -> EventTooLarge:
        self._broken = self._at_start = True  # so that `feed` needs to check only one flag
        self._line.clear()
        self._data = []
        return EventTooLarge(f"The upstream sent an event of more than {self.limit} bytes")

    def close(self) -> list[SseEvent]:
        """The stream has ended: return the last event if it has no blank line. Raises `EventTooLarge`."""
        return self.feed(b"\n\n") if self._line or self._data else []


def frame(name: str, data: bytes) -> bytes:
    """The bytes of an event. `data` has to be one line, as compact JSON is."""
    if name:
        return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
    return b"data: " + data + b"\n\n"


PING_COMMENT = b": ping\n\n"
