"""HTTP/1 on one connection: what the client's side (`http1_client_side.py`) and the upstream's side (`http1_upstream_side.py`) have in common.

mitmproxy's own layers (mitmproxy/proxy/layers/http/_http1.py) are not extended but replaced: they keep whatever comes without a limit, take a 1xx
response for the final one, end with NotImplementedError where trailers begin, and write HTML. Only the commands and events are mitmproxy's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from mitmproxy import http
from mitmproxy.connection import Connection, ConnectionState
from mitmproxy.proxy.context import Context

from ccproxy.addons.transport.http1_bodies import BodyReader
from ccproxy.addons.transport.http1_heads import HeadBuffer, Malformed
from ccproxy.addons.transport.mitmproxy_internals import (
    CommandGenerator,
    HttpConnection,
    HttpEvent,
    ReceiveHttp,
    RequestData,
    RequestEndOfMessage,
    ResponseData,
    ResponseEndOfMessage,
    commands,
    events,
)


class Http1Side(HttpConnection):
    """Reads messages from a connection and writes messages to it. `state` is the method that takes what the connection brings."""

    received_data: ClassVar[type[RequestData | ResponseData]]
    received_end: ClassVar[type[RequestEndOfMessage | ResponseEndOfMessage]]

    state: Callable[[events.Event], CommandGenerator[None]]
    heads: HeadBuffer
    """What has come and was not read: the beginning of a head, or what the client sent ahead."""
    body: BodyReader
    stream_id: int | None = None
    request: http.Request | None = None
    response: http.Response | None = None
    request_done = False
    response_done = False
    chunked = False
    """The message that is written goes out in chunks."""

    def __init__(self, context: Context, conn: Connection) -> None:
        super().__init__(context, conn)
        self.state = self.read_headers

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, HttpEvent):
            yield from self.send(event)
        elif not isinstance(event, events.Start):
            yield from self.state(event)

    def send(self, event: HttpEvent) -> CommandGenerator[None]:
        """Write a part of a message."""
        raise NotImplementedError

    def read_headers(self, event: events.Event) -> CommandGenerator[None]:
        """State: the next message may begin."""
        raise NotImplementedError

    def read_body(self, event: events.Event) -> CommandGenerator[None]:
        """State: the body of a message comes. What has come of it is passed on in one piece.

        A chunk that comes alone is passed on alone, so nothing waits; of a hundred that come at once a fast stream is made.
        """
        if not isinstance(event, events.DataReceived):
            try:
                self.body.end()
            except Malformed as error:
                yield from self.body_breaks(error, connection_ended=True)
            else:
                yield from self.body_ends(b"")
            return
        data, rest = self.body.read(event.data)
        if data:
            assert self.stream_id is not None
            yield ReceiveHttp(self.received_data(self.stream_id, data))
        if self.body.error is not None:
            yield from self.body_breaks(self.body.error, connection_ended=False)
        elif rest is not None:
            yield from self.body_ends(rest)

    def body_ends(self, rest: bytes) -> CommandGenerator[None]:
        """A message is whole; `rest` came after it."""
        raise NotImplementedError

    def body_breaks(self, error: Malformed, *, connection_ended: bool) -> CommandGenerator[None]:
        """A message will never be whole."""
        raise NotImplementedError

    def done(self, event: events.Event) -> CommandGenerator[None]:
        """State: the connection is over."""
        del event
        yield from ()

    def close(self) -> CommandGenerator[None]:
        """Close the connection; whatever still comes is ignored."""
        self.state = self.done
        self.heads.clear()
        if self.conn.state is not ConnectionState.CLOSED:
            yield commands.CloseConnection(self.conn)

    def framed(self, data: bytes) -> Any:
        """A piece of a body as it goes on the wire."""
        return commands.SendData(self.conn, b"%x\r\n%s\r\n" % (len(data), data) if self.chunked else data)

    def forget(self) -> None:
        """Free what was read and not used: the connection is over."""
        self.heads.clear()
        self.request = self.response = None
