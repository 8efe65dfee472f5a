"""Reads model, usage and stop reason of a native response while its bytes pass by. Pure, sans-io.

The tap sees the bytes as they are on the wire and returns nothing: it can neither change nor delay them, and it never raises.

It does not parse every event. An event matters when its data has one of a few keys or type names, and those can be found with `bytes.find` (a quarter of the
cost of `in`): inside a JSON string a quote is always escaped, so the bytes `"usage"` are a whole JSON string, either a key or a value with exactly this text.
Only such events are parsed, and then read by their place in the object (`translate.reading`): text that looks alike costs time, never a wrong count. (No
server escapes the letters of its own key names.)
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import orjson

from ccproxy.content_encoding import MAX_OUTPUT_PER_FEED, ContentDecoder, UnknownEncoding
from ccproxy.translate.formats import Format
from ccproxy.translate.labels import label
from ccproxy.translate.reading import Reading, reader

MAX_EVENT: Final = 16 << 20
"""The most bytes of one event that are held; larger events are skipped."""
MAX_BODY: Final = 64 << 20
"""The most bytes of a whole body that are held, once decompressed."""

_HEAD = 4096
"""An unfinished event of this many bytes is examined: one that cannot matter is no longer held."""


class UsageTap:
    """Watches one response.

        tap = UsageTap(Format.ANTHROPIC, "text/event-stream", "gzip")
        tap.feed(chunk)           # for every chunk of the body as it is on the wire
        reading = tap.finish()    # once, however the response ended

    Memory is bounded: the tap skips an SSE event of more than `max_event` bytes, and goes blind for a whole body of more than `max_body` bytes and for a body
    that decompresses to more than the limits of `ccproxy.content_encoding`. `reading.problem` says so then.
    """

    def __init__(
        self,
        fmt: Format,
        content_type: str = "",
        content_encoding: str = "",
        *,
        max_event: int = MAX_EVENT,
        max_body: int = MAX_BODY,
    ) -> None:
        self._reader = reader(fmt)
        self.reading = self._reader.reading
        """What is known so far."""
        self._filter = _FILTERS[fmt]
        self._tail = b""  # the unfinished event, while it is small
        self._large = False  # it is large: it is in `_held`, unless it is being skipped
        self._held = bytearray()  # a large event, or a whole body
        self._skipping = False
        self._cr = False  # the last byte was a CR: an LF that follows is part of the same line end
        self._lf = False  # in a large event: the last byte was an LF
        self._max_event = max_event
        self._max_body = max_body
        self._decoder: ContentDecoder | None = None
        kind = content_type.partition(";")[0].strip().lower()
        if kind == "text/event-stream":
            self._body = self._sse_start
        elif kind == "application/json" or kind.endswith("+json"):
            self._body = self._whole
        else:  # the Codex backend has been seen to leave it out
            self._body = self._sniff
        try:
            decoder = ContentDecoder(content_encoding, feed_limit=MAX_OUTPUT_PER_FEED)
            self._decoder = decoder if decoder.encoded else None
        except UnknownEncoding as unknown:
            self.reading.problem = f"unknown content-encoding {unknown}"
            self._body = self._ignore
        self._step = self._body if self._decoder is None else self._compressed

    @property
    def held(self) -> int:
        """Bytes of the response that are kept until they can be read."""
        return len(self._held) + len(self._tail)

    def feed(self, chunk: bytes) -> None:
        """Read the next bytes of the body. Never raises."""
        try:
            self._step(chunk)
        except Exception as error:  # noqa: BLE001 - runs inside the stream of a response, which no defect of the accounting may break
            self._give_up(f"{type(error).__name__}: {error}")

    @property
    def saw_output(self) -> bool:
        """The model's first output has passed by."""
        return self.reading.saw_output

    def finish(self) -> Reading:
        """End the response and return what is known of it. Never raises.

        A whole body of many MB takes tens of milliseconds: call this off the event loop then.
        """
        try:
            rest, self._held = self._held, bytearray()
            if self._body == self._whole:
                self._read_whole(rest)
            elif not self._skipping:
                self._read_events(bytes(rest) + self._tail)  # some servers leave out the last blank line
        except Exception as error:  # noqa: BLE001 - as above
            self._give_up(f"{type(error).__name__}: {error}")
        self._step = self._body = self._ignore
        return self.reading

    # The steps of `feed`: `_body` is the current one.

    def _compressed(self, chunk: bytes) -> None:
        assert self._decoder is not None
        for piece in self._decoder.pieces(chunk):
            self._body(piece)

    def _sniff(self, data: bytes) -> None:
        first = data.lstrip()[:1]
        if first:
            self._become(self._whole if first in b"{[" else self._sse_start if first in b"deir:\xef" else self._ignore)
            self._body(data)

    def _sse_start(self, data: bytes) -> None:
        """Remove a byte order mark (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream)."""
        data = self._tail + data
        if data in {b"", b"\xef", b"\xef\xbb"}:
            self._tail = data
            return
        self._tail = b""
        self._become(self._sse)
        self._sse(data.removeprefix(b"\xef\xbb\xbf"))

    def _sse(self, data: bytes) -> None:
        if self._cr or data.find(b"\r") >= 0:
            data = self._line_ends(data)
        if self._large:
            data = self._end_of_large(data)
        elif self._tail:
            data = self._tail + data
            self._tail = b""
        if not data.endswith(b"\n\n"):
            cut = data.rfind(b"\n\n") + 2
            if cut < 2:
                cut = 0
            self._tail = data[cut:]
            if len(data) - cut > _HEAD:
                self._begin_large()
            if not cut:
                return
            data = data[:cut]
        if not self.reading.saw_output or self._filter.matters(data):
            self._read_events(data)

    def _whole(self, data: bytes) -> None:
        if len(self._held) + len(data) > self._max_body:
            self._give_up(f"body of more than {self._max_body} bytes")
        else:
            self._held += data

    def _ignore(self, data: bytes) -> None:
        pass

    def _become(self, step: Any) -> None:
        self._body = step
        if self._decoder is None:
            self._step = step

    def _give_up(self, problem: str) -> None:
        self.reading.problem = label(problem)
        self._held = bytearray()
        self._tail = b""
        self._body = self._step = self._ignore

    # Framing

    def _line_ends(self, data: bytes) -> bytes:
        """Return the data with every line end as one LF: CR and CRLF are line ends too."""
        if self._cr and data.startswith(b"\n"):
            data = data[1:]
            self._cr = False
            if not data:
                return data
        self._cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _begin_large(self) -> None:
        """The unfinished event has grown: from here on its parts are appended, not searched again with every chunk."""
        head, self._tail = self._tail, b""
        self._large = True
        self._lf = head.endswith(b"\n")
        self._skipping = self.reading.saw_output and not self._filter.may_matter(head)
        self._held = bytearray() if self._skipping else bytearray(head)

    def _end_of_large(self, data: bytes) -> bytes:
        """Hold or skip more of a large event. Return the data to read once its end has arrived, else nothing."""
        if self._lf and data.startswith(b"\n"):
            end = 1
        else:
            end = data.find(b"\n\n") + 2
            if end < 2:
                self._lf = data.endswith(b"\n") if data else self._lf
                if not self._skipping and len(self._held) + len(data) > self._max_event:
                    self.reading.problem = f"event of more than {self._max_event} bytes"
                    self._skipping = True
                    self._held = bytearray()
                elif not self._skipping:
                    self._held += data
                return b""
        data = data[end:] if self._skipping else bytes(self._held) + data
        self._large = self._skipping = False
        self._held = bytearray()
        return data

    def _read_events(self, data: bytes) -> None:
        for event in data.split(b"\n\n"):
            if not event or (self.reading.saw_output and not self._filter.matters(event)):
                continue
            payload = _payload(event)
            if payload == b"[DONE]":
                self._reader.done()
                continue
            value = _parse(payload)
            if isinstance(value, dict):
                self._reader.event(value)

    def _read_whole(self, body: bytearray) -> None:
        value = _parse(body)
        if isinstance(value, dict):
            self._reader.whole(value)


