"""The fold of a stream of an upstream that uses the client's own format but only streams: the upstream's own last response object."""

from __future__ import annotations

from typing import Any

from ccproxy.errors import UpstreamBroken
from ccproxy.translate.answer import MALFORMED, Decoder
from ccproxy.translate.errors import error_body, error_status
from ccproxy.translate.formats import Format
from ccproxy.translate.jsontext import Garbled, dump_bytes, parse
from ccproxy.translate.losses import Losses
from ccproxy.translate.neutral import Event
from ccproxy.translate.reading import Reader
from ccproxy.translate.sse import EventTooLarge, SseEvent, SseParser
from ccproxy.translate.streaming import UNREADABLE, Folder, Pipeline

Json = dict[str, Any]


class _Silent:
    """An encoder for an answer that is only read."""

    def encode(self, event: Event) -> bytes:
        del event
        return b""

    def result(self) -> Json:
        return {}

    def ping(self) -> bytes:
        return b""

    @property
    def keeps(self) -> bool:
        return True


class NativeResponsesFolder(Folder):
    """Folds a Responses stream into its own last response object, complete with fields that the translator does not know."""

    def __init__(self, decoder: Decoder, reader: Reader, losses: Losses) -> None:
        super().__init__(Format.OPENAI_RESPONSES, Pipeline(decoder, _Silent(), reader), losses, Losses())
        self._lost = losses
        self._parser = SseParser()
        self._response: Json | None = None

    def feed(self, chunk: bytes) -> None:
        try:
            self._read(self._parser.feed(chunk))
        except EventTooLarge as error:
            self.fail(UpstreamBroken(str(error)))

    def _read(self, events: list[SseEvent]) -> None:
        for name, data in events:
            try:
                if data == "[DONE]":
                    self._pipeline.reader.done()
                elif data:
                    self.feed_event(parse(data), name)
            except (Garbled, *MALFORMED):
                self.fail(UpstreamBroken(UNREADABLE))

    def feed_event(self, event: Json, name: str = "") -> None:
        super().feed_event(event, name)
        if event.get("type", name) in ("response.completed", "response.incomplete") and isinstance(
            event.get("response"), dict
        ):
            self._response = event["response"]

    def feed_whole(self, body: Json) -> None:
        super().feed_whole(body)
        self._response = body

    def result(self, status: int = 200) -> tuple[int, dict[str, str], bytes]:
        self.feed(b"\n\n")  # an event that lacks its last line end
        self._stream.close()
        headers = {"content-type": "application/json"}
        error = self.failed
        response = self._response
        if error is None and response is None:
            error = UpstreamBroken("The upstream closed its stream before the answer was whole")
        if error is not None or response is None:
            assert error is not None
            headers.update(error.headers)
            return error_status(Format.OPENAI_RESPONSES, error), headers, error_body(Format.OPENAI_RESPONSES, error)
        lost = self._lost.header()
        if lost:
            headers["x-ccproxy-loss"] = lost
        if not response.get("output"):  # seen empty at the Codex backend: the stream's own items are the answer
            response = {**response, "output": self._pipeline.decoder.output}
        return status, headers, dump_bytes(response)
