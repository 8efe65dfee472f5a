"""Reads model, usage and stop reason off a native answer while its bytes pass by. Pure, sans-io.

The tap sees the bytes as they are on the wire and gives nothing back: it can neither alter nor delay them, and it never
raises.

It does not parse every event. An event matters when its data has one of a few keys or type names, and those can be
found with `bytes.find` (a quarter of the cost of `in`): inside a JSON string a quote is always escaped, so the bytes
`"usage"` are a whole JSON string, a key or a value that happens to say so. Only such events are parsed, and then read
by their place in the object: text that looks alike costs time, never a wrong count. (No server escapes the letters of
its own key names.)
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from ccproxy.content_encoding import MAX_OUTPUT_PER_FEED, ContentDecoder, UnknownEncoding
from ccproxy.ledger.records import StopClass, Usage
from ccproxy.ledger.usage import read_usage
from ccproxy.translate.formats import Format

Json = Mapping[str, Any]

_HEAD = 4096
"""An unfinished event of this many bytes is looked at: one that cannot matter is no longer kept."""


@dataclass(slots=True)
class Answer:
    """What the tap learned of an answer."""

    model: str | None = None
    stop_reason: str | None = None
    """The format's own word."""
    stop: StopClass | None = None
    """Where `stop_reason` alone does not tell."""
    usage: Usage | None = None
    final: bool = False
    """`usage` is the answer's last word, not the count at its start."""
    ended: bool = False
    """The answer said that it was over (in success or error): a connection that closes before was cut."""
    error_type: str | None = None
    rate_limits: Json | None = None
    """Codex's event `codex.rate_limits`, see `quota.from_codex_event`."""
    problem: str | None = None
    """Why the tap may have missed something, for the log."""


class UsageTap:
    """Watches one answer.

        tap = UsageTap(Format.ANTHROPIC, "text/event-stream", "gzip")
        tap.feed(chunk)          # for every chunk of the body as it is on the wire
        answer = tap.finish()    # once, however the answer ended

    Memory is bounded: an SSE event of more than `max_event` bytes, a whole body of more than `max_body` and a body that decompresses to more than the limits
    of `ccproxy.content_encoding` are given up. `answer.problem` says so then.
    """

    def __init__(
        self,
        fmt: Format,
        content_type: str = "",
        content_encoding: str = "",
        *,
        max_event: int = 16 << 20,
        max_body: int = 64 << 20,
    ) -> None:
        self.answer = Answer()
        self.saw_output = False
        """The model's first output has passed by."""
        self._reader = _READERS[fmt](self.answer)
        self._tail = b""  # the unfinished event, while it is small
        self._large = False  # it is large: its parts are in `_kept`, unless it is being skipped
        self._kept: list[bytes] = []  # parts of a large event, or of a whole body
        self._kept_size = 0
        self._skipping = False
        self._cr = False  # the last byte was a CR: an LF that follows belongs to it
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
            self.answer.problem = f"unknown content-encoding {unknown}"
            self._body = self._ignore
        self._step = self._body if self._decoder is None else self._compressed

    def feed(self, chunk: bytes) -> None:
        """Looks at the next bytes of the body. Never raises."""
        try:
            self._step(chunk)
        except Exception as error:  # noqa: BLE001 - runs inside the stream of an answer, which no defect of accounting may break
            self._give_up(f"{type(error).__name__}: {error}")

    def finish(self) -> Answer:
        """Ends the answer and says what was learned. Never raises.

        A whole body of many MB takes tens of milliseconds: call it off the event loop then.
        """
        try:
            rest = self._kept[0] if len(self._kept) == 1 else b"".join([*self._kept, self._tail])
            self._kept = []
            if self._body == self._whole:
                self._read_whole(rest)
            elif not self._skipping:
                self._read_events(rest)  # some servers leave out the last blank line
            self._reader.close()
        except Exception as error:  # noqa: BLE001 - as above
            self._give_up(f"{type(error).__name__}: {error}")
        self._step = self._body = self._ignore
        return self.answer

    # The steps of `feed`: one of them is current.

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
        """Takes off a byte order mark (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream)."""
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
        if not self.saw_output or self._reader.matters(data):
            self._read_events(data)

    def _whole(self, data: bytes) -> None:
        self._kept_size += len(data)
        if self._kept_size > self._max_body:
            self._give_up(f"body of more than {self._max_body} bytes")
        else:
            self._kept.append(data)

    def _ignore(self, data: bytes) -> None:
        pass

    def _become(self, step: Any) -> None:
        self._body = step
        if self._decoder is None:
            self._step = step

    def _give_up(self, problem: str) -> None:
        self.answer.problem = problem
        self._kept = []
        self._tail = b""
        self._body = self._step = self._ignore

    # Framing

    def _line_ends(self, data: bytes) -> bytes:
        """Every line end as one LF: CR and CRLF are line ends too."""
        if self._cr and data.startswith(b"\n"):
            data = data[1:]
            self._cr = False
            if not data:
                return data
        self._cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _begin_large(self) -> None:
        """The unfinished event has grown: from here on its parts are collected, not joined anew with every chunk."""
        head, self._tail = self._tail, b""
        self._large = True
        self._lf = head.endswith(b"\n")
        self._skipping = self.saw_output and not self._reader.may_matter(head)
        self._kept = [] if self._skipping else [head]
        self._kept_size = len(head)

    def _end_of_large(self, data: bytes) -> bytes:
        """Keeps or skips more of a large event. Returns what there is to read once its end has come, else nothing."""
        if self._lf and data.startswith(b"\n"):
            end = 1
        else:
            end = data.find(b"\n\n") + 2
            if end < 2:
                self._lf = data.endswith(b"\n") if data else self._lf
                self._kept_size += len(data)
                if self._kept_size > self._max_event and not self._skipping:
                    self.answer.problem = f"event of more than {self._max_event} bytes"
                    self._skipping = True
                    self._kept = []
                elif not self._skipping:
                    self._kept.append(data)
                return b""
        data = data[end:] if self._skipping else b"".join([*self._kept, data])
        self._large = self._skipping = False
        self._kept = []
        return data

    def _read_events(self, data: bytes) -> None:
        for event in data.split(b"\n\n"):
            if not event or (self.saw_output and not self._reader.matters(event)):
                continue
            payload = _payload(event)
            if payload == b"[DONE]":
                self.answer.ended = True
                continue
            value = _parse(payload)
            if isinstance(value, dict):
                if not self.saw_output:
                    self.saw_output = self._reader.is_output(value)
                self._reader.event(value)

    def _read_whole(self, body: bytes) -> None:
        value = _parse(body)
        if isinstance(value, dict):
            self._reader.whole(value)


