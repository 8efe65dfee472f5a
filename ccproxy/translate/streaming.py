"""The translation of an answer: upstream bytes -> SSE -> decoder -> filters -> encoder -> client bytes. No input from an upstream raises an exception here.

The upstream's response is read once. `reading` (of `StreamTranslator` and `Folder`) is filled in on the way with all that the ledger needs: model, usage, stop
reason, error, whether the response came to its end, whether the model's first output has arrived. It equals what `ledger.tap.UsageTap` would read from the same
bytes, so a translated response needs no tap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ccproxy.errors import ExchangeError, InternalError, UpstreamBroken
from ccproxy.translate.answer import MALFORMED, Decoder, Encoder
from ccproxy.translate.errors import error_body, error_status
from ccproxy.translate.formats import Format
from ccproxy.translate.jsontext import Garbled, dump_bytes, parse
from ccproxy.translate.losses import Losses
from ccproxy.translate.neutral import (
    Annotate,
    Delta,
    Error,
    Event,
    Finish,
    Part,
    PartEnd,
    PartStart,
    Ping,
    Start,
)
from ccproxy.translate.reading import Reader, Reading
from ccproxy.translate.replay import Recorder
from ccproxy.translate.sse import EventTooLarge, SseEvent, SseParser
from ccproxy.translate.stop_sequences import StopFilter
from ccproxy.translate.stops import StopClass

Json = dict[str, Any]

UNREADABLE = "The upstream sent something that ccproxy cannot read"

CHECKED_BYTES: Final = 64 * 2**20
"""Bytes of an upstream's stream after which its state is released or measured. The longest answers of models have about 40 million."""
MAX_TEXT: Final = 32 * 2**20
"""Characters of an answer that is needed whole. The longest answers have one or two million."""
MAX_PARTS: Final = 100_000
"""Parts of an answer, and citations."""


class _TooLarge(Exception):
    """The answer exceeds a limit."""


class _NotRecorded(Exception):
    """The answer could not be stored for replay."""


_FAILURES = (Garbled, _TooLarge, _NotRecorded, *MALFORMED)


def _explained(failure: Exception) -> ExchangeError:
    """The error for the client."""
    match failure:
        case _TooLarge() | EventTooLarge():
            return UpstreamBroken(str(failure))
        case _NotRecorded():
            return InternalError("ccproxy could not store this answer for later requests. See its log for details")
        case _:
            return UpstreamBroken(UNREADABLE)


