"""Decodes and redacts the messages of all exchanges, once for everything that stores or shows them, in a thread of its own.

The event loop hands over headers and chunks as they pass, which takes microseconds. The thread decodes a compressed body,
because what cannot be read cannot be redacted, redacts it chunk by chunk, and passes the result to the exchange's sinks:
the raw HTTP log, mitmweb, recordings. So no body is redacted twice, none is redacted on the event loop, and an exchange
that hangs can be read while it hangs.

Everything is bounded: the bytes that wait for the thread, what one body may decode to, and what each sink keeps.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from ccproxy.content_encoding import ContentDecoder, ContentEncodingError, UnknownEncoding
from ccproxy.redaction import RedactedStream, Redaction

logger = logging.getLogger(__name__)

LINGER: Final = 0.1
"""Seconds for which the thread collects before it works: a thread that wakes for every chunk slows the event loop down."""
MAX_WAITING: Final = 64 << 20
"""Bytes of bodies that may wait for the thread; chunks beyond that are left out."""
_DECODED_AHEAD: Final = 64 << 20
"""Bytes that a codec may decode to beyond what the sinks take: some return large pieces."""

Fields = Iterable[tuple[str, str]]


class Message(StrEnum):
    """The four messages of an exchange, by the names of their files in the raw HTTP log."""

    CLIENT_REQUEST = "1-client-request.http"
    UPSTREAM_REQUEST = "2-upstream-request.http"
    UPSTREAM_RESPONSE = "3-upstream-response.http"
    CLIENT_RESPONSE = "4-client-response.http"


@dataclass(slots=True)
class Head:
    """The first line and the header fields of a message, redacted."""

    first_line: str
    fields: list[tuple[str, str]]
    original: object
    """An object that the watcher passed along; not redacted."""


@dataclass(slots=True, frozen=True)
class End:
    """How a message ended."""

    size: int
    """Bytes of the body, as on the wire."""
    note: str
    """`complete`, `cut` or `given up`."""
    encoding: str = ""
    """The content encoding that the body was decoded from."""
    cut: bool = False
    """The sinks were given the beginning only."""
    problem: str = ""
    """Why the body, or the rest of it, could not be decoded."""


class Sink(Protocol):
    """Takes the redacted messages of one exchange. All methods are called in the thread."""

    @property
    def room(self) -> int:
        """The most bytes of a body that it takes; it may be given more."""
        ...

    def head(self, message: Message, head: Head) -> None:
        """A message begins. A second head of the same message is another attempt."""

    def body(self, message: Message, data: bytes) -> None: ...

    def end(self, message: Message, end: End) -> None: ...

    def close(self) -> None:
        """The exchange is over. Always called, also for a sink of which a method has raised."""


class Traffic:
    """The thread and its queue.

        traffic = Traffic(Redaction([token]), after_batch=[raw_log.flush])
        traffic.start()
        exchange = traffic.exchange([raw_log.exchange(flow.id, started)])
        exchange.head(Message.CLIENT_REQUEST, "POST /api/v1/messages HTTP/1.1", fields)
        exchange.body(Message.CLIENT_REQUEST, chunk)      # any number of times
        exchange.end(Message.CLIENT_REQUEST)
        exchange.close()                                  # messages without an end by now were cut
        traffic.close()

    Only `flush` and `close` wait; nothing raises.
    """

    def __init__(self, redaction: Redaction, *, after_batch: Sequence[Callable[[], None]] = ()) -> None:
        """`after_batch` is called in the thread, after each batch and so at most every `LINGER` seconds."""
        self._redaction = redaction
        self._after_batch = after_batch
        self._queue: deque[_Step | _Mark] = deque()
        self._some = threading.Event()
        """The queue is not empty."""
        self._urgent = threading.Event()
        """Do not linger: a caller waits."""
        self._taken = 0  # bytes handed over
        self._done = 0  # bytes that the thread has finished with
        self._thread = threading.Thread(target=self._run, name="ccproxy-traffic", daemon=True)
        self.left_out = 0
        """Bytes that arrived faster than they could be processed."""

    @property
    def started(self) -> bool:
        return self._thread.ident is not None

    def start(self) -> None:
        if not self.started:
            self._thread.start()

    def exchange(self, sinks: Iterable[Sink]) -> TrafficExchange:
        """Begin an exchange."""
        return TrafficExchange(self, list(sinks))

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until everything handed over so far has been processed. Return whether it has. Blocks: not for the event loop."""
        return self._mark(_Mark(), timeout)

    def close(self, timeout: float = 5.0) -> bool:
        """Process what is left, for `timeout` seconds at most, and end the thread. Return whether all was processed."""
        done = self._mark(_Mark(last=True), timeout)
        if not done and self.started:
            logger.warning("The last exchanges could not all be recorded within %g seconds", timeout)
        return done

    def _mark(self, mark: _Mark, timeout: float) -> bool:
        if not self._thread.is_alive():
            return False
        self._put(mark)
        self._urgent.set()
        done = mark.reached.wait(timeout)
        if done and mark.last:
            self._thread.join()
        return done

    def _put(self, step: _Step | _Mark) -> None:
        self._queue.append(step)
        if not self._some.is_set():
            self._some.set()

    def hand_over(self, step: _Step) -> bool:
        """Queue a step. False when too many bytes are waiting for this chunk."""
        size = len(step.data)
        if size:
            if self._taken - self._done > MAX_WAITING:
                self.left_out += size
                return False
            self._taken += size
        self._put(step)
        return True

    # Everything below runs in the thread.

    def _run(self) -> None:
        last = False
        while not last:
            self._some.wait()
            self._urgent.wait(LINGER)
            self._some.clear()
            self._urgent.clear()
            marks = self._process()
            last = any(mark.last for mark in marks)
            for mark in marks:
                mark.reached.set()

    def _process(self) -> list[_Mark]:
        """Process what is queued, and return the marks that were passed."""
        marks: list[_Mark] = []
        touched: dict[_Body, None] = {}
        for _ in range(len(self._queue)):
            step = self._queue.popleft()
            if isinstance(step, _Mark):
                marks.append(step)
                continue
            try:
                step.exchange.process(step, touched)
            except Exception:
                logger.exception("An exchange could not be processed")
            self._done += len(step.data)
        for body in touched:
            body.process_chunks()
        for callback in self._after_batch:
            try:
                callback()
            except Exception:
                logger.exception("Recording traffic failed")
        return marks

    def new_body(self, sinks: list[Sink], message: Message, encoding: str) -> _Body:
        return _Body(sinks, message, self._redaction.stream(), encoding)

    def redacted(self, first_line: str, fields: Fields, original: object) -> Head:
        return Head(self._redaction.text(first_line), self._redaction.headers(fields), original)