def read_answer(fmt: Format, body: bytes) -> Answer:
    """What a whole, decoded JSON answer says; an empty Answer for anything else."""
    tap = UsageTap(fmt, "application/json")
    tap.feed(body)
    return tap.finish()


def _payload(event: bytes) -> bytes:
    data = [
        line[6:] if line.startswith(b"data: ") else line[5:] for line in event.split(b"\n") if line.startswith(b"data:")
    ]
    return data[0] if len(data) == 1 else b"\n".join(data)


def _parse(data: bytes) -> object:
    try:
        return orjson.loads(data)
    except ValueError:
        pass  # a lone surrogate, say, which the standard library reads
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


class _Reader(ABC):
    """What matters in one format."""

    _TYPED = re.compile(rb'(?:event:[^\n]*\n)?data: ?\{"type": ?"([^"\\]+)"')

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    @abstractmethod
    def matters(self, data: bytes) -> bool:
        """Whether these events could hold something to read. May err only towards True."""

    def may_matter(self, head: bytes) -> bool:
        """Whether the event that begins so could: False when its type comes first and is of no interest."""
        typed = self._TYPED.match(head)
        return typed is None or self.matters(b'"%b"' % typed[1])

    @abstractmethod
    def is_output(self, event: Json) -> bool:
        """Whether the event carries something that the model made."""

    @abstractmethod
    def event(self, event: Json) -> None: ...

    @abstractmethod
    def whole(self, body: Json) -> None: ...

    def close(self) -> None:  # noqa: B027 - only some formats have something left to say
        """The answer is over, or cut."""

    def error(self, error: object) -> None:
        """An error object of any format; `code` tells more than OpenAI's `type`."""
        self.answer.ended = True
        named = _string(error, "code") or _string(error, "type")
        self.answer.error_type = named or "error"


class _Messages(_Reader):
    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self._usage: dict[str, Any] = {}

    def matters(self, data: bytes) -> bool:
        find = data.find
        return (
            find(b'"message_delta"') >= 0
            or find(b'"message_stop"') >= 0
            or find(b'"error"') >= 0
            or find(b'"message_start"') >= 0
        )

    def is_output(self, event: Json) -> bool:
        return event.get("type") == "content_block_delta"

    def event(self, event: Json) -> None:
        kind = event.get("type")
        if kind == "message_start":
            message = _object(event, "message")
            self.answer.model = _string(message, "model")
            self._merge(message)
        elif kind == "message_delta":
            self.answer.stop_reason = _string(_object(event, "delta"), "stop_reason") or self.answer.stop_reason
            self._merge(event)
            self.answer.final = self.answer.usage is not None
        elif kind == "message_stop":
            self.answer.ended = True
        elif kind == "error":
            self.error(event.get("error"))

    def _merge(self, holder: Json) -> None:
        """The counts of a later event are cumulative and replace earlier ones; those it leaves out stay."""
        self._usage |= {name: value for name, value in _object(holder, "usage").items() if value is not None}
        self.answer.usage = read_usage(Format.ANTHROPIC, self._usage)

    def whole(self, body: Json) -> None:
        if body.get("type") == "error":
            self.error(body.get("error"))
        elif body.get("type") == "message":
            self.answer.model = _string(body, "model")
            self.answer.stop_reason = _string(body, "stop_reason")
            self._merge(body)
            self.answer.final = self.answer.ended = True


