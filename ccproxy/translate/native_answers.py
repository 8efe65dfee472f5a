"""Answers of an upstream that speaks the client's format: streams pass as they are, and a stream folds into the upstream's own last word."""

from __future__ import annotations

from typing import Any

from ccproxy.errors import ExchangeError, UpstreamBroken
from ccproxy.translate.answer import MALFORMED, Decoder
from ccproxy.translate.errors import error_body, error_event, error_status
from ccproxy.translate.formats import Format
from ccproxy.translate.jsontext import Garbled, dump_bytes, parse
from ccproxy.translate.losses import Losses
from ccproxy.translate.neutral import Event
from ccproxy.translate.sse import PING_COMMENT, SseEvent, SseParser, frame
from ccproxy.translate.streaming import Folder, Pipeline, StreamTranslator

Json = dict[str, Any]


class _Silent:
    """An encoder for answers that are only read."""

    def encode(self, event: Event) -> bytes:
        del event
        return b""

    def result(self) -> Json:
        return {}

    def ping(self) -> bytes:
        return b""


class NativeStream(StreamTranslator):
    """Bytes pass untouched, and are read on the side for usage and for a proper end."""

    def __init__(self, fmt: Format, decoder: Decoder) -> None:
        super().__init__(Pipeline(decoder, _Silent(), None, None))
        self._format = fmt

    def feed(self, chunk: bytes) -> bytes:
        super().feed(chunk)
        return chunk

    def feed_event(self, event: Json, name: str = "") -> bytes:
        super().feed_event(event, name)
        kind = name or str(event.get("type") or "")
        return frame("" if self._format is Format.OPENAI_CHAT else kind, dump_bytes(event))

    def close(self) -> bytes:
        if self._pipeline.over:
            return b""
        super().close()
        return b"" if self.failed is None else b"\n\n" + error_event(self._format, self.failed)

    def ping(self) -> bytes:
        return frame("ping", b'{"type":"ping"}') if self._format is Format.ANTHROPIC else PING_COMMENT

    def fail(self, error: ExchangeError) -> bytes:
        if self._pipeline.over:
            return b""
        super().fail(error)
        return b"\n\n" + error_event(self._format, error)  # a blank line ends whatever event was cut off


class NativeResponsesFolder(Folder):
    """Folds a Responses stream into its own last response object, whole to the last field."""

    def __init__(self, decoder: Decoder, losses: Losses) -> None:
        super().__init__(Format.OPENAI_RESPONSES, Pipeline(decoder, _Silent(), None, None), losses, Losses())
        self._lost = losses
        self._reader = SseParser()
        self._response: Json | None = None

    def feed(self, chunk: bytes) -> None:
        self._read(self._reader.feed(chunk))

    def _read(self, events: list[SseEvent]) -> None:
        try:
            for name, data in events:
                if data and data != "[DONE]":
                    self.feed_event(parse(data), name)
        except (Garbled, *MALFORMED):
            self.fail(UpstreamBroken("The upstream sent something that cannot be read"))

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
        self._read(self._reader.close())
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