class _Mark:
    """A place in the queue: `reached` is set when everything before it has been processed."""

    def __init__(self, *, last: bool = False) -> None:
        self.reached = threading.Event()
        self.last = last


@dataclass(slots=True)
class _Step:
    """Something that happened to an exchange."""

    exchange: TrafficExchange
    message: Message | None
    """None: the exchange is over."""
    data: bytes = b""
    first_line: str = ""
    """Of a head."""
    fields: list[tuple[str, str]] = field(default_factory=list)
    original: object = None
    end: End | None = None


class TrafficExchange:
    """One exchange. Its public methods are for one thread, the event loop's; `process` runs in the traffic's own."""

    __slots__ = ("_all", "_bodies", "_full", "_room", "_sinks", "_sizes", "_traffic")

    def __init__(self, traffic: Traffic, sinks: list[Sink]) -> None:
        self._traffic = traffic
        self._all = tuple(sinks)
        self._sinks = sinks
        self._room = max((sink.room for sink in sinks), default=0)
        self._sizes: dict[Message, int] = {}  # of the messages that have begun and not ended
        self._full: set[Message] = set()
        self._bodies: dict[Message, _Body] = {}  # the thread's

    def head(self, message: Message, first_line: str, fields: Fields, original: object = None) -> None:
        """Begin a message. A second head of the same message is another attempt."""
        if message in self._sizes:
            self.end(message, "given up")
        self._sizes[message] = 0
        self._full.discard(message)
        self._traffic.hand_over(_Step(self, message, b"", first_line, list(fields), original))

    def body(self, message: Message, chunk: bytes) -> None:
        """Add the next bytes of the body, as on the wire."""
        size = self._sizes.get(message)
        if size is None or not chunk:
            return
        self._sizes[message] = size + len(chunk)
        room = self._room - size
        if room > 0 and message not in self._full:
            part = chunk if len(chunk) <= room else chunk[:room]
            if not self._traffic.hand_over(_Step(self, message, part)):
                self._full.add(message)  # a gap could hide the name that makes a value a secret

    def end(self, message: Message, note: str = "complete") -> None:
        """End a message: complete, or as `note` says."""
        size = self._sizes.pop(message, None)
        if size is not None:
            self._traffic.hand_over(_Step(self, message, end=End(size, note)))

    def close(self) -> None:
        """End the exchange."""
        for message in list(self._sizes):
            self.end(message, "cut")
        self._traffic.hand_over(_Step(self, None))

    def process(self, step: _Step, touched: dict[_Body, None]) -> None:
        """Pass a step on to the sinks; bodies that got chunks are added to `touched`, their chunks processed later, at once."""
        message = step.message
        if message is None:
            for sink in self._all:  # those that failed, too: they may hold something
                _call(self._sinks, sink, sink.close)
        elif step.data:
            if body := self._bodies.get(message):
                body.chunks.append(step.data)
                touched[body] = None
        elif step.end:
            if body := self._bodies.pop(message, None):
                touched.pop(body, None)
                body.process_chunks()
                body.finish(step.end)
        else:
            encoding = next((value for name, value in step.fields if name.lower() == "content-encoding"), "")
            self._bodies[message] = self._traffic.new_body(self._sinks, message, encoding)
            head = self._traffic.redacted(step.first_line, step.fields, step.original)
            for sink in list(self._sinks):
                _call(self._sinks, sink, lambda sink=sink: sink.head(message, head))  # type: ignore[misc]  # mypy infers no type for the default