class _Chat(_Reader):
    def matters(self, data: bytes) -> bool:
        return (
            _more_than_null(data, b'"usage"', b'"usage":null', b'"usage": null')
            or _more_than_null(data, b'"finish_reason"', b'"finish_reason":null', b'"finish_reason": null')
            or data.find(b'"error"') >= 0
            or data.find(b"[DONE]") >= 0
        )

    def may_matter(self, head: bytes) -> bool:  # noqa: ARG002 - nothing at the start of a chunk tells
        return True

    def is_output(self, event: Json) -> bool:
        for choice in _objects(event, "choices"):
            delta = _object(choice, "delta")
            if any(value for name, value in delta.items() if name != "role"):
                return True
        return False

    def event(self, event: Json) -> None:
        if event.get("error"):
            self.error(event["error"])
        self._read(event)

    def whole(self, body: Json) -> None:
        if body.get("error"):
            self.error(body["error"])
        else:
            self._read(body)
            self.answer.ended = self.answer.stop_reason is not None

    def _read(self, holder: Json) -> None:
        answer = self.answer
        answer.model = _string(holder, "model") or answer.model
        usage = read_usage(Format.OPENAI_CHAT, holder.get("usage"), holder)
        if usage is not None:
            answer.usage = usage
            answer.final = True
        for choice in _objects(holder, "choices"):
            answer.stop_reason = answer.stop_reason or _string(choice, "finish_reason")

    def close(self) -> None:
        # Not every server sends `[DONE]`; usage comes only when the client asked for it.
        self.answer.ended = self.answer.ended or self.answer.stop_reason is not None


def _more_than_null(data: bytes, key: bytes, compact: bytes, spaced: bytes) -> bool:
    """Whether a key has any value but null. Most chunks say null, so this is what tells them apart."""
    count = data.count(key)
    return count > 0 and count != data.count(compact) and count != data.count(spaced)


class _Responses(_Reader):
    _CALLS = frozenset(
        {"function_call", "custom_tool_call", "local_shell_call", "shell_call", "apply_patch_call", "computer_call"}
    )

    def matters(self, data: bytes) -> bool:
        find = data.find
        return (
            find(b'"response.completed"') >= 0
            or find(b'"error"') >= 0
            or find(b'"response.incomplete"') >= 0
            or find(b'"response.failed"') >= 0
            or find(b'"response.cancelled"') >= 0
            or find(b'"response.created"') >= 0
            or find(b'"codex.rate_limits"') >= 0
        )

    def is_output(self, event: Json) -> bool:
        return str(event.get("type")).endswith(".delta")

    def event(self, event: Json) -> None:
        kind = event.get("type")
        if kind == "response.created":
            self.answer.model = _string(_object(event, "response"), "model")
        elif kind in {"response.completed", "response.incomplete", "response.failed", "response.cancelled"}:
            self._read(_object(event, "response"), str(kind).removeprefix("response."))
        elif kind == "error":
            nested = event.get("error")
            self.error(nested if isinstance(nested, dict) else {"code": event.get("code")})
        elif kind == "codex.rate_limits":
            self.answer.rate_limits = event

    def whole(self, body: Json) -> None:
        status = _string(body, "status")
        if body.get("object") == "response" and status is not None:
            self._read(body, status)
        elif body.get("error"):
            self.error(body["error"])

    def _read(self, response: Json, status: str) -> None:
        answer = self.answer
        answer.model = _string(response, "model") or answer.model
        answer.usage = read_usage(Format.OPENAI_RESPONSES, response.get("usage"), response) or answer.usage
        answer.final = answer.usage is not None
        answer.ended = True
        answer.stop_reason = status
        if status == "incomplete":
            answer.stop_reason = _string(_object(response, "incomplete_details"), "reason") or status
        elif status == "failed":
            self.error(response.get("error"))
        elif status == "completed" and any(
            _string(item, "type") in self._CALLS for item in _objects(response, "output")
        ):
            answer.stop = StopClass.TOOL_USE


_READERS: dict[Format, type[_Reader]] = {
    Format.ANTHROPIC: _Messages,
    Format.OPENAI_CHAT: _Chat,
    Format.OPENAI_RESPONSES: _Responses,
}


def _object(of: Json, name: str) -> Json:
    value = of.get(name)
    return value if isinstance(value, dict) else {}


def _objects(of: Json, name: str) -> list[Json]:
    value = of.get(name)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _string(of: object, name: str) -> str | None:
    value = of.get(name) if isinstance(of, dict) else None
    return value if isinstance(value, str) and value else None
