"""GatewayStream: one exchange on the wire. mitmproxy's HTTP stream, extended for a gateway.

A stream has two states, as mitmproxy's own: what it expects from the client, and what it expects from the server. Each is a method; the method is the state.

    client_state                    expects
    state_wait_for_request_headers  the request's head
    state_consume_request_body      its body; it is held until it is whole, up to `server.max_body_mb`
    state_done                      nothing: the request is whole
    state_errored                   nothing that matters: it was refused, and the connection closes after the response

    server_state                    expects, once the request was sent          when the upstream fails here
    state_wait_for_response_headers a status and headers                        another attempt if that is safe, else an error response
    state_drain                     the rest of a response that the way may     an error response
                                    want to answer with another attempt
    state_consume_response_body     the body of a response that is held until   an error response
                                    it is whole: JSON, and what is converted
    state_stream_response_body      the body of a response that is passed on    the format's error event if one fits, else the connection is cut:
                                    as it comes                                 never a clean end
    state_done                      nothing: the response is whole              nothing: the client has its response
    state_errored                   nothing that matters                        nothing

"Fails" means: the connection closes, or what comes is not HTTP; nothing comes for `server.idle_timeout` seconds; a response that has to be held is too
large; a stream ends without its format's last event. Another attempt is safe when no connection was established, or when a connection that had been kept
closes without a byte.

`exchange.progress` is written here and nowhere else: `attempts` counts failed attempts, `from_upstream` says that the response on the flow is the
upstream's own, `truncated` why a stream was not whole. `exchange.retry` is the way's answer to `UpstreamAnsweredHook`.

What the gateway adds to mitmproxy's stream: attempts; responses that are made in this process, pulled as fast as the client reads; header fields that are
made for the wire, so that the credential is never on the flow; proper ends of broken streams; limits and time-outs with errors in the client's format.
The base class is in mitmproxy/proxy/layers/http/__init__.py, alike on 11.0.2 and 12.2.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from mitmproxy import flow as mflow, http
from mitmproxy.connection import Connection
from mitmproxy.proxy.context import Context

from ccproxy.addons.exchange import Exchange, begin
from ccproxy.addons.transport.flow_edits import twin
from ccproxy.addons.transport.http1 import QuickHeaders
from ccproxy.addons.transport.mitmproxy_internals import (
    CUT,
    CommandGenerator,
    DropStream,
    HttpErrorHook,
    HttpEvent,
    HttpRequestHeadersHook,
    HttpRequestHook,
    HttpResponseHeadersHook,
    HttpResponseHook,
    HttpStream,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    RequestTrailers,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    ResponseTrailers,
    SendHttp,
    commands,
    events,
    expect,
    expected_http_body_size,
)
from ccproxy.addons.transport.responses import error_response
from ccproxy.errors import (
    ExchangeError,
    RequestTooLarge,
    Unavailable,
    UpstreamBroken,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from ccproxy.providers.header_fields import Field, response_fields
from ccproxy.translate.errors import error_event

Message = TypeVar("Message", http.Request, http.Response)

ATTEMPTS: Final = 3
"""Attempts at an upstream in all, before the first byte of the response."""
MAX_REFUSAL: Final = 2**20
"""Bytes of a response that is read before the way decides about another attempt."""
STOPPING: Final = "ccproxy is stopping. Send the request again when it has started"

QUIET: Final = 10.0
"""Seconds after which a translated stream that has nothing to send sends a keep-alive."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a stream may do."""

    max_body: int
    """Bytes of a request's body, and of a response that has to be held until it is whole."""
    connect_timeout: float = 10.0
    """Seconds for TCP, a corporate proxy and TLS together."""
    idle_timeout: float = 3600.0
    """Seconds that an upstream may be silent."""
    clock: Callable[[], float] = time.monotonic


@dataclass
class UpstreamAnsweredHook(commands.StartHook):
    """An upstream responded with a status that the way may want to answer with another attempt. The gateway sets `exchange.retry`."""

    flow: http.HTTPFlow


@dataclass
class LocalChunkHook(commands.StartHook):
    """The client can take more of a response that is made in this process. The gateway pulls it: `way.body.chunk`."""

    flow: http.HTTPFlow


