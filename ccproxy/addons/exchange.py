"""The state of one exchange, from its first header byte to its end. It hangs on the flow; nothing else holds it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from mitmproxy import http

from ccproxy.addons.in_process_body import LocalBody
from ccproxy.auth.wire import Credential
from ccproxy.errors import ExchangeError
from ccproxy.ledger.records import Record
from ccproxy.ledger.tap import UsageTap
from ccproxy.providers.header_fields import Field
from ccproxy.providers.routing import Route
from ccproxy.translate.exchange import Translated
from ccproxy.translate.formats import Format

_ATTRIBUTE = "_ccproxy_exchange"


class Transform(Protocol):
    """Turns the upstream's body into the client's, chunk by chunk. Never raises."""

    def feed(self, chunk: bytes) -> bytes: ...

    def close(self) -> bytes: ...

    def fail(self, error: ExchangeError) -> bytes: ...

    @property
    def stopped(self) -> bool:
        """The client has all that it asked for: the upstream need not go on."""
        ...


class Glimpses(Protocol):
    """Shows an exchange that is under way."""

    def glimpse(self) -> http.HTTPFlow:
        """What may be seen of it so far, without secrets: always the same flow, with the live one's id."""
        ...


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
    credential: Credential | None = field(default=None, repr=False)
    wire_fields: tuple[Field, ...] = field(default=(), repr=False)
    """The header fields that go on the wire, credential included. Never on the flow."""
    flow_fields: tuple[Field, ...] | None = field(default=None, repr=False)
    """The flow's own when `wire_fields` were made: a script may change them afterwards."""
    attempts: int = 0
    """Upstream attempts that failed."""
    retry_on: frozenset[int] = frozenset()
    """Upstream statuses that the gateway wants to see before the client does: `upstream_answered`."""
    retry: bool = False
    """Set by the gateway in `upstream_answered`: send the request again."""
    told: dict[str, str] = field(default_factory=dict)
    """The client's header fields by lower-case name, without its keys: looking one up on the flow takes 6 µs."""
    client_path: str = ""
    """As the client wrote it, without the query."""
    bytes_in: int = 0
    losses: int = 0
    """How many things translation could not carry over."""
    upstream_answer: http.Response | None = None
    """The upstream's answer as it came, where it is translated: a copy of the head, and the body once it is there."""
    tap: UsageTap | None = None
    sent_upstream: float | None = None
    """When the request began to go out, on the monotonic clock."""
    answer_came: float | None = None
    """When the upstream's head had come."""
    answered: bool = False
    """The answer on the flow is the upstream's own, not one of ours."""
    translated: Translated | None = None
    """How the answer becomes the client's; None where bytes pass as they are."""
    transform: Transform | None = None
    taps: list[Callable[[bytes], None]] = field(default_factory=list)
    """See every chunk of the upstream's streamed body as it is. They must not raise."""
    source: object = None
    """The events of a provider in this process, which may tell more than they are: `providers.local.Told`."""
    local_request: dict[str, Any] | None = None
    """What a provider in this process was asked, where that is not what the client wrote."""
    local_answer: list[bytes] | None = None
    """Its events as SSE, where somebody wants to see them."""
    body: LocalBody | None = None
    """An answer made in this process, streamed."""
    chunk: bytes = b""
    """The piece of `body` that goes out next; empty at its end."""
    answer_fields: tuple[Field, ...] = ()
    """Added to the answer's head."""
    first_byte: float | None = None
    """When the answer's head or first chunk went out, on the monotonic clock."""
    first_token: float | None = None
    """When the model's first output passed by, on the monotonic clock."""
    bytes_out: int = 0
    counted_open: bool = False
    """The metrics count its stream as open."""
    record: Record | None = None
    """The exchange as the ledger has it, once it is over."""
    loaded: bool = False
    """The flow comes out of a file that somebody opens in mitmweb: it is over, and stays as it was."""
    truncated: str = ""
    """Why a streamed answer broke off."""
    glimpses: Glimpses | None = None
    """What to show instead of the flow while it lives; None where nobody looks, or somebody has to see the flow itself."""

    def secret_fields(self) -> tuple[Field, ...]:
        """The credential as header fields."""
        return self.credential.on_wire(()) if self.credential else ()

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
