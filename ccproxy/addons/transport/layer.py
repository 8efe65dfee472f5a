"""GatewayLayer: mitmproxy's HTTP layer for one client connection. It makes `GatewayStream`s and keeps the connections to upstreams."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from mitmproxy.connection import Connection, Server
from mitmproxy.proxy.context import Context

from ccproxy.addons.transport.flow_edits import twin
from ccproxy.addons.transport.http1 import ClientSide, UpstreamSide
from ccproxy.addons.transport.mitmproxy_internals import (
    CUT,
    CommandGenerator,
    DropStream,
    GetHttpConnection,
    GetHttpConnectionCompleted,
    HttpLayer,
    HTTPMode,
    HttpStream,
    Layer,
    ReceiveHttp,
    RegisterHttpConnection,
    RequestHeaders,
    RequestProtocolError,
    SendHttp,
    StartHook,
    commands,
    events,
    expect,
    tls,
    tunnel,
    upstream_proxy,
)
from ccproxy.addons.transport.responses import last_words
from ccproxy.addons.transport.stream import STOPPING, GatewayStream, Limits, Stop, Tick
from ccproxy.errors import Unavailable

logger = logging.getLogger(__name__)

IDLE_REUSE: Final = 60.0
"""Seconds after which a kept upstream connection is not used again: laptops sleep, firewalls forget."""
TICK: Final = 5.0
"""Seconds between two looks at streams that wait for their upstream."""

MakeStream = Callable[[Context, int, "GatewayLayer"], GatewayStream]
"""Makes the stream of one exchange: `GatewayStream`, or one that reports what passes (`watched_stream.py`)."""


class Stopping(events.Event):
    """ccproxy stops. Sent to each connection before it is closed, so that exchanges end properly."""


def _forked(context: Context) -> Context:
    """As `Context.fork`, which first makes a server that it then throws away."""
    made = twin(context)
    made.layers = context.layers.copy()
    return made


class GatewayLayer(HttpLayer):
    """Makes `GatewayStream`s for one client connection and keeps its upstream connections."""

    def __init__(
        self,
        context: Context,
        limits: Limits,
        call_now: Callable[[StartHook], bool] | None = None,
        make: MakeStream | None = None,
    ) -> None:
        super().__init__(context, HTTPMode.transparent)
        self.limits = limits
        self.make = make or GatewayStream
        self.call_now = call_now
        """Runs a hook at once if nothing in it waits. This saves a task and a turn of the event loop, four times per exchange."""
        self._released: dict[Connection, float] = {}
        self._closed: list[Connection] = []
        self._deadlines: dict[commands.Command, tuple[Server, Server]] = {}
        self.timed_out = False
        """The connection that was tried last was not established in time."""
        self.stopping = False
        self._ticking: commands.RequestWakeup | None = None
        self._dropped: list[GatewayStream] = []

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, events.Wakeup) and (event.command is self._ticking or event.command in self._deadlines):
            yield from self.wake_up(event)
            return
        if isinstance(event, Stopping):
            yield from self.stop()
            return
        if isinstance(event, events.Start):
            self.connections[self.context.client] = ClientSide(self.context.fork())
        try:
            yield from super()._handle_event(event)
        except Exception:
            # mitmproxy would log it and leave the client waiting.
            logger.exception("A connection failed and is closed")
            yield commands.CloseConnection(self.context.client)
        if isinstance(event, events.ConnectionClosed):
            self.connection_closed(event.connection)
        while self._dropped:
            self._dropped.pop().dispose()

    def connection_closed(self, connection: Connection) -> None:
        """Without its client the layer is over: what its connections and streams have read is freed now, not at the next full collection."""
        if connection is not self.context.client:
            self._closed.append(connection)
            return
        self._dropped += [stream for stream in self.streams.values() if isinstance(stream, GatewayStream)]
        for side in self.connections.values():
            if isinstance(side, ClientSide | UpstreamSide):
                side.forget()

    def wake_up(self, event: events.Wakeup) -> CommandGenerator[None]:
        """A connection has had its time to be established, or the streams have waited for some seconds."""
        self.command_sources.pop(event.command, None)
        if event.command in self._deadlines:
            server, transport = self._deadlines.pop(event.command)
            if server in self.waiting_for_establishment:
                self.timed_out = True
                yield commands.CloseConnection(transport)
                yield from self.give_up_connecting(server, "no connection in time")
        else:
            self._ticking = None
            yield from self.tick(Tick)
            if self.streams:
                yield from self.keep_time()

    def give_up_connecting(self, server: Connection, reason: str) -> CommandGenerator[None]:
        """Answer the streams that wait for a connection. mitmproxy would, but not where its own task is cancelled while it waits for its turn."""
        for command in self.waiting_for_establishment.pop(server, []):
            stream = self.command_sources.pop(command)
            yield from self.event_to_child(stream, GetHttpConnectionCompleted(command, (None, reason)))

    def stop(self) -> CommandGenerator[None]:
        """End all exchanges. One whose hook still waits for something gets a bare error."""
        self.stopping = True
        for server in list(self.waiting_for_establishment):
            yield from self.give_up_connecting(server, "ccproxy is stopping")
        yield from self.tick(Stop)
        side = self.connections[self.context.client]
        if self.streams and isinstance(side, ClientSide) and side.request is not None and side.response is None:
            yield commands.SendData(side.conn, last_words(Unavailable(STOPPING), side.request.path))
            yield commands.CloseConnection(side.conn)

    def tick(self, event: type[Tick]) -> CommandGenerator[None]:
        """Send an event to each stream that waits for its upstream."""
        for stream in list(self.streams.values()):
            if isinstance(stream, GatewayStream) and stream.upstream_active:
                yield from self.event_to_child(stream, event(stream.stream_id))
        while self._dropped:
            self._dropped.pop().dispose()

    def keep_time(self) -> CommandGenerator[None]:
        """Have `Tick`s sent to the streams while there are any. One timer at a time: mitmproxy cannot stop one."""
        if self._ticking is None:
            self._ticking = commands.RequestWakeup(min(TICK, self.limits.idle_timeout / 4))
            yield self._ticking

    def event_to_child(self, child: Layer | HttpStream, event: events.Event) -> CommandGenerator[None]:
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
            elif isinstance(command, StartHook):
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

    def carry_out(self, command: commands.Command, child: Layer | HttpStream) -> CommandGenerator[None]:
        """The commands that occur once per exchange, or once per connection."""
        if command.blocking or isinstance(command, commands.RequestWakeup):
            self.command_sources[command] = child
        if isinstance(command, DropStream):
            stream = self.streams.pop(command.stream_id, None)
            if isinstance(stream, GatewayStream):
                self._dropped.append(stream)
        elif isinstance(command, GetHttpConnection):
            yield from self.get_connection(command)
        elif isinstance(command, RegisterHttpConnection):
            if command.connection in self.waiting_for_establishment:  # else it came too late
                yield from self.register_connection(command)
            elif not command.err:
                yield from self.event_to_child(
                    self.connections[command.connection], RequestProtocolError(0, "too late", CUT)
                )
        else:
            if isinstance(command, commands.OpenConnection):
                self.connections[command.connection] = child
            yield command

    def make_stream(self, stream_id: int) -> CommandGenerator[None]:
        stream = self.streams[stream_id] = self.make(_forked(self.context), stream_id, self)
        yield from self.event_to_child(stream, events.Start())

    def take(self, connection: Connection) -> bool:
        """A stream begins to use this upstream connection. True if it is the first one."""
        return self._released.pop(connection, None) is None

    def release(self, connection: Connection) -> None:
        """A stream has read its response to the end: the connection may serve another, for a while."""
        self._released[connection] = self.limits.clock()

    def get_connection(self, event: GetHttpConnection, *, reuse: bool = True) -> CommandGenerator[None]:
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
                # Through the whole stack, which may have a tunnel or TLS in it.
                yield from self.event_to_child(self.connections[connection], RequestProtocolError(0, "idle", CUT))
            elif reuse and event.connection_spec_matches(connection):
                stream = self.command_sources.pop(event)
                yield from self.event_to_child(stream, GetHttpConnectionCompleted(event, (connection, None)))
                return
        yield from self.open_connection(event)

    def open_connection(self, event: GetHttpConnection) -> CommandGenerator[None]:
        """TCP, then a corporate proxy, then TLS, then HTTP/1.1, as far as each is needed."""
        context = self.context.fork()
        context.server = Server(address=event.address, transport_protocol=event.transport_protocol)
        stack = tunnel.LayerStack()
        transport = context.server
        if event.via:
            context.server.via = event.via
            tunnels = upstream_proxy.HttpUpstreamProxy.make(context, True)  # noqa: FBT003 - always by CONNECT
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


class UpstreamHttp(Layer):
    """Opens the connection and speaks HTTP/1.1 on it: mitmproxy's HttpClient with `UpstreamSide`."""

    @expect(events.Start)
    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        err: str | None = None
        if not self.context.server.connected:
            err = yield commands.OpenConnection(self.context.server)
        if not err:
            child = UpstreamSide(self.context)
            self._handle_event = child.handle_event  # as mitmproxy's own HttpClient does
            yield from child.handle_event(event)
        yield RegisterHttpConnection(self.context.server, err)
