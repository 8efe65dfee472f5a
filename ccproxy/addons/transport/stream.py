"""GatewayStream: mitmproxy's HTTP stream, extended by what a gateway needs.

- attempts before the first byte: a failed connect or a stale kept connection is tried again; chosen statuses too, if the gateway says so;
- answers made in this process are streamed, pulled as fast as the client reads;
- the header fields that go on the wire are made for the wire: the credential is never on the flow;
- a stream whose upstream dies gets its format's error event where that is safe, else the connection is cut: never a clean end;
- a body limit that answers in JSON.

`GatewayLayer` is the HttpLayer around it: it makes these streams and decides which upstream connections are used again.
The states are those of mitmproxy's HttpStream (mitmproxy/proxy/layers/http/__init__.py), on 11.0.2 and 12.2 alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from mitmproxy import flow as mflow, http
from mitmproxy.connection import Connection, Server
from mitmproxy.net.http.http1 import expected_http_body_size
from mitmproxy.proxy import commands, events, layer, tunnel
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import tls
from mitmproxy.proxy.layers.http import (
    DropStream,
    GetHttpConnection,
    GetHttpConnectionCompleted,
    HttpErrorHook,
    HttpLayer,
    HTTPMode,
    HttpRequestHeadersHook,
    HttpRequestHook,
    HttpResponseHeadersHook,
    HttpResponseHook,
    HttpStream,
    RegisterHttpConnection,
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
    _upstream_proxy,
)
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.utils import expect

from ccproxy.addons.exchange import Exchange, begin
from ccproxy.addons.transport.flow_edits import twin
from ccproxy.addons.transport.http1 import ClientSide, QuickHeaders, UpstreamSide
from ccproxy.addons.transport.responses import error_response
from ccproxy.errors import ExchangeError, RequestTooLarge, UpstreamBroken, UpstreamUnreachable
from ccproxy.providers.header_fields import Field, response_fields
from ccproxy.translate.errors import error_event

Message = TypeVar("Message", http.Request, http.Response)

ATTEMPTS = 3
"""Attempts at an upstream in all, before the first byte of the answer."""
IDLE_REUSE = 60.0
"""Seconds after which a kept upstream connection is not trusted: laptops sleep, firewalls forget."""

# What closes a client's connection without a word; mitmproxy 11.1 replaced the status numbers of protocol errors by an enumeration.
try:
    from mitmproxy.proxy.layers.http import ErrorCode

    _CUT: Any = ErrorCode.KILL
except ImportError:
    from mitmproxy.net.http.status_codes import NO_RESPONSE as _CUT  # mitmproxy 11.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a stream may do."""

    max_body: int
    """Bytes of a request's body."""
    connect_timeout: float = 10.0
    """Seconds for TCP, a company's proxy and TLS together."""
    clock: Callable[[], float] = time.monotonic


@dataclass
class UpstreamAnsweredHook(commands.StartHook):
    """An upstream answered with a status that the gateway may want to try again. It sets `exchange.retry`."""

    flow: http.HTTPFlow


@dataclass
class LocalChunkHook(commands.StartHook):
    """The client can take more of an answer made in this process. The gateway sets `body.chunk`."""

    flow: http.HTTPFlow


