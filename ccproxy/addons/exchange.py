"""The state of one exchange, from its first header byte to its end. It is attached to the flow; nothing else holds it.

`Exchange` has what every exchange has. What only one kind of exchange needs belongs to its `Way`; what only one watcher needs belongs to the watcher.
Each field is written by one module:

    client, format, route, way, retry, loaded    the gateway addon
    progress                                     the transport (`transport/stream.py`); `fail_closed` takes `from_upstream` back
    response_fields, losses, taps                this module, through its methods
    record                                       `watchers/accounting.py`
    preview                                      `watchers/both_sides.py`
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from mitmproxy import http

from ccproxy.addons.in_process_body import InProcessBody
from ccproxy.errors import ExchangeError
from ccproxy.ledger.records import Record
from ccproxy.providers.header_fields import Field
from ccproxy.providers.routing import Route
from ccproxy.translate.formats import Format
from ccproxy.translate.labels import label
from ccproxy.translate.last_event import LastEvent
from ccproxy.translate.losses import loss_header, printable
from ccproxy.translate.reading import Reading

_ATTRIBUTE = "_ccproxy_exchange"


class Transform(Protocol):
    """Turns the upstream's body into the client's, chunk by chunk. Never raises."""

    def feed(self, chunk: bytes) -> bytes: ...

    def close(self) -> bytes: ...

    def fail(self, error: ExchangeError) -> bytes: ...

    def ping(self) -> bytes:
        """A keep-alive in the client's format."""
        ...

    @property
    def stopped(self) -> bool:
        """The client has all that it asked for: the upstream need not continue."""
        ...

    @property
    def failed(self) -> ExchangeError | None:
        """Why the stream has ended in an error, which the client has."""
        ...


class Folding(Protocol):
    """Folds the upstream's stream into a whole response. Never raises."""

    def feed(self, chunk: bytes) -> None: ...

    @property
    def stopped(self) -> bool:
        """The response is complete: the upstream need not continue."""
        ...

    @property
    def failed(self) -> ExchangeError | None:
        """Why there will be no response."""
        ...


class Preview(Protocol):
    """Shows an exchange that is under way."""

    def flow_so_far(self) -> http.HTTPFlow:
        """What may be seen of it so far, without secrets: always the same flow, with the live one's id."""
        ...

    def withdraw(self) -> None:
        """From now on the live flow itself is shown."""


