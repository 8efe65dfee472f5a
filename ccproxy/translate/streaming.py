"""An answer on its way: upstream bytes -> SSE -> decoder -> filters -> encoder -> client bytes. Nothing here raises, whatever the upstream sends.

The upstream's response is read once. `reading` (of `StreamTranslator` and `Folder`) is filled in on the way with all that the ledger needs: model, usage, stop
reason, error, whether the response came to its end, whether the model's first output has arrived. It equals what `ledger.tap.UsageTap` would read from the same
bytes, so a translated response needs no tap.
"""

from __future__ import annotations

from typing import Any

from ccproxy.errors import ExchangeError, UpstreamBroken
from ccproxy.translate.answer import MALFORMED, Decoder, Encoder
from ccproxy.translate.errors import error_body, error_status
from ccproxy.translate.formats import Format
from ccproxy.translate.jsontext import Garbled, dump_bytes, parse
from ccproxy.translate.losses import Losses
from ccproxy.translate.neutral import (
    Delta,
    Error,
    Event,
    Finish,
    Part,
    PartEnd,
    Ping,
    Start,
)
from ccproxy.translate.reading import Reader, Reading
from ccproxy.translate.replay import Recorder
from ccproxy.translate.sse import SseEvent, SseParser
from ccproxy.translate.stop_sequences import StopFilter
from ccproxy.translate.stops import StopClass

Json = dict[str, Any]

UNREADABLE = "The upstream sent something that cannot be read"


class Pipeline:
    """Decoder, filters and encoder of one answer, and what passes through them."""

    __slots__ = (
        "_held",
        "_parts",
        "_started",
        "decoder",
        "encoder",
        "failed",
        "finished",
        "folding",
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
        self.folding = False
        """Only the whole answer is needed, not the stream: the pieces of a text are encoded as one."""
        self._held: dict[int, list[str]] = {}
        self._parts: dict[int, Part] = {}
        self._started = False

    @property
    def over(self) -> bool:
        """Has the client received its end, in success or in error?"""
        return self.finished or self.failed is not None

    def write(self, events: list[Event], out: list[bytes]) -> None:
        """Encode events, until the answer is over."""
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
            case PartEnd():
                self._parts[event.index] = event.part
            case Start():
                self._started = True
            case Finish():
                self.finished = True
                if self.recorder is not None and event.reason is not StopClass.STOP_SEQUENCE:
                    self.recorder.record([self._parts[index] for index in sorted(self._parts)], self.decoder.output)
            case Error():
                self.failed = event.error
            case _:
                pass

    def fail(self, error: ExchangeError) -> bytes:
        """End the answer with an error, or properly if a stop sequence has ended it. Return nothing when it is over already."""
        out: list[bytes] = []
        self._held.clear()  # an answer that failed does not need it, and it may be the part that cannot be read
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
        """A stop sequence matched that the upstream does not know: abort the upstream and call `close()`, or continue to feed for exact usage."""
        return self._pipeline.stops is not None and self._pipeline.stops.match is not None

    def feed(self, chunk: bytes) -> bytes:
        """Return bytes for the client, possibly none."""
        pipeline = self._pipeline
        out: list[bytes] = []
        self._read(self._parser.feed(chunk), out)
        if self._parser.comments != self._comments:  # the upstream's sign of life is the client's too
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
            except (Garbled, *MALFORMED):
                out.append(pipeline.fail(UpstreamBroken(UNREADABLE)))

    def feed_event(self, event: Json, name: str = "") -> bytes:
        """Translate one upstream event that is parsed already."""
        pipeline = self._pipeline
        out: list[bytes] = []
        pipeline.reader.event(event)
        if pipeline.over:
            return b""
        try:
            pipeline.write(pipeline.decoder.decode(event, name), out)
        except MALFORMED:
            out.append(pipeline.fail(UpstreamBroken(UNREADABLE)))
        return b"".join(out)

    def feed_whole(self, body: Json) -> bytes:
        """Translate a whole answer instead of a stream, and return the client's whole stream."""
        pipeline = self._pipeline
        out: list[bytes] = []
        pipeline.reader.whole(body)
        try:
            pipeline.write(pipeline.decoder.whole(body), out)
        except MALFORMED:
            out.append(pipeline.fail(UpstreamBroken(UNREADABLE)))
        return b"".join(out)

    def close(self) -> bytes:
        """The upstream has ended: return the rest. An upstream that ended early becomes the client format's error, never a proper end."""
        pipeline = self._pipeline
        out: list[bytes] = []
        self._read(self._parser.close(), out)
        if pipeline.over:
            return b"".join(out)
        try:
            pipeline.write(pipeline.decoder.flush(), out)
        except MALFORMED:
            out.append(pipeline.fail(UpstreamBroken(UNREADABLE)))
        return b"".join(out)

    def ping(self) -> bytes:
        """A sign of life in the client's format."""
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
        lost = self._request_losses.merged(self._losses).header()
        if lost:
            headers["x-ccproxy-loss"] = lost
        return status, headers, dump_bytes(self._pipeline.encoder.result())
