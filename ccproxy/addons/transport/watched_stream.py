"""Traffic on the wire, for recordings and viewers: the four messages of every exchange, as they pass.

This stream reports everything that comes in and goes out. It is used only if there are watchers.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from mitmproxy import http
from mitmproxy.proxy.context import Context

from ccproxy.addons.transport.layer import GatewayLayer
from ccproxy.addons.transport.mitmproxy_internals import (
    CommandGenerator,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    SendHttp,
    events,
)
from ccproxy.addons.transport.stream import GatewayStream
from ccproxy.ledger.traffic import Message
from ccproxy.providers.header_fields import public_target

logger = logging.getLogger(__name__)

Head = http.Request | http.Response


class Watch(Protocol):
    """Receives one exchange. It must neither wait nor keep a head, which changes after the call."""

    def head(self, message: Message, head: Head) -> None:
        """A first line and fields. A second one of the same message is another attempt."""

    def body(self, message: Message, chunk: bytes) -> None: ...

    def end(self, message: Message, note: str = "complete") -> None: ...

    def close(self) -> None:
        """The exchange is over; what has no end by now was cut."""


class Watcher(Protocol):
    """Receives every exchange."""

    def watch(self, flow: http.HTTPFlow) -> Watch: ...


class WatchedStream(GatewayStream):
    """A GatewayStream that reports what passes. A watcher that fails gets nothing more; traffic continues."""

    def __init__(self, context: Context, stream_id: int, parent: GatewayLayer, watchers: Sequence[Watcher]) -> None:
        super().__init__(context, stream_id, parent)
        self.watchers = watchers
        self.watches: list[Watch] = []

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        request = copied(event.request) if isinstance(event, RequestHeaders) else None
        if request is None:
            self.arrives(event)
        running = super()._handle_event(event)
        reply: Any = None
        while True:
            try:
                command = running.send(reply)
            except StopIteration:
                break
            if request is not None:  # the flow is made in the first step; nothing has been changed on it yet
                self.begin(request)
                request = None
            if isinstance(command, SendHttp):
                self.leaves(command)
            reply = yield command
        if request is not None:
            self.begin(request)
        if self.watches and not self.flow.live:
            self.report(lambda watch: watch.close())
            self.watches = []

    def begin(self, request: http.Request) -> None:
        request.path = public_target(request.path)
        for watcher in self.watchers:
            try:
                self.watches.append(watcher.watch(self.flow))
            except Exception:
                logger.exception("Recording or showing an exchange failed")
        self.report(lambda watch: watch.head(Message.CLIENT_REQUEST, request))

    def arrives(self, event: events.Event) -> None:
        """From the client: a request; from the upstream: an answer."""
        if isinstance(event, RequestData):
            data = bytes(event.data)
            self.report(lambda watch: watch.body(Message.CLIENT_REQUEST, data))
        elif isinstance(event, RequestEndOfMessage):
            self.report(lambda watch: watch.end(Message.CLIENT_REQUEST))
        elif isinstance(event, RequestProtocolError):
            self.report(lambda watch: watch.end(Message.CLIENT_REQUEST, "cut"))
        elif isinstance(event, ResponseHeaders):
            response = event.response
            self.report(lambda watch: watch.head(Message.UPSTREAM_RESPONSE, response))
        elif isinstance(event, ResponseData):
            piece = bytes(event.data)
            self.report(lambda watch: watch.body(Message.UPSTREAM_RESPONSE, piece))
        elif isinstance(event, ResponseEndOfMessage):
            self.report(lambda watch: watch.end(Message.UPSTREAM_RESPONSE))
        elif isinstance(event, ResponseProtocolError):
            self.report(lambda watch: watch.end(Message.UPSTREAM_RESPONSE, "cut"))

    def leaves(self, command: SendHttp) -> None:
        """To the client: an answer; to the upstream: a request."""
        event = command.event
        message = Message.CLIENT_RESPONSE if command.connection is self.context.client else Message.UPSTREAM_REQUEST
        if isinstance(event, RequestHeaders | ResponseHeaders):
            head = event.request if isinstance(event, RequestHeaders) else event.response
            self.report(lambda watch: watch.head(message, head))
        elif isinstance(event, RequestData | ResponseData):
            data = bytes(event.data)
            self.report(lambda watch: watch.body(message, data))
        elif isinstance(event, RequestEndOfMessage | ResponseEndOfMessage):
            self.report(lambda watch: watch.end(message))
        elif isinstance(event, ResponseProtocolError | RequestProtocolError):
            self.report(lambda watch: watch.end(message, "cut"))

    def report(self, call: Callable[[Watch], None]) -> None:
        for watch in list(self.watches):
            try:
                call(watch)
            except Exception:
                logger.exception("Recording or showing an exchange failed")
                self.watches.remove(watch)


def copied(head: Head) -> Any:
    """A message with a head of its own, without its body."""
    made = copy.copy(head)
    made.data = copy.copy(head.data)
    made.data.headers = http.Headers(head.headers.fields)
    made.data.content = None
    return made
