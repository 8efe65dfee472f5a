"""The one door of the translator: everything a gateway needs to serve a client of one format from an upstream of another.

exchange = translate_request(Format.OPENAI_CHAT, Format.ANTHROPIC, body, profile)
send(exchange.encode(), exchange.headers)
answer is SSE:   t = exchange.stream_translator(); out = t.feed(chunk) …; out = t.close()
answer is JSON:  out = exchange.whole(status, body)
SSE in, JSON out: f = exchange.folder(); f.feed(chunk) …; status, out = f.result()
answer is an error: status, headers, out = exchange.error(status, headers, body)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ccproxy.errors import ExchangeError
from ccproxy.translate.formats import Format
from ccproxy.translate.neutral import StopReason, Usage

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Loss:
    """Something the request asked for that the upstream is not told. `path` is a JSON path such as `tools[0].strict`."""

    path: str
    reason: str


class StreamTranslator:
    """Turns the upstream's SSE bytes into the client's. Never raises, whatever the upstream sends."""

    usage: Usage
    stop_reason: StopReason | None
    model: str
    finished: bool
    """The client has its proper end; further input is ignored."""
    failed: ExchangeError | None
    """Why the stream ended in an error, told to the client already."""
    stopped: bool
    """A stop sequence was found that the upstream does not know of: abort the upstream, then call `close()`; or go on feeding for exact usage."""

    def feed(self, chunk: bytes) -> bytes:
        """Bytes for the client, possibly none."""
        raise NotImplementedError

    def close(self) -> bytes:
        """The upstream has ended: the rest. An upstream that ended early gives the client format's error, never a proper end."""
        raise NotImplementedError

    def ping(self) -> bytes:
        """A sign of life in the client's format."""
        raise NotImplementedError

    def fail(self, error: ExchangeError) -> bytes:
        """The exchange failed mid-stream: the client format's error event. Nothing, if the stream has ended already."""
        raise NotImplementedError


class Folder:
    """Folds an upstream's SSE bytes into one whole answer in the client's format. Never raises."""

    usage: Usage
    stop_reason: StopReason | None
    model: str

    def feed(self, chunk: bytes) -> None:
        raise NotImplementedError

    def result(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers to add, body. A failed or truncated stream gives the client format's error body and a fitting status."""
        raise NotImplementedError


@dataclass(slots=True)
class Translated:
    """A translated request, and all that is needed to translate its answer back."""

    client: Format
    upstream: Format
    body: Json
    stream: bool
    """Did the client ask for a stream?"""
    losses: list[Loss] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    """Headers that the body needs beside it, lower case: `anthropic-beta` (to be merged), `session-id`, …"""

    def encode(self) -> bytes:
        """The body for the upstream, as JSON."""
        raise NotImplementedError

    def loss_header(self) -> str:
        """The value of `x-ccproxy-loss`: JSON paths, comma-separated, ASCII, at most 4 KB. Empty when nothing was lost."""
        raise NotImplementedError

    def stream_translator(self) -> StreamTranslator:
        """For an upstream that streams to a client that asked for a stream."""
        raise NotImplementedError

    def folder(self) -> Folder:
        """For an upstream that streams to a client that did not ask for a stream."""
        raise NotImplementedError

    def whole(self, status: int, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """A whole answer in the client's format: status, headers to add, body."""
        raise NotImplementedError

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """An upstream's error answer in the client's format: status, headers to add (rate limits, retry-after), body."""
        raise NotImplementedError


def translate_request(
    client: Format,
    upstream: Format,
    body: Json,
    profile: object = None,
    *,
    replay: object = None,
    principal: str = "",
    strict: bool = False,
    session_id: str | None = None,
) -> Translated:
    """Translate a request.

    Raises `BadRequest` with `param` = the JSON path when the request says something that the upstream cannot be told, or (with `strict`) when anything
    at all would be lost. Pure: the same arguments and cache state give the same result.
    """
    raise NotImplementedError