class Way:
    """How one exchange is served. The gateway chooses it once, when guard and router have decided.

    This one serves nothing: the request was refused, or its response was on the flow before a way was needed. The others are in `gateway/ways/`.
    """

    name = "answered at once"
    model = ""
    """The model that the client asks for, as it wrote it."""
    body: InProcessBody | None = None
    """A streamed response that is made in this process."""
    transform: Transform | None = None
    """Makes the client's stream of the upstream's; None where bytes pass as they are."""
    folder: Folding | None = None
    """Takes the upstream's stream, chunk by chunk, where the client gets a whole response; None where nothing is folded."""
    last_event: LastEvent | None = None
    """Looks for the last event of a stream whose bytes pass as they are; None where there is nothing to look for."""
    upstream_response: http.Response | None = None
    """The upstream's response as it came. Where it is converted: a copy of its head, and the body once that is whole."""
    provider_events: object = None
    """The events of a provider in this process, which may carry more: `providers.local.AnswerReport`."""
    provider_request: dict[str, Any] | None = None
    """The body that a provider in this process was given, where the client wrote another one."""

    @property
    def by_login(self) -> bool:
        """The request is paid for by a subscription."""
        return False

    @property
    def reading(self) -> Reading | None:
        """What the conversion has read of the upstream's response; None where nothing is converted."""
        return None

    @property
    def is_converted(self) -> bool:
        """The client's response is not the upstream's."""
        return False

    def prepare(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Make the request ready for its upstream, or put a response on the flow. Awaited only if something has to be waited for.

        Raises:
            ExchangeError: the request is refused.

        """

    def wire_fields(self, flow: http.HTTPFlow) -> tuple[Field, ...]:
        """The header fields that go on the wire, credential included. They are made for each attempt, from what is on the flow by then."""
        return flow.request.headers.fields

    def retries(self, status: int) -> bool:
        """Whether `retry` wants to see a response of this status before the client does."""
        del status
        return False

    async def retry(self, flow: http.HTTPFlow) -> bool:
        """Whether to send the request again; the refused response is on the flow. May change the request."""
        del flow
        return False

    def begin_response(self, flow: http.HTTPFlow) -> None:
        """The upstream's status and headers are on the flow."""

    def finish_response(self, flow: http.HTTPFlow) -> None:
        """The upstream's response is whole, or its stream has ended."""

    def stop(self) -> None:
        """The proxy stops: end what is made in this process, with an error if nothing has been sent yet."""
        self.cancel()

    def cancel(self) -> None:
        """The client has left: stop whatever is made in this process."""
        if self.body:
            self.body.cancel()


@dataclass(slots=True)
class Client:
    """What the client sent, less its body."""

    method: str = ""
    path: str = ""
    """As the client wrote it, without the query."""
    headers: dict[str, str] = field(default_factory=dict)
    """By lower-case name, without its keys: looking one up on the flow takes 6 µs."""
    credential: tuple[Field, ...] = field(default=(), repr=False)
    """Its own key, which was taken off the flow. Only pass-through puts it on the wire."""


@dataclass(slots=True)
class Progress:
    """What has happened on the wire. Times are seconds on the monotonic clock."""

    bytes_in: int = 0
    """Size of the request's body as the client sent it."""
    attempts: int = 0
    """Upstream attempts that failed."""
    sent_upstream: float | None = None
    """When the request began to go out."""
    upstream_responded: float | None = None
    """When the upstream's headers had come."""
    from_upstream: bool = False
    """The response on the flow is the upstream's own, not one of ours."""
    first_byte: float | None = None
    """When the first byte of the response went out to the client."""
    bytes_out: int = 0
    truncated: str = ""
    """Why a streamed response broke off."""

    def sent(self, size: int) -> None:
        """So many bytes of the response go out now."""
        if self.first_byte is None:
            self.first_byte = time.monotonic()
        self.bytes_out += size


@dataclass(slots=True, repr=False)
class Exchange:
    """One request and its response."""

    started: float = field(default_factory=time.monotonic)
    """Seconds on the monotonic clock."""
    client: Client = field(default_factory=Client)
    format: Format = Format.ANTHROPIC
    """The client's, for errors too."""
    route: Route | None = None
    way: Way = field(default_factory=Way)
    retry: bool = False
    """The way wants the request to be sent again."""
    loaded: bool = False
    """The flow comes from a file that was opened in mitmweb: it is over, and stays as it was."""
    progress: Progress = field(default_factory=Progress)
    response_fields: tuple[Field, ...] = ()
    """Header fields that ccproxy adds to the response."""
    losses: tuple[str, ...] = ()
    """JSON paths that a translation could not carry over."""
    taps: tuple[Callable[[bytes], None], ...] = ()
    """See every chunk of the upstream's streamed body as it came. They must not raise."""
    record: Record | None = None
    """The exchange as the ledger has it, once it is over."""
    preview: Preview | None = None
    """What to show instead of the flow while it is live; None where no viewer is open."""

    def __repr__(self) -> str:
        """Where the exchange stands: `Exchange(POST /api/v1/messages, translated, waiting for claude_api, attempt 2)`."""
        progress = self.progress
        state = "sending the response" if progress.first_byte is not None else "preparing"
        if progress.first_byte is None and progress.sent_upstream is not None and self.route is not None:
            state = f"waiting for {self.route.provider.name}"
        attempt = f", attempt {progress.attempts + 1}" if progress.attempts else ""
        return f"Exchange({self.client.method} {self.client.path[:200]}, {self.way.name}, {state}{attempt})"

    @property
    def model(self) -> str:
        """The model that the client asks for, as it wrote it."""
        return self.way.model

    def summary(self) -> dict[str, Any]:
        """The exchange in plain JSON values, for dumps and scripts."""
        route = self.route
        return {
            "provider": route.provider.name if route else "",
            "operation": route.operation.value if route else "",
            "format": self.format.value,
            "model": label(self.model) or "",
            "truncated": self.progress.truncated,
            "attempts": self.progress.attempts,
        }

    def interrupt(self, reason: str) -> None:
        """Note why the response is cut, unless an earlier reason is known."""
        self.progress.truncated = self.progress.truncated or reason

    def add_tap(self, tap: Callable[[bytes], None]) -> None:
        self.taps = (*self.taps, tap)

    def add_response_field(self, name: bytes, value: str) -> None:
        """Add a header field to the client's response, in place of an earlier one of that name."""
        others = (present for present in self.response_fields if present[0] != name)
        self.response_fields = (*others, (name, value.encode("ascii", "backslashreplace")))

    def report_losses(self, paths: Iterable[str]) -> None:
        """List in `x-ccproxy-loss` the JSON paths that were lost."""
        self.losses = tuple(dict.fromkeys(map(printable, paths)))
        if self.losses:
            self.add_response_field(b"x-ccproxy-loss", loss_header(self.losses))


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