class Pipeline:
    """The decoder, filters and encoder of one answer."""

    __slots__ = (
        "_checks",
        "_citations",
        "_held",
        "_parts",
        "_started",
        "_text",
        "decoder",
        "encoder",
        "failed",
        "finished",
        "folding",
        "over",
        "reader",
        "recorder",
        "stops",
    )

    def __init__(
        self,
        decoder: Decoder,
        encoder: Encoder,
        reader: Reader,
        stops: StopFilter | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self.decoder = decoder
        self.encoder = encoder
        self.reader = reader
        self.stops = stops
        self.recorder = recorder
        self.finished = False
        self.failed: ExchangeError | None = None
        self.over = False
        """The client has received its end, in success or in error."""
        self.folding = False
        """Only the whole answer is needed, not the stream: the pieces of a text are encoded as one."""
        self._held: dict[int, list[str]] = {}
        self._parts: dict[int, Part] = {}
        self._started = False
        self._text = 0  # characters in finished parts
        self._checks = 0
        self._citations = 0

    def write(self, events: list[Event], out: list[bytes]) -> None:
        """Encode events until the answer ends."""
        stops = self.stops
        if stops is not None:
            events = [passed for event in events for passed in stops.feed(event)]
        for event in events:
            if type(event) is Delta:
                if self.folding:
                    self._held.setdefault(event.index, []).append(event.text)
                    continue
            else:
                if self._held:
                    for index, texts in self._held.items():
                        self.encoder.encode(Delta(index, "".join(texts)))
                    self._held.clear()
                if not self._started and not isinstance(event, Start | Error | Ping):
                    out.append(self.encoder.encode(Start()))  # a server that omits the first event
                    self._started = True
                self._note(event)
            data = self.encoder.encode(event)
            if data:
                out.append(data)

    def _note(self, event: Event) -> None:
        match event:
            case PartStart():
                if event.index >= MAX_PARTS:
                    raise _TooLarge(f"The upstream's answer has more than {MAX_PARTS} parts")
            case Annotate():
                self._citations += 1
                if self._citations > MAX_PARTS:
                    raise _TooLarge(f"The upstream's answer has more than {MAX_PARTS} citations")
            case PartEnd():
                self._text += len(event.part.text)
                if self.recorder is not None:
                    self._parts[event.index] = event.part
            case Start():
                self._started = True
            case Finish():
                if self.recorder is not None and event.reason is not StopClass.STOP_SEQUENCE:
                    self._record(self.recorder)
                self.finished = self.over = True
            case Error():
                self.failed, self.over = event.error, True
            case _:
                pass

    def _record(self, recorder: Recorder) -> None:
        try:
            recorder.record([self._parts[index] for index in sorted(self._parts)], self.decoder.output)
        except Exception as error:  # of any kind: else the stream would lack its last event
            recorder.report(error)
            raise _NotRecorded from error

    def reduce(self) -> None:
        """Limit the memory for a long answer. To be called once per `CHECKED_BYTES` of the upstream's stream.

        State that only a replay needs is released, so a stream may have any length. An answer that is needed whole has a limit: Responses clients receive it
        in the last event.
        """
        self._checks += 1
        self._parts.clear()
        self.recorder = None
        if not self.encoder.keeps and self.decoder.shed():
            if self.stops is not None:
                self.stops.shed()
        elif self._checks > 1 or self._text + self.decoder.length() > MAX_TEXT:
            raise _TooLarge(f"The upstream's answer is larger than {MAX_TEXT // 2**20} MiB")

    def fail(self, error: ExchangeError) -> bytes:
        """End the answer with an error, or properly if a stop sequence has ended it. Return nothing when it is over already."""
        out: list[bytes] = []
        self._held.clear()  # not needed any more, and perhaps the part that cannot be read
        if not self.over:
            self.write([Error(error)], out)
        return b"".join(out)


class StreamTranslator:
    """Turns the upstream's SSE bytes into the client's."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.reading: Reading = pipeline.reader.reading
        """What the upstream's response reports about itself, up to date after every `feed`."""
        self._pipeline = pipeline
        self._parser = SseParser()
        self._comments = 0
        self._unchecked = 0
        self._given_up = False

    @property
    def finished(self) -> bool:
        """The client has its proper end. Further input is read for `reading` only."""
        return self._pipeline.finished

    @property
    def failed(self) -> ExchangeError | None:
        """The error in which the stream ended; the client has received it."""
        return self._pipeline.failed

    @property
    def stopped(self) -> bool:
        """The upstream need not continue: abort it and call `close()`, or continue to feed for exact usage.

        Either ccproxy found a stop sequence, or the rest of the stream cannot be translated.
        """
        return self._given_up or (self._pipeline.stops is not None and self._pipeline.stops.match is not None)

    def feed(self, chunk: bytes) -> bytes:
        """Return bytes for the client, possibly none."""
        pipeline = self._pipeline
        out: list[bytes] = []
        self._unchecked += len(chunk)
        try:
            events = self._parser.feed(chunk)
            if self._unchecked > CHECKED_BYTES and not pipeline.over:
                self._unchecked = 0
                pipeline.reduce()
        except (EventTooLarge, _TooLarge) as error:
            self._give_up(error, out)
            return b"".join(out)
        self._read(events, out)
        if self._parser.comments != self._comments:  # the upstream keeps the connection alive
            self._comments = self._parser.comments
            if not out and not pipeline.over:
                return pipeline.encoder.ping()
        return b"".join(out)

    def _read(self, events: list[SseEvent], out: list[bytes]) -> None:
        pipeline = self._pipeline
        reader = pipeline.reader
        for name, data in events:
            if not data:
                continue
            try:
                if data == "[DONE]":
                    reader.done()
                    if not pipeline.over:
                        pipeline.write(pipeline.decoder.done(), out)
                    continue
                event = parse(data)
                reader.event(event)
                if not pipeline.over:
                    pipeline.write(pipeline.decoder.decode(event, name), out)
            except _FAILURES as error:
                self._give_up(error, out)

    def _give_up(self, failure: Exception, out: list[bytes]) -> None:
        """End the client's stream in an error, because the rest of the upstream's cannot be translated."""
        self._given_up = True
        out.append(self._pipeline.fail(_explained(failure)))

    def feed_event(self, event: Json, name: str = "") -> bytes:
        """Translate one upstream event that is parsed already."""
        pipeline = self._pipeline
        pipeline.reader.event(event)
        return b"" if pipeline.over else self._written(pipeline.decoder.decode, event, name)

    def feed_whole(self, body: Json) -> bytes:
        """Translate a whole answer instead of a stream, and return the client's whole stream."""
        self._pipeline.reader.whole(body)
        return self._written(self._pipeline.decoder.whole, body)

    def close(self) -> bytes:
        """The upstream has ended: return the rest. An upstream that ended early becomes the client format's error, never a proper end."""
        pipeline = self._pipeline
        out: list[bytes] = []
        try:
            self._read(self._parser.close(), out)
        except EventTooLarge as error:
            self._give_up(error, out)
        if not pipeline.over:
            out.append(self._written(pipeline.decoder.flush))
        return b"".join(out)

    def _written(self, decode: Callable[..., list[Event]], *args: object) -> bytes:
        """The client's bytes for the events of one step of the decoder."""
        out: list[bytes] = []
        try:
            self._pipeline.write(decode(*args), out)
        except _FAILURES as error:
            self._give_up(error, out)
        return b"".join(out)

    def ping(self) -> bytes:
        """An event of the client's format that keeps the connection alive."""
        return self._pipeline.encoder.ping()

    def fail(self, error: ExchangeError) -> bytes:
        """The exchange failed mid-stream: return the client format's error event, or nothing if the stream has ended already."""
        return self._pipeline.fail(error)


class Folder:
    """Folds an upstream's SSE bytes into one whole answer in the client's format."""

    def __init__(self, client: Format, pipeline: Pipeline, request_losses: Losses, losses: Losses) -> None:
        self.reading: Reading = pipeline.reader.reading
        """What the upstream's response reports about itself."""
        self._client = client
        self._pipeline = pipeline
        pipeline.folding = True
        self._stream = StreamTranslator(pipeline)
        self._request_losses = request_losses
        self._losses = losses

    @property
    def failed(self) -> ExchangeError | None:
        """The error because of which there is no whole answer."""
        return self._pipeline.failed

    @property
    def stopped(self) -> bool:
        """A stop sequence matched: the upstream may be aborted."""
        return self._stream.stopped

    def feed(self, chunk: bytes) -> None:
        """Read more of the upstream's stream."""
        self._stream.feed(chunk)

    def feed_event(self, event: Json, name: str = "") -> None:
        """Read one upstream event that is parsed already."""
        self._stream.feed_event(event, name)

    def feed_whole(self, body: Json) -> None:
        """Read a whole answer instead of a stream."""
        self._stream.feed_whole(body)

    def fail(self, error: ExchangeError) -> None:
        """The exchange failed."""
        self._pipeline.fail(error)

    def result(self, status: int = 200) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers to add, body. An answer that failed or did not come to its end becomes the client format's error."""
        self._stream.close()
        headers = {"content-type": "application/json"}
        error = self._pipeline.failed
        if error is not None:
            headers.update(error.headers)
            return error_status(self._client, error), headers, error_body(self._client, error)
        losses = self._request_losses.merged(self._losses).header()
        if losses:
            headers["x-ccproxy-loss"] = losses
        return status, headers, dump_bytes(self._pipeline.encoder.result())
