"""The state of one exchange, from its first header byte to its end. It hangs on the flow; nothing else holds it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from mitmproxy import http

from ccproxy.addons.body import LocalBody
from ccproxy.errors import ExchangeError
from ccproxy.providers.plan import Field
from ccproxy.providers.routing import Route
from ccproxy.translate.formats import Format

_ATTRIBUTE = "_ccproxy_exchange"


class Transform(Protocol):
    """Turns the upstream's body into the client's, chunk by chunk. Never raises."""

    def feed(self, chunk: bytes) -> bytes: ...

    def close(self) -> bytes: ...

    def fail(self, error: ExchangeError) -> bytes: ...


@dataclass(slots=True)
class Exchange:
    """One request and its answer."""

    started: float = field(default_factory=time.monotonic)
    """Seconds on the monotonic clock."""
    format: Format = Format.ANTHROPIC
    """Of the client, for errors too."""
    route: Route | None = None
    client_credential: tuple[Field, ...] = field(default=(), repr=False)
    """The client's own key, taken off the flow. Only pass-through puts it on the wire."""
    origin: str = ""
    """An allowed web origin, to be told in the answer."""
    model: str = ""
    wire_fields: tuple[Field, ...] = field(default=(), repr=False)
    """The header fields that go on the wire, credential included. Never on the flow."""
    flow_fields: tuple[Field, ...] | None = field(default=None, repr=False)
    """The flow's own when `wire_fields` were made: a script may change them afterwards."""
    attempts: int = 0
    """Upstream attempts that failed."""
    retry: bool = False
    """Set by the gateway in `upstream_answered`: send the request again."""
    transform: Transform | None = None
    taps: list[Callable[[bytes], None]] = field(default_factory=list)
    """See every chunk of the upstream's streamed body as it is. They must not raise."""
    body: LocalBody | None = None
    """An answer made in this process, streamed."""
    chunk: bytes = b""
    """The piece of `body` that goes out next; empty at its end."""
    answer_fields: tuple[Field, ...] = ()
    """Added to the answer's head."""
    first_byte: float | None = None
    """When the answer's head or first chunk went out, on the monotonic clock."""
    bytes_out: int = 0
    truncated: str = ""
    """Why a streamed answer broke off."""

    def sent(self, size: int) -> None:
        if self.first_byte is None:
            self.first_byte = time.monotonic()
        self.bytes_out += size


def shown(text: str) -> str:
    """What a client said, for a line of a log or a file: one line of bounded length that moves no cursor."""
    return "".join(character if character.isprintable() else "?" for character in text[:200])


def begin(flow: http.HTTPFlow) -> Exchange:
    """The exchange of this flow, made if there is none."""
    exchange: Exchange | None = getattr(flow, _ATTRIBUTE, None)
    if exchange is None:
        exchange = Exchange()
        setattr(flow, _ATTRIBUTE, exchange)
    return exchange


def of(flow: http.HTTPFlow) -> Exchange:
    """The exchange of a flow that came through the gateway."""
    exchange: Exchange = getattr(flow, _ATTRIBUTE)
    return exchange
