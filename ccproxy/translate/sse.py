"""Server-sent events on bytes: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream

Incremental: a chunk may end anywhere, inside a line end or a UTF-8 sequence too. CR, LF and CRLF end lines, several `data` lines are one text, comments
and unknown fields are skipped, a byte order mark is skipped once. An event without its closing blank line is
an event only when the stream ends there: some servers leave the last line ends out.
"""

from __future__ import annotations

SseEvent = tuple[str, str]
"""The event's name ("" when it has none) and its data."""

_BOM = b"\xef\xbb\xbf"


class SseParser:
    """Feed it bytes, get events."""

    __slots__ = ("_after_cr", "_at_start", "_data", "_held", "_name", "comments")

    def __init__(self) -> None:
        self._held: list[bytes] = []  # the begun line, in pieces: joined once, however many chunks it takes
        self._data: list[str] = []
        self._name = ""
        self._at_start = True
        self._after_cr = False
        self.comments = 0
        """Comment lines seen: an upstream's sign of life."""

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """The events that this chunk completes."""
        if not chunk:
            return []
        if self._at_start:
            chunk = b"".join(self._held) + chunk
            self._held.clear()
            if len(chunk) < 3 and _BOM.startswith(chunk):
                self._held.append(chunk)
                return []
            self._at_start = False
            chunk = chunk.removeprefix(_BOM)
        if self._after_cr:  # the CR that ended the last chunk may have been half of a CRLF
            self._after_cr = False
            if chunk[0] == 10:
                chunk = chunk[1:]
        if b"\r" in chunk:
            self._after_cr = chunk[-1] == 13
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        end = chunk.rfind(b"\n") + 1
        if not end:
            self._held.append(chunk)
            return []
        if self._held:
            self._held.append(chunk[:end])
            text = b"".join(self._held)
            self._held.clear()
        else:
            text = chunk[:end]
        if end != len(chunk):
            self._held.append(chunk[end:])
        return self._lines(text.decode("utf-8", "replace").split("\n"))

    def _lines(self, lines: list[str]) -> list[SseEvent]:
        events: list[SseEvent] = []
        lines.pop()  # what split leaves after the last line end: nothing
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

    def close(self) -> list[SseEvent]:
        """The stream is over: the event that was begun and lacks its blank line, if there is one."""
        return self.feed(b"\n\n") if self._held or self._data else []


def frame(name: str, data: bytes) -> bytes:
    """One event. `data` is one line, as compact JSON always is."""
    if name:
        return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
    return b"data: " + data + b"\n\n"


PING_COMMENT = b": ping\n\n"