@dataclass
class Tick(HttpEvent):
    """Some seconds have passed while a stream waited for its upstream."""


@dataclass
class Stop(Tick):
    """ccproxy stops: no stream waits for its upstream any longer."""


class Parent(Protocol):
    """What a stream asks of its layer: `layer.GatewayLayer`."""

    limits: Limits
    timed_out: bool
    """The connection that was tried last was not established in time."""
    stopping: bool

    def take(self, connection: Connection) -> bool: ...

    def release(self, connection: Connection) -> None: ...

    def keep_time(self) -> CommandGenerator[None]: ...


class GatewayStream(HttpStream):
    """One exchange on the wire."""

    parent: Parent
    upstream_is_fresh = True
    """The connection has served no other exchange."""
    connecting = False
    refused: http.Response | None = None
    """The response that is read in `state_drain`."""
    tail = b"\n\n"
    """The last bytes that were passed on."""
    upstream_active = 0.0
    """When the request was sent, or when the upstream sent something last, by the layer's clock."""
    client_active = 0.0
    """When something was sent to the client last, by the layer's clock."""

    def __init__(self, context: Context, stream_id: int, parent: Parent) -> None:
        super().__init__(context, stream_id)
        self.parent = parent

    @property
    def exchange(self) -> Exchange:
        return begin(self.flow)

    # ---- the request

    def check_body_size(self, request: bool) -> CommandGenerator[bool]:  # noqa: FBT001 - mitmproxy's signature
        """Refuse a request whose body is, or declares itself, larger than the limit."""
        if not request:
            return False
        size = len(self.request_body_buf)
        if not size:
            try:
                size = expected_http_body_size(self.flow.request) or 0
            except ValueError:
                size = 0  # validated before; mitmproxy lets malformed ones pass here too
        if size <= self.parent.limits.max_body:
            return False
        if not self.request_body_buf:
            yield HttpRequestHeadersHook(self.flow)
        limit = self.parent.limits.max_body // 2**20
        error = RequestTooLarge(f"The request body is larger than {limit} MB (server.max_body_mb)")
        self.request_body_buf.clear()
        # The rest of the body is read and discarded, so that the client gets to read the response; then the connection closes.
        self.flow.response = error_response(self.exchange.format, error, self.flow.id)
        self.flow.response.headers["connection"] = "close"
        self.client_state = self.state_errored
        yield from self.send_response()
        return True

    @expect(RequestData, RequestTrailers, RequestEndOfMessage)
    def state_consume_request_body(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, RequestData):
            self.request_body_buf += event.data
            yield from self.check_body_size(True)  # noqa: FBT003 - mitmproxy's signature
        elif isinstance(event, RequestEndOfMessage):
            self.flow.request.timestamp_end = time.time()
            self.flow.request.data.content = bytes(self.request_body_buf)
            self.exchange.progress.bytes_in = len(self.request_body_buf)
            self.request_body_buf.clear()
            self.client_state = self.state_done
            yield HttpRequestHook(self.flow)
            if (yield from self.check_killed(True)):  # noqa: FBT003
                return
            if self.flow.response:
                yield from self.deliver()
            else:
                yield from self.forward()

    def forward(self) -> CommandGenerator[None]:
        """Send the request upstream: a copy of its head made for the wire, and its body."""
        if not (yield from self.make_server_connection()):
            return
        request = self.flow.request
        content = request.raw_content
        progress = self.exchange.progress
        progress.sent_upstream = progress.sent_upstream or time.monotonic()
        head = _for_the_wire(request, self.exchange.way.wire_fields(self.flow))
        yield SendHttp(RequestHeaders(self.stream_id, head, not content), self.context.server)
        if content:
            yield SendHttp(RequestData(self.stream_id, content), self.context.server)
        yield SendHttp(RequestEndOfMessage(self.stream_id), self.context.server)
        self.upstream_active = self.client_active = self.parent.limits.clock()
        yield from self.parent.keep_time()

    def make_server_connection(self) -> CommandGenerator[bool]:
        self.connecting = True
        if not (yield from super().make_server_connection()):
            return False
        self.connecting = False
        self.upstream_is_fresh = self.parent.take(self.context.server)
        return True

    # ---- the response

    @expect(ResponseHeaders, Tick)
    def state_wait_for_response_headers(self, event: events.Event) -> CommandGenerator[None]:
        if not isinstance(event, ResponseHeaders):
            yield from self.tick(event)
            return
        exchange = self.exchange
        progress = exchange.progress
        self.upstream_active = self.parent.limits.clock()
        progress.from_upstream = True
        progress.upstream_responded = time.monotonic()
        if progress.attempts < ATTEMPTS - 1 and exchange.way.retries(event.response.status_code):
            self.refused = event.response
            self.server_state = self.state_drain
            return
        self.flow.response = event.response
        yield HttpResponseHeadersHook(self.flow)
        if (yield from self.check_killed(True)):  # noqa: FBT003
            return
        if self.flow.response is not event.response:  # the gateway, or a script, has put another response in its place
            yield self.let_go("the response is not used")
            yield from self.send_response()
        elif event.end_stream and (exchange.way.last_event is not None or exchange.way.transform is not None):
            yield from self.give_up(_without_last_event(), "the upstream sent an empty stream")
        elif self.flow.response.stream and not event.end_stream:
            yield self.head()
            self.server_state = self.state_stream_response_body
        else:
            self.server_state = self.state_consume_response_body

    @expect(ResponseData, ResponseTrailers, ResponseEndOfMessage, Tick)
    def state_drain(self, event: events.Event) -> CommandGenerator[None]:
        """Read a response that may be answered with another attempt, then ask the way."""
        if isinstance(event, ResponseData):
            self.upstream_active = self.parent.limits.clock()
            self.response_body_buf += event.data
            if len(self.response_body_buf) > MAX_REFUSAL:
                yield from self.give_up(UpstreamBroken("The upstream's error response is too large"), "too large")
        elif isinstance(event, Tick):
            yield from self.tick(event)
        elif isinstance(event, ResponseEndOfMessage):
            assert self.refused is not None
            self.parent.release(self.context.server)
            self.refused.data.content = bytes(self.response_body_buf)
            self.response_body_buf.clear()
            self.flow.response = self.refused
            self.exchange.progress.attempts += 1
            yield UpstreamAnsweredHook(self.flow)
            if (yield from self.check_killed(True)):  # noqa: FBT003
                return
            if self.exchange.retry:
                self.flow.response = None
                self.server_state = self.state_wait_for_response_headers
                yield from self.forward()
            elif self.flow.response is self.refused:
                yield from self.deliver_refusal(self.refused)
            else:
                yield from self.deliver()

    def deliver_refusal(self, response: http.Response) -> CommandGenerator[None]:
        """Pass on a response that was read and leads to no other attempt, as one that has just come."""
        content, response.data.content = response.data.content, None
        self.server_state = self.state_consume_response_body
        yield HttpResponseHeadersHook(self.flow)
        if (yield from self.check_killed(True)):  # noqa: FBT003
            return
        response.stream = False
        response.data.content = content
        yield from self.send_response()

    @expect(ResponseData, ResponseTrailers, ResponseEndOfMessage, Tick)
    def state_stream_response_body(self, event: events.Event) -> CommandGenerator[None]:
        exchange = self.exchange
        way = exchange.way
        if isinstance(event, ResponseData):
            data = event.data
            self.upstream_active = self.parent.limits.clock()
            converted = way.transform.feed(data) if way.transform is not None else b""
            for tap in exchange.taps:
                tap(data)
            if way.transform is None:
                self.tail = data[-4:] if len(data) >= 4 else (self.tail + data)[-4:]
                if way.last_event is not None:
                    way.last_event.feed(data)
                exchange.progress.sent(len(data))
                yield SendHttp(event, self.context.client)
            else:
                yield from self.send_data(converted)
                if way.transform.stopped or way.transform.failed is not None:
                    yield from self.enough()
        elif isinstance(event, Tick):
            yield from self.tick(event)
        elif isinstance(event, ResponseEndOfMessage):
            self.parent.release(self.context.server)
            if way.last_event is not None and way.last_event.is_missing:
                yield from self.break_off(_without_last_event(), "the upstream ended its stream without the last event")
                return
            if way.transform:
                yield from self.send_data(way.transform.close())
            yield from self.send_response(already_streamed=True)

    def send_data(self, data: bytes) -> CommandGenerator[None]:
        """Send a piece of a streamed response, if there is any."""
        if data:
            self.exchange.progress.sent(len(data))
            self.client_active = self.parent.limits.clock()
            yield SendHttp(ResponseData(self.stream_id, data), self.context.client)

    def let_go(self, reason: str) -> SendHttp:
        """Have the upstream's connection closed, by the layer that is in charge of it: there may be a tunnel or TLS in between."""
        return SendHttp(RequestProtocolError(self.stream_id, reason, CUT), self.context.server)

    def enough(self) -> CommandGenerator[None]:
        """The client has what it asked for: end its response and let the upstream go."""
        assert self.exchange.way.transform
        yield self.let_go("the client has what it asked for")
        yield from self.send_data(self.exchange.way.transform.close())
        yield from self.send_response(already_streamed=True)
        self.server_state = self.state_errored  # whatever the upstream has sent meanwhile is ignored

    @expect(ResponseData, ResponseTrailers, ResponseEndOfMessage, Tick)
    def state_consume_response_body(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, ResponseData):
            yield from self.hold(event.data)
        elif isinstance(event, Tick):
            yield from self.tick(event)
        elif isinstance(event, ResponseEndOfMessage):
            self.parent.release(self.context.server)
            yield from super().state_consume_response_body(event)

    def hold(self, data: bytes) -> CommandGenerator[None]:
        """Keep a piece of a response until it is whole, or have it folded as it comes."""
        way = self.exchange.way
        self.upstream_active = self.parent.limits.clock()
        if way.folder is not None:
            way.folder.feed(data)
            for tap in self.exchange.taps:
                tap(data)
            if way.folder.stopped or way.folder.failed is not None:
                yield self.let_go("the response is complete, or cannot be read")
                yield from self.send_response()
                self.server_state = self.state_errored  # whatever the upstream has sent meanwhile is ignored
            return
        self.response_body_buf += data
        if len(self.response_body_buf) <= self.parent.limits.max_body:
            return
        if way.is_converted:
            limit = self.parent.limits.max_body // 2**20
            error = UpstreamBroken(f"The upstream's response is larger than {limit} MB (server.max_body_mb)")
            yield from self.give_up(error, "the upstream's response is too large")
            return
        # Bytes that are not converted need no longer be held: an upstream that fails later is then reported as in a stream.
        assert self.flow.response
        self.flow.response.stream = True
        held = bytes(self.response_body_buf)
        self.response_body_buf.clear()
        yield self.head()
        yield from self.send_data(held)
        self.server_state = self.state_stream_response_body

    def deliver(self) -> CommandGenerator[None]:
        """Send a response that is on the flow already: made by an addon, or read before."""
        assert self.flow.response
        self.flow.response.timestamp_start = self.flow.response.timestamp_start or time.time()
        self.server_state = self.state_consume_response_body
        yield HttpResponseHeadersHook(self.flow)
        if (yield from self.check_killed(True)):  # noqa: FBT003
            return
        yield from self.send_response()

    def head(self, *, end: bool = False) -> SendHttp:
        """The response's head as it goes on the wire."""
        response = self.flow.response
        assert response
        exchange = self.exchange
        exchange.progress.sent(0)
        fields = (
            *response_fields(response.headers.fields, self.flow.id, from_upstream=exchange.progress.from_upstream),
            *exchange.response_fields,
        )
        wire = _for_the_wire(response, fields)
        if self.client_state == self.state_errored:
            wire.headers["connection"] = "close"
        if self.flow.request.data.http_version == b"HTTP/1.0" and "transfer-encoding" in wire.headers:
            # Such a client knows no chunks: its response ends with the connection (https://www.rfc-editor.org/rfc/rfc9112#section-6.1-16).
            del wire.headers["transfer-encoding"]
            wire.headers["connection"] = "close"
        return SendHttp(ResponseHeaders(self.stream_id, wire, end), self.context.client)

    def send_response(self, already_streamed: bool = False) -> CommandGenerator[None]:  # noqa: FBT001, FBT002
        response = self.flow.response
        assert response
        exchange = self.exchange
        body = exchange.way.body
        if body is not None and not already_streamed:
            yield self.head()
            while True:
                yield LocalChunkHook(self.flow)
                if (yield from self.check_killed(True)):  # noqa: FBT003
                    return
                if not body.chunk:
                    break
                exchange.progress.sent(len(body.chunk))
                yield SendHttp(ResponseData(self.stream_id, body.chunk), self.context.client)
            if body.dropped:
                yield from self.cut("the response broke off")
                return
            already_streamed = True
        response.timestamp_end = time.time()
        yield HttpResponseHook(self.flow)
        self.server_state = self.state_done
        if (yield from self.check_killed(False)):  # noqa: FBT003
            return
        if not already_streamed:
            assert self.flow.response
            content = self.flow.response.raw_content  # the hook may have put another response on the flow
            yield self.head(end=not content)
            if content and self.flow.request.method != "HEAD":
                exchange.progress.sent(len(content))
                yield SendHttp(ResponseData(self.stream_id, content), self.context.client)
        if self.client_state in (self.state_done, self.state_errored):
            yield from self.flow_done()

    def flow_done(self) -> CommandGenerator[None]:
        """The exchange is over. No upgrade is ever accepted, so nothing follows on this stream."""
        self.flow.live = False
        yield DropStream(self.stream_id)
        yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)

    def state_done(self, event: events.Event) -> CommandGenerator[None]:
        """A tick may still have been queued while a hook ran."""
        del event
        yield from ()

    def dispose(self) -> None:
        """Break the cycles through the states and the context once the exchange is over, so that its bodies are freed at once.

        Until the next full collection they would amount to hundreds of megabytes.
        """
        self.client_state = self.server_state = _over
        self.context.layers.clear()
        self.request_body_buf.clear()
        self.response_body_buf.clear()

    # ---- failures

    def tick(self, event: events.Event) -> CommandGenerator[None]:
        """Some seconds have passed: give up on a silent upstream, or let the client know that the exchange is alive."""
        if isinstance(event, Stop):
            yield from self.give_up(Unavailable(STOPPING), "ccproxy stopped")
            return
        now, limits, way = self.parent.limits.clock(), self.parent.limits, self.exchange.way
        if now - self.upstream_active >= limits.idle_timeout:
            name = self.upstream_name()
            error = UpstreamTimeout(f"{name} sent nothing for {limits.idle_timeout:.0f} s (server.idle_timeout)")
            yield from self.give_up(error, "the upstream was silent for too long")
        elif (
            way.transform is not None
            and self.server_state == self.state_stream_response_body
            and now - self.client_active >= QUIET
        ):
            yield from self.send_data(way.transform.ping())

    def give_up(self, error: ExchangeError, reason: str) -> CommandGenerator[None]:
        """End an exchange whose upstream is not waited for any longer: with an error response, or as a broken stream."""
        yield self.let_go(reason)
        if self.server_state == self.state_stream_response_body:
            yield from self.break_off(error, reason)
        else:
            yield from self.refuse(error)
        self.server_state = self.state_errored  # whatever the upstream has sent meanwhile is ignored

    def refuse(self, error: ExchangeError) -> CommandGenerator[None]:
        """Send an error response in place of the upstream's, of which no byte has gone out."""
        exchange = self.exchange
        self.response_body_buf.clear()
        self.refused = None
        exchange.progress.from_upstream = False
        self.flow.response = error_response(exchange.format, error, self.flow.id)
        yield from self.deliver()

    def handle_protocol_error(self, event: RequestProtocolError | ResponseProtocolError) -> CommandGenerator[None]:
        if isinstance(event, ResponseProtocolError) and self.client_state == self.state_done:
            if self.server_state in (self.state_done, self.state_errored):
                return  # the client has its response already
            if self.server_state in (
                self.state_wait_for_response_headers,
                self.state_drain,
                self.state_consume_response_body,
            ):
                yield from self.upstream_failed(event)
                return
            if self.server_state == self.state_stream_response_body:
                message = event.message
                if not message.startswith("HTTP/1 protocol error: peer closed"):
                    message = "the upstream sent no valid HTTP"  # mitmproxy's message quotes the body
                error = UpstreamBroken("The upstream closed the connection in the middle of its response")
                yield from self.break_off(error, message)
                return
        yield from super().handle_protocol_error(event)
        self.server_state = self.state_errored  # so that no exchange ends twice

    def upstream_failed(self, event: ResponseProtocolError) -> CommandGenerator[None]:
        """No byte of a response has gone out: try again where that is safe, else report what happened."""
        exchange = self.exchange
        never_connected, self.connecting = self.connecting, False
        # A kept connection that closes without a byte was closed before the request came; a fresh one may have seen the request.
        stale = (
            not never_connected
            and not self.upstream_is_fresh
            and self.server_state == self.state_wait_for_response_headers
            and event.message == "server closed connection"
        )
        self.response_body_buf.clear()
        self.refused = None
        promising = (stale or (never_connected and not self.parent.timed_out)) and not self.parent.stopping
        # If the client has left, nothing would close the new connection.
        if promising and exchange.progress.attempts < ATTEMPTS - 1 and self.context.client.connected:
            exchange.progress.attempts += 1
            self.server_state = self.state_wait_for_response_headers
            yield from self.forward()
            return
        yield from self.refuse(self.explain(event, never_connected))

    def upstream_name(self) -> str:
        request, route = self.flow.request, self.exchange.route
        return f"{route.provider.name if route else 'The upstream'} at {request.host}:{request.port}"

    def explain(self, event: ResponseProtocolError, never_connected: bool) -> ExchangeError:  # noqa: FBT001
        """The error for the client. An upstream's malformed bytes are not quoted: they may hold anything."""
        name = self.upstream_name()
        if self.parent.stopping:
            return Unavailable(STOPPING)
        if never_connected and self.parent.timed_out:
            return UpstreamUnreachable(f"No connection to {name} in time (server.connect_timeout)")
        if never_connected:
            return UpstreamUnreachable(f"No connection to {name}: {event.message}")
        if event.message == "server closed connection":
            return UpstreamBroken(f"{name} closed the connection before it responded")
        return UpstreamBroken(f"{name} broke off or sent no valid HTTP")

    def break_off(self, error: ExchangeError, reason: str) -> CommandGenerator[None]:
        """End a stream that is not whole: with an error event where one fits, else by cutting the connection."""
        exchange = self.exchange
        exchange.progress.truncated = reason
        transform = exchange.way.transform
        if transform is None and not self.takes_an_event():
            yield from self.cut(reason)
            return
        request_id = f"req_{self.flow.id}"
        yield from self.send_data(
            transform.fail(error) if transform else error_event(exchange.format, error, request_id)
        )
        yield from self.send_response(already_streamed=True)

    def takes_an_event(self) -> bool:
        """Whether an event of ours can follow: SSE, not compressed, of open length, and between two events."""
        response = self.flow.response
        assert response
        headers = response.headers
        return (
            headers.get("content-type", "").startswith("text/event-stream")
            and headers.get("content-encoding", "identity").lower() == "identity"
            and "content-length" not in headers
            and self.tail.replace(b"\r\n", b"\n").replace(b"\r", b"\n").endswith(b"\n\n")
        )

    def cut(self, message: str) -> CommandGenerator[None]:
        """Close the client's connection without an end of the message, so that the response cannot be taken for whole."""
        self.exchange.interrupt(message)
        self.flow.error = mflow.Error(message)
        self.server_state = self.client_state = self.state_errored
        yield HttpErrorHook(self.flow)
        self.flow.live = False
        yield SendHttp(ResponseProtocolError(self.stream_id, message, CUT), self.context.client)
        yield DropStream(self.stream_id)


def _for_the_wire(message: Message, fields: tuple[Field, ...]) -> Message:
    """A shallow copy of a message with header fields of its own: what is added for the wire never shows on the flow."""
    wire = twin(message)
    wire.data = twin(message.data)
    wire.data.http_version = b"HTTP/1.1"
    wire.data.headers = QuickHeaders.of(fields)
    return wire


def _over(event: events.Event) -> CommandGenerator[None]:
    """The state of a stream that was disposed of."""
    del event
    yield from ()


def _without_last_event() -> ExchangeError:
    return UpstreamBroken("The upstream ended its stream without the last event")