class _Body:
    """The body of a message that has begun and not ended."""

    def __init__(self, sinks: list[Sink], message: Message, stream: RedactedStream, encoding: str) -> None:
        self._sinks = sinks
        self._message = message
        self._stream = stream
        self._encoding = encoding
        self._room = max((sink.room for sink in sinks), default=0)
        self._taken = 0  # bytes as on the wire
        self._cut = False
        self._problem = ""
        self._decoder: ContentDecoder | None = None
        self.chunks: list[bytes] = []
        """Not yet processed."""
        try:
            decoder = ContentDecoder(encoding, limit=self._room + _DECODED_AHEAD)
            self._decoder = decoder if decoder.encoded else None
        except UnknownEncoding:
            self._problem = f"not shown: nothing decodes {encoding[:40]}"

    def process_chunks(self) -> None:
        if not self.chunks:
            return
        data, self.chunks = b"".join(self.chunks), []
        self._taken += len(data)
        if self._problem or self._cut:
            return
        try:
            for piece in self._decoder.pieces(data) if self._decoder else (data,):
                if len(piece) > self._room:
                    self._cut = True
                    piece = piece[: self._room]  # noqa: PLW2901 - the loop ends here
                self._room -= len(piece)
                self._pass_on(self._stream.feed(piece))
                if self._cut:
                    break
        except ContentEncodingError as error:
            self._problem = f"not shown further: {self._encoding[:40]} fails ({type(error).__name__})"

    def finish(self, end: End) -> None:
        cut = self._cut or self._taken < end.size
        self._pass_on(self._stream.close(truncated=cut or bool(self._problem) or end.note != "complete"))
        whole = End(end.size, end.note, self._encoding if self._decoder else "", cut, self._problem)
        for sink in list(self._sinks):
            _call(self._sinks, sink, lambda sink=sink: sink.end(self._message, whole))  # type: ignore[misc]  # as above

    def _pass_on(self, data: bytes) -> None:
        if data:
            for sink in list(self._sinks):
                _call(self._sinks, sink, lambda sink=sink: sink.body(self._message, data))  # type: ignore[misc]  # as above


def _call(sinks: list[Sink], sink: Sink, action: Callable[[], None]) -> None:
    """A sink that fails is not given anything more of this exchange; the others are."""
    try:
        action()
    except Exception:
        logger.exception("A part of an exchange could not be recorded")
        if sink in sinks:
            sinks.remove(sink)