def _payload(event: bytes) -> bytes:
    data = [
        line[6:] if line.startswith(b"data: ") else line[5:] for line in event.split(b"\n") if line.startswith(b"data:")
    ]
    return data[0] if len(data) == 1 else b"\n".join(data)


def _parse(data: bytes | bytearray) -> object:
    try:
        return orjson.loads(data)
    except ValueError:
        pass  # a lone surrogate, for instance, which the standard library reads
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


class _Filter:
    """Finds the events of one format that its reader has to see. May err only towards finding too many."""

    _TYPED = re.compile(rb'(?:event:[^\n]*\n)?data: ?\{"type": ?"([^"\\]+)"')
    _NAMES: tuple[bytes, ...] = ()

    def matters(self, data: bytes) -> bool:
        """Could these events hold something to read?"""
        find = data.find
        return any(find(name) >= 0 for name in self._NAMES)

    def may_matter(self, head: bytes) -> bool:
        """Could the event that begins like this? False when its type comes first and is of no interest."""
        typed = self._TYPED.match(head)
        return typed is None or self.matters(b'"%b"' % typed[1])


class _MessagesFilter(_Filter):
    def matters(self, data: bytes) -> bool:  # written out: this runs for every chunk
        find = data.find
        return (
            find(b'"message_delta"') >= 0
            or find(b'"message_stop"') >= 0
            or find(b'"error"') >= 0
            or find(b'"message_start"') >= 0
        )


class _ChatFilter(_Filter):
    def matters(self, data: bytes) -> bool:
        return (
            _more_than_null(data, b'"usage"', b'"usage":null', b'"usage": null')
            or _more_than_null(data, b'"finish_reason"', b'"finish_reason":null', b'"finish_reason": null')
            or data.find(b'"error"') >= 0
            or data.find(b"[DONE]") >= 0
        )

    def may_matter(self, head: bytes) -> bool:  # noqa: ARG002 - the beginning of a chunk says nothing about its end
        return True


def _more_than_null(data: bytes, key: bytes, compact: bytes, spaced: bytes) -> bool:
    """Does a key have any value but null? Most chunks have null there."""
    count = data.count(key)
    return count > 0 and count != data.count(compact) and count != data.count(spaced)


class _ResponsesFilter(_Filter):
    def matters(self, data: bytes) -> bool:
        find = data.find
        return (
            find(b'"response.completed"') >= 0
            or find(b'"error"') >= 0
            or find(b'_call"') >= 0  # the type of an output item that is a call
            or find(b'"response.incomplete"') >= 0
            or find(b'"response.failed"') >= 0
            or find(b'"response.cancelled"') >= 0
            or find(b'"response.created"') >= 0
            or find(b'"codex.rate_limits"') >= 0
        )

    def may_matter(self, head: bytes) -> bool:
        return super().may_matter(head) or (
            head.find(b'_call"') >= 0 and head.find(b'"response.output_item.done"') >= 0
        )


_FILTERS: dict[Format, _Filter] = {
    Format.ANTHROPIC: _MessagesFilter(),
    Format.OPENAI_CHAT: _ChatFilter(),
    Format.OPENAI_RESPONSES: _ResponsesFilter(),
}