class GatewayStream(HttpStream):
    """One exchange on the wire."""

    parent: GatewayLayer
    upstream_is_fresh = True
    connecting = False
    drained: http.Response | None = None
    tail = b"\n\n"

    def __init__(self, context: Context, stream_id: int, parent: GatewayLayer) -> None:
        super().__init__(context, stream_id)
        self.parent = parent

    @property
    def exchange(self) -> Exchange:
        return begin(self.flow)

    # ---- the request

    def check_body_size(self, request: bool) -> layer.CommandGenerator[bool]:  # noqa: FBT001 - mitmproxy's signature
        """Refuse a request whose body is, or declares itself, larger than the limit. Answers have no limit."""
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
        error = RequestTooLarge(f"the request's body is larger than {limit} MB (server.max_body_mb)")
        self.request_body_buf.clear()
        # The rest of the body is read and thrown away, so that the client gets to read this; then the connection closes.
        self.flow.response = error_response(self.exchange.format, error, self.flow.id)
        self.flow.response.headers["connection"] = "close"
        self.client_state = self.state_errored
        yield from self.send_response()
        return True

    @expect(RequestData, RequestTrailers, RequestEndOfMessage)
    def state_consume_request_body(self, event: events.Event) -> layer.CommandGenerator[None]:
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

    def forward(self) -> layer.CommandGenerator[None]:
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

    def make_server_connection(self) -> layer.CommandGenerator[bool]:
        self.connecting = True
        if not (yield from super().make_server_connection()):
            return False
        self.connecting = False
        self.upstream_is_fresh = self.parent.take(self.context.server)
        return True

    # ---- the answer

    @expect(ResponseHeaders)
    def state_wait_for_response_headers(self, event: ResponseHeaders) -> layer.CommandGenerator[None]:
        exchange = self.exchange
        progress = exchange.progress
        progress.from_upstream = True
        progress.upstream_responded = time.monotonic()
        if progress.attempts < ATTEMPTS - 1 and exchange.way.retries(event.response.status_code):
            self.drained = event.response
            self.server_state = self.state_drain
            return
        self.flow.response = event.response
        yield HttpResponseHeadersHook(self.flow)
        if (yield from self.check_killed(True)):  # noqa: FBT003
            return
        if self.flow.response.stream and not event.end_stream:
            yield self.head()
            self.server_state = self.state_stream_response_body
        else:
            self.server_state = self.state_consume_response_body

    @expect(ResponseData, ResponseTrailers, ResponseEndOfMessage)
    def state_drain(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Read an answer that may be tried again, then ask the gateway."""
        if isinstance(event, ResponseData):
            self.response_body_buf += event.data
        elif isinstance(event, ResponseEndOfMessage):
            assert self.drained is not None
            self.parent.release(self.context.server)
            self.drained.data.content = bytes(self.response_body_buf)
            self.response_body_buf.clear()
            self.flow.response = self.drained
            self.exchange.progress.attempts += 1
            yield UpstreamAnsweredHook(self.flow)
            if (yield from self.check_killed(True)):  # noqa: FBT003
                return
            if self.exchange.retry:
                self.flow.response = None
                self.server_state = self.state_wait_for_response_headers
                yield from self.forward()
            else:
                yield from self.deliver()

    @expect(ResponseData, ResponseTrailers, ResponseEndOfMessage)
    def state_stream_response_body(self, event: events.Event) -> layer.CommandGenerator[None]:
        exchange = self.exchange
        if isinstance(event, ResponseData):
            data = event.data
            for tap in exchange.taps:
                tap(data)
            if exchange.way.transform is None:
                self.tail = data[-4:] if len(data) >= 4 else (self.tail + data)[-4:]
                exchange.progress.sent(len(data))
                yield SendHttp(event, self.context.client)
            else:
                if data := exchange.way.transform.feed(data):
                    exchange.progress.sent(len(data))
                    yield SendHttp(ResponseData(self.stream_id, data), self.context.client)
                if exchange.way.transform.stopped:
                    yield from self.enough()
        elif isinstance(event, ResponseEndOfMessage):
            self.parent.release(self.context.server)
            if exchange.way.transform and (data := exchange.way.transform.close()):
                exchange.progress.sent(len(data))
                yield SendHttp(ResponseData(self.stream_id, data), self.context.client)
            yield from self.send_response(already_streamed=True)

    def enough(self) -> layer.CommandGenerator[None]:
        """The client has what it asked for: end its answer and let the upstream go."""
        assert self.exchange.way.transform
        yield commands.CloseConnection(self.context.server)
        if data := self.exchange.way.transform.close():
            self.exchange.progress.sent(len(data))
            yield SendHttp(ResponseData(self.stream_id, data), self.context.client)
        yield from self.send_response(already_streamed=True)
        self.server_state = self.state_errored  # what the upstream said meanwhile is nobody's business

    @expect(ResponseData, ResponseTrailers, ResponseEndOfMessage)
    def state_consume_response_body(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, ResponseEndOfMessage):
            self.parent.release(self.context.server)
        yield from super().state_consume_response_body(event)

    def deliver(self) -> layer.CommandGenerator[None]:
        """Send an answer that is on the flow already: made by an addon, or read before."""
        assert self.flow.response
        self.flow.response.timestamp_start = self.flow.response.timestamp_start or time.time()
        self.server_state = self.state_consume_response_body
        yield HttpResponseHeadersHook(self.flow)
        if (yield from self.check_killed(True)):  # noqa: FBT003
            return
        yield from self.send_response()

    def head(self, *, end: bool = False) -> SendHttp:
        """The answer's head as it goes on the wire."""
        response = self.flow.response
        assert response
        exchange = self.exchange
        exchange.progress.sent(0)
        fields = (*response_fields(response.headers.fields, self.flow.id), *exchange.response_fields)
        wire = _for_the_wire(response, fields)
        if self.client_state == self.state_errored:
            wire.headers["connection"] = "close"
        if self.flow.request.data.http_version == b"HTTP/1.0" and "transfer-encoding" in wire.headers:
            # Such a client knows no chunks: its answer ends with the connection (https://www.rfc-editor.org/rfc/rfc9112#section-6.1-16).
            del wire.headers["transfer-encoding"]
            wire.headers["connection"] = "close"
        return SendHttp(ResponseHeaders(self.stream_id, wire, end), self.context.client)

    def send_response(self, already_streamed: bool = False) -> layer.CommandGenerator[None]:  # noqa: FBT001, FBT002
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
                yield from self.cut("the answer broke off")
                return
            already_streamed = True
        response.timestamp_end = time.time()
        yield HttpResponseHook(self.flow)
        self.server_state = self.state_done
        if (yield from self.check_killed(False)):  # noqa: FBT003
            return
        if not already_streamed:
            content = response.raw_content
            yield self.head(end=not content)
            if content and self.flow.request.method != "HEAD":
                exchange.progress.sent(len(content))
                yield SendHttp(ResponseData(self.stream_id, content), self.context.client)
        if self.client_state in (self.state_done, self.state_errored):
            yield from self.flow_done()

    def flow_done(self) -> layer.CommandGenerator[None]:
        """The exchange is over. Upgrades are never agreed to, so nothing follows on this stream."""
        self.flow.live = False
        yield DropStream(self.stream_id)
        yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)

    # ---- what goes wrong

    def handle_protocol_error(
        self, event: RequestProtocolError | ResponseProtocolError
    ) -> layer.CommandGenerator[None]:
        if isinstance(event, ResponseProtocolError) and self.client_state == self.state_done:
            if self.server_state in (self.state_done, self.state_errored):
                return  # the client has its answer already
            if self.server_state in (
                self.state_wait_for_response_headers,
                self.state_drain,
                self.state_consume_response_body,
            ):
                yield from self.upstream_failed(event)
                return
            if self.server_state == self.state_stream_response_body:
                yield from self.upstream_died(event.message)
                return
        yield from super().handle_protocol_error(event)
        self.server_state = self.state_errored  # what the upstream says from here on ends no exchange a second time

    def upstream_failed(self, event: ResponseProtocolError) -> layer.CommandGenerator[None]:
        """No byte of an answer has gone out: try again where that is safe, else say what happened."""
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
        self.drained = None
        promising = stale or (never_connected and not self.parent.timed_out)
        # Without its client nobody would close the new connection.
        if promising and exchange.progress.attempts < ATTEMPTS - 1 and self.context.client.connected:
            exchange.progress.attempts += 1
            self.server_state = self.state_wait_for_response_headers
            yield from self.forward()
            return
        exchange.progress.from_upstream = False
        self.flow.response = error_response(exchange.format, self.explain(event, never_connected), self.flow.id)
        yield from self.deliver()

    def explain(self, event: ResponseProtocolError, never_connected: bool) -> ExchangeError:  # noqa: FBT001
        """What to tell the client. An upstream's malformed bytes are not quoted: they may hold anything."""
        request, exchange = self.flow.request, self.exchange
        name = exchange.route.provider.name if exchange.route else "the upstream"
        where = f"{name} at {request.host}:{request.port}"
        if never_connected and self.parent.timed_out:
            return UpstreamUnreachable(f"no connection to {where} in time (server.connect_timeout)")
        if never_connected:
            return UpstreamUnreachable(f"no connection to {where}: {event.message}")
        if event.message == "server closed connection":
            return UpstreamBroken(f"{where} closed the connection before it answered")
        return UpstreamBroken(f"{where} broke off or sent no valid HTTP")

    def upstream_died(self, message: str) -> layer.CommandGenerator[None]:
        """The upstream died in the middle of a streamed answer."""
        exchange = self.exchange
        if not message.startswith("HTTP/1 protocol error: peer closed"):
            message = "the upstream sent no valid HTTP"  # mitmproxy's message quotes the body
        exchange.progress.truncated = message
        error = UpstreamBroken("the upstream closed the connection in the middle of its answer")
        data = b""
        if exchange.way.transform is not None:
            data = exchange.way.transform.fail(error)
        elif self.takes_an_event():
            data = error_event(exchange.format, error, f"req_{self.flow.id}")
        if not data and exchange.way.transform is None:
            yield from self.cut(message)
            return
        if data:
            exchange.progress.sent(len(data))
            yield SendHttp(ResponseData(self.stream_id, data), self.context.client)
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

    def cut(self, message: str) -> layer.CommandGenerator[None]:
        """End the client's connection without an end of the message, so that nobody takes the answer for whole."""
        self.exchange.progress.truncated = message
        self.flow.error = mflow.Error(message)
        self.server_state = self.client_state = self.state_errored
        yield HttpErrorHook(self.flow)
        self.flow.live = False
        yield SendHttp(ResponseProtocolError(self.stream_id, message, _CUT), self.context.client)
        yield DropStream(self.stream_id)


