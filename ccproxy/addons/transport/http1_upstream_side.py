"""The upstream's side of HTTP/1: writes requests, reads responses. Interim responses (100, 103) are passed over: the final one follows."""

from __future__ import annotations

import logging
from typing import Final

from mitmproxy import http
from mitmproxy.connection import ConnectionState, Server
from mitmproxy.proxy.context import Context

from ccproxy.addons.transport.http1 import Http1Side
from ccproxy.addons.transport.http1_bodies import reader_for
from ccproxy.addons.transport.http1_heads import Framing, Malformed, ResponseHeads, closes, read_response
from ccproxy.addons.transport.mitmproxy_internals import (
    CommandGenerator,
    HttpEvent,
    ReceiveHttp,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    commands,
    events,
    http1,
)

logger = logging.getLogger(__name__)

MAX_INTERIM: Final = 64
"""Interim responses before the final one. Servers send one or two; their bytes count towards `MAX_RESPONSE_HEAD`."""

CLOSED: Final = "the upstream closed the connection before its response"
"""The message if an upstream closes before it has sent a byte."""
ENDED: Final = "the upstream closed the connection in the middle of its response"
"""The beginning of the message if an upstream closes later."""


class UpstreamSide(Http1Side):
    """One connection to an upstream. Between two exchanges it has no `stream_id`."""

    received_data = ResponseData
    received_end = ResponseEndOfMessage
    conn: Server
    heads: ResponseHeads
    was_reset = False
    """The connection has ended in an error of the network. Set before its end is reported."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, context.server)
        self.heads = ResponseHeads()
        self._interim = 0
        self._interim_bytes = 0
        self._reusable = True

    def send(self, event: HttpEvent) -> CommandGenerator[None]:
        if isinstance(event, RequestHeaders):
            self.stream_id = event.stream_id
            self.request = event.request
            self.chunked = "transfer-encoding" in event.request.headers
            self._interim = self._interim_bytes = 0
            yield commands.SendData(self.conn, http1.assemble_request_head(event.request))
        elif isinstance(event, RequestData):
            yield self.framed(event.data)
        elif isinstance(event, RequestEndOfMessage):
            if self.chunked:
                yield commands.SendData(self.conn, b"0\r\n\r\n")
            self.request_done = True
        elif isinstance(event, RequestProtocolError):
            yield from self.close()

    def read_headers(self, event: events.Event) -> CommandGenerator[None]:
        if not isinstance(event, events.DataReceived):
            yield from self._closed_before_response()
            return
        if self.request is None:
            logger.info("An upstream sent data without a request: its connection is closed")
            yield from self.close()
            return
        self.heads.add(event.data)
        try:
            message = self._take_response(self.request.data.method)
        except Malformed as error:
            yield from self._give_up(str(error))
            return
        if message is None:
            return
        assert self.stream_id is not None
        response, framing = message
        self.response = response
        self.body = reader_for(framing)
        self.state = self.read_body
        yield ReceiveHttp(ResponseHeaders(self.stream_id, response, framing == 0))
        if self.state == self.read_body:
            yield from self.read_body(events.DataReceived(self.conn, self.heads.take_rest()))

    def _take_response(self, method: bytes) -> tuple[http.Response, Framing] | None:
        """Take the head of the final response; None if it has not come."""
        while (head := self.heads.take()) is not None:
            response, framing = read_response(head, method)
            if response.status_code == 101:
                raise Malformed("it switches protocols, which was not requested")
            if response.status_code >= 200:
                # An upstream that announces chunks where there is no body may send the last one all the same.
                strange = framing == 0 and "transfer-encoding" in response.headers
                self._reusable = not strange and not closes(response.data.http_version, response.headers)
                return response, framing
            self._interim += 1
            self._interim_bytes += len(head)
            if self._interim > MAX_INTERIM or self._interim_bytes > self.heads.limit:
                raise Malformed("it has too many interim responses")
        return None

    def read_body(self, event: events.Event) -> CommandGenerator[None]:
        if self.was_reset and isinstance(event, events.ConnectionClosed):
            yield from self.body_breaks(Malformed("it was reset"), connection_ended=True)
        else:
            yield from super().read_body(event)

    def body_ends(self, rest: bytes) -> CommandGenerator[None]:
        """The connection is free before the stream hears of it: the client's next request may be on it before this returns.

        What follows a response, or is in doubt, must not become the next one.
        """
        assert self.stream_id is not None
        end = ResponseEndOfMessage(self.stream_id)
        if rest:
            logger.info("An upstream sent more than its response: its connection is closed")
        if rest or not self._reusable or not self.request_done or not self.conn.state & ConnectionState.CAN_READ:
            yield from self.close()
        else:
            self.state = self.read_headers
        self.request_done = False
        self.request = self.response = self.stream_id = None
        yield ReceiveHttp(end)

    def body_breaks(self, error: Malformed, *, connection_ended: bool) -> CommandGenerator[None]:
        yield from self._give_up(f"{ENDED}: {error}" if connection_ended else str(error))

    def _closed_before_response(self) -> CommandGenerator[None]:
        if self.stream_id is None:
            yield from self.close()
        else:
            yield from self._give_up(ENDED if len(self.heads) or self._interim else CLOSED)

    def _give_up(self, message: str) -> CommandGenerator[None]:
        assert self.stream_id is not None
        yield from self.close()
        yield ReceiveHttp(ResponseProtocolError(self.stream_id, message, ResponseProtocolError.code))