MakeStream = Callable[[Context, int, "GatewayLayer"], GatewayStream]
"""Makes the stream of one exchange: `GatewayStream`, or one that tells what passes (`addons.wire`)."""


def _forked(context: Context) -> Context:
    """As `Context.fork`, which first makes a server that it then throws away."""
    made = twin(context)
    made.layers = context.layers.copy()
    return made


def _for_the_wire(message: Message, fields: tuple[Field, ...]) -> Message:
    """A shallow copy of a message with header fields of its own: what is added for the wire never shows on the flow."""
    wire = twin(message)
    wire.data = twin(message.data)
    wire.data.http_version = b"HTTP/1.1"
    wire.data.headers = QuickHeaders.of(fields)
    return wire


class GatewayLayer(HttpLayer):
    """Makes `GatewayStream`s for one client connection and keeps its upstream connections."""

    def __init__(
        self,
        context: Context,
        limits: Limits,
        call_now: Callable[[commands.StartHook], bool] | None = None,
        make: MakeStream | None = None,
    ) -> None:
        super().__init__(context, HTTPMode.transparent)
        self.limits = limits
        self.make = make or GatewayStream
        self.call_now = call_now
        """Runs a hook at once if nothing in it waits: a task and a turn of the event loop less, four times an exchange."""
        self._released: dict[Connection, float] = {}
        self._closed: list[Connection] = []
        self._deadlines: dict[commands.Command, tuple[Server, Server]] = {}
        self.timed_out = False
        """The connection that was tried last did not stand in time."""

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.Wakeup) and event.command in self._deadlines:
            wanted, transport = self._deadlines.pop(event.command)
            if wanted in self.waiting_for_establishment:
                self.timed_out = True
                yield commands.CloseConnection(transport)
            return
        if isinstance(event, events.Start):
            self.connections[self.context.client] = ClientSide(self.context.fork())
        yield from super()._handle_event(event)
        if isinstance(event, events.ConnectionClosed) and event.connection is not self.context.client:
            self._closed.append(event.connection)

    def event_to_child(self, child: layer.Layer | HttpStream, event: events.Event) -> layer.CommandGenerator[None]:
        """Give an event to a stream or to a connection, and what either says to the other.

        mitmproxy's own says the same; here the most frequent come first, and a hook that waits for nothing is run at once.
        """
        for command in child.handle_event(event):
            if isinstance(command, SendHttp):
                yield from self.event_to_child(self.connections[command.connection], command.event)
            elif isinstance(command, ReceiveHttp):
                received = command.event
                if isinstance(received, RequestHeaders):
                    yield from self.make_stream(received.stream_id)
                stream = self.streams.get(received.stream_id)
                if stream is not None:  # else it is over already, https://github.com/mitmproxy/mitmproxy/issues/5343
                    yield from self.event_to_child(stream, received)
            elif isinstance(command, commands.StartHook):
                if not command.blocking:
                    yield command
                elif self.call_now is not None and self.call_now(command):
                    yield from self.event_to_child(child, events.HookCompleted(command))
                else:
                    self.command_sources[command] = child
                    yield command
            elif isinstance(command, commands.SendData):
                yield command
            else:
                yield from self.carry_out(command, child)

    def carry_out(self, command: commands.Command, child: layer.Layer | HttpStream) -> layer.CommandGenerator[None]:
        """What is asked for once an exchange, or once a connection."""
        if command.blocking or isinstance(command, commands.RequestWakeup):
            self.command_sources[command] = child
        if isinstance(command, DropStream):
            self.streams.pop(command.stream_id, None)
        elif isinstance(command, GetHttpConnection):
            yield from self.get_connection(command)
        elif isinstance(command, RegisterHttpConnection):
            yield from self.register_connection(command)
        else:
            if isinstance(command, commands.OpenConnection):
                self.connections[command.connection] = child
            yield command

    def make_stream(self, stream_id: int) -> layer.CommandGenerator[None]:
        stream = self.streams[stream_id] = self.make(_forked(self.context), stream_id, self)
        yield from self.event_to_child(stream, events.Start())

    def take(self, connection: Connection) -> bool:
        """A stream begins to use this upstream connection. True if it is the first one."""
        return self._released.pop(connection, None) is None

    def release(self, connection: Connection) -> None:
        """A stream has read its answer to the end: the connection may serve another, for a while."""
        self._released[connection] = self.limits.clock()

    def get_connection(self, event: GetHttpConnection, *, reuse: bool = True) -> layer.CommandGenerator[None]:
        """A kept connection to this upstream that is not stale, else a new one.

        Unlike mitmproxy's own, a connection that failed before is tried again, and one that idled for long is closed.
        """
        while self._closed:  # no stream uses them any more: HTTP/1 serves one after the other
            self.connections.pop(self._closed.pop(), None)
        for connection, released in list(self._released.items()):
            if not connection.connected:
                del self._released[connection]
            elif self.limits.clock() - released > IDLE_REUSE:
                del self._released[connection]
                yield commands.CloseConnection(connection)
            elif reuse and event.connection_spec_matches(connection):
                stream = self.command_sources.pop(event)
                yield from self.event_to_child(stream, GetHttpConnectionCompleted(event, (connection, None)))
                return
        yield from self.open_connection(event)

    def open_connection(self, event: GetHttpConnection) -> layer.CommandGenerator[None]:
        """TCP, then a company's proxy, then TLS, then HTTP/1.1, as far as each is wanted."""
        context = self.context.fork()
        context.server = Server(address=event.address, transport_protocol=event.transport_protocol)
        stack = tunnel.LayerStack()
        transport = context.server
        if event.via:
            context.server.via = event.via
            tunnels = _upstream_proxy.HttpUpstreamProxy.make(context, True)  # noqa: FBT003 - always by CONNECT
            transport = tunnels[-1].tunnel_connection  # type: ignore[attr-defined]  # the last one is the HttpUpstreamProxy
            stack /= tunnels
        if event.tls:
            context.server.sni = event.address[0]
            context.server.alpn_offers = (b"http/1.1",)
            stack /= tls.ServerTLSLayer(context)
        stack /= UpstreamHttp(context)
        self.connections[context.server] = stack[0]
        self.waiting_for_establishment[context.server].append(event)
        self.timed_out = False
        deadline = commands.RequestWakeup(self.limits.connect_timeout)
        self._deadlines[deadline] = (context.server, transport)
        yield deadline
        yield from self.event_to_child(stack[0], events.Start())


class UpstreamHttp(layer.Layer):
    """Opens the connection and speaks HTTP/1.1 on it: mitmproxy's HttpClient with `UpstreamSide`."""

    @expect(events.Start)
    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        err: str | None = None
        if not self.context.server.connected:
            err = yield commands.OpenConnection(self.context.server)
        if not err:
            child = UpstreamSide(self.context)
            self._handle_event = child.handle_event  # as mitmproxy's own HttpClient does
            yield from child.handle_event(event)
        yield RegisterHttpConnection(self.context.server, err)
