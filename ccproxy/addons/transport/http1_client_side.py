"""The client's side of HTTP/1: reads requests, writes responses. Whatever is wrong with a request is reported in JSON."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Final

from mitmproxy.connection import Client, ConnectionState
from mitmproxy.proxy.context import Context

from ccproxy.addons.transport.http1 import Http1Side
from ccproxy.addons.transport.http1_bodies import reader_for
from ccproxy.addons.transport.http1_heads import (
    IS_TLS,
    Malformed,
    RequestHeads,
    TooLarge,
    closes,
    has_no_body,
    read_request,
    target_in,
)
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
from ccproxy.addons.transport.responses import last_words
from ccproxy.errors import BadRequest, ExchangeError, HeadersTooLarge, RequestTooLarge, UpstreamBroken

logger = logging.getLogger(__name__)

MAX_AHEAD: Final = 2**20
"""Bytes that a client may send behind a request whose response is on the way. No known client pipelines."""
LINGER: Final = 5.0
"""Seconds of silence after which a connection is closed whose last response may not have been read."""
MAX_LINGER: Final = 24
"""How often `LINGER` may pass: a client that goes on sending is cut off after two minutes."""


@dataclass
class PipelinedRequestHook(commands.StartHook):
    """The client sent another request before the last response was complete. The gateway waits until the client has read that."""

    client: Client


class ClientSide(Http1Side):
    """The connection of one client."""

    received_data = RequestData
    received_end = RequestEndOfMessage
    conn: Client
    stream_id: int = 1
    heads: RequestHeads

    def __init__(self, context: Context) -> None:
        super().__init__(context, context.client)
        self.heads = RequestHeads()
        self._busy = False
        self._unread = False
        """The end of an exchange has left something in `heads`."""
        self._silent = True
        """Nothing has come since the last look at a connection that lingers."""
        self._looks = 0

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        """Requests that came one behind the other are read one after the other, here: within the end of the last it would go ever deeper.

        Each has to wait until what was written before it has been read: responses may be a thousand times the size of requests.
        """
        outermost, self._busy = not self._busy, True
        try:
            yield from super()._handle_event(event)
            while outermost and self._unread:
                self._unread = False
                yield PipelinedRequestHook(self.conn)
                if self.state == self.read_headers and self.conn.state & ConnectionState.CAN_READ:
                    yield from self._read_next()
        finally:
            if outermost:
                self._busy = False

    # ---- what the client sends

    def read_headers(self, event: events.Event) -> CommandGenerator[None]:
        if not isinstance(event, events.DataReceived):
            yield from self.close()
            return
        self.heads.add(event.data)
        yield from self._read_next()

    def _read_next(self) -> CommandGenerator[None]:
        head = None
        try:
            head = self.heads.take()
            if head is None:
                return
            request, framing = read_request(head)
        except Malformed as error:
            target = target_in(self.heads.first_line() if head is None else head)
            yield from self._refuse(_refusal(error), target)
            return
        self.request = request
        self.body = reader_for(framing)
        self.state = self.read_body
        yield ReceiveHttp(RequestHeaders(self.stream_id, request, framing == 0))
        # Unless the request was refused meanwhile, its body may have come along.
        if self.state == self.read_body:
            yield from self.read_body(events.DataReceived(self.conn, self.heads.take_rest()))

    def body_ends(self, rest: bytes) -> CommandGenerator[None]:
        self.heads.add(rest)
        self.state = self.wait
        self.request_done = True
        yield ReceiveHttp(RequestEndOfMessage(self.stream_id))

    def body_breaks(self, error: Malformed, *, connection_ended: bool) -> CommandGenerator[None]:
        if self.response is None and not connection_ended:
            yield from self._refuse(_refusal(error), self.request.path if self.request else "")
        else:
            yield from self.close()
        yield ReceiveHttp(RequestProtocolError(self.stream_id, f"the request {error}", RequestProtocolError.code))

    def wait(self, event: events.Event) -> CommandGenerator[None]:
        """State: the request is whole, and its response is not."""
        if isinstance(event, events.DataReceived):
            self.heads.add(event.data)
            if len(self.heads) > MAX_AHEAD:
                logger.info("A client sent more than %d KB without waiting for its response", MAX_AHEAD // 1024)
                yield from self._leave()
        else:
            yield from self._leave()

    def _leave(self) -> CommandGenerator[None]:
        """End the connection in the middle of a response. A client that has closed its half is taken for gone: so does nearly every one."""
        yield from self.close()
        yield ReceiveHttp(RequestProtocolError(self.stream_id, "Client disconnected.", RequestProtocolError.code))

    def discard(self, event: events.Event) -> CommandGenerator[None]:
        """State: the last response was sent; what still comes is dropped until the client closes."""
        if isinstance(event, events.DataReceived):
            self._silent = False
        elif isinstance(event, events.Wakeup) and not self._silent and self._looks < MAX_LINGER:
            self._silent = True
            self._looks += 1
            yield commands.RequestWakeup(LINGER)
        else:
            yield from self.close()

    # ---- what it gets

    def send(self, event: HttpEvent) -> CommandGenerator[None]:
        if isinstance(event, ResponseData):
            if not self._no_body:
                yield self.framed(event.data)
        elif isinstance(event, ResponseHeaders):
            yield from self._send_head(event)
        elif isinstance(event, ResponseEndOfMessage):
            if self.chunked:
                yield commands.SendData(self.conn, b"0\r\n\r\n")
            yield from self._response_done()
        elif isinstance(event, ResponseProtocolError):
            yield from self._send_error(event)

    _no_body = False

    def _send_head(self, event: ResponseHeaders) -> CommandGenerator[None]:
        response, request = event.response, self.request
        assert request is not None
        if response.status_code < 200:
            if request.data.http_version != b"HTTP/1.0":  # https://www.rfc-editor.org/rfc/rfc9110#section-15.2-3
                yield commands.SendData(self.conn, http1.assemble_response_head(response))
            return
        self.response = response
        self._no_body = has_no_body(request.data.method, response.status_code)
        self.chunked = not self._no_body and "transfer-encoding" in response.headers
        yield commands.SendData(self.conn, http1.assemble_response_head(response))

    def _response_done(self) -> CommandGenerator[None]:
        request, response = self.request, self.response
        assert request is not None
        assert response is not None
        if not self.request_done:
            yield from self._linger()
            return
        endless = not self._no_body and not self.chunked and "content-length" not in response.headers
        if endless or closes(request.data.http_version, request.headers) or closes(b"", response.headers):
            yield from self.close()
            return
        self.request_done = False
        self.request = self.response = None
        self.stream_id += 2
        self.state = self.read_headers
        self._unread = len(self.heads) > 0

    def _send_error(self, event: ResponseProtocolError) -> CommandGenerator[None]:
        if not self.conn.state & ConnectionState.CAN_WRITE:
            return
        error = _as_error(event)
        if self.response is None and error is not None:
            yield from self._refuse(error, self.request.path if self.request else "")
        else:
            yield from self.close()

    def _refuse(self, error: ExchangeError, target: str) -> CommandGenerator[None]:
        """Respond to what never became an exchange, then close."""
        # A wrong base URL is for the user to correct, and the client shows no more than a failed handshake.
        logger.log(
            logging.WARNING if IS_TLS in str(error) else logging.INFO, "Refused before it was a request: %s", error
        )
        if self.conn.state & ConnectionState.CAN_WRITE:
            yield commands.SendData(self.conn, last_words(error, target))
        yield from self._linger()

    def _linger(self) -> CommandGenerator[None]:
        """Close the connection so that the client can read its last response.

        A socket that is closed before all was read from it is reset, and the response may be lost with it
        (https://www.rfc-editor.org/rfc/rfc9112#section-9.6-10).
        """
        self.state = self.discard
        self.heads.clear()
        if self.conn.state & ConnectionState.CAN_WRITE:
            yield commands.CloseTcpConnection(self.conn, half_close=True)
            yield commands.RequestWakeup(LINGER)

    def forget(self) -> None:
        super().forget()
        self._unread = False


def _refusal(error: Malformed) -> ExchangeError:
    message = f"The request is not valid HTTP/1.1: {error}"
    return HeadersTooLarge(message) if isinstance(error, TooLarge) else BadRequest(message)


def _as_error(event: ResponseProtocolError) -> ExchangeError | None:
    """The error behind a protocol error, or None where mitmproxy wants the connection closed without a word."""
    code: Any = event.code
    status = code.http_status_code() if hasattr(code, "http_status_code") else code  # an int up to mitmproxy 11.0
    if status is None or status in (204, 444, 499):
        return None
    # mitmproxy's messages name its own options and quote what was sent
    if status == 413:
        return RequestTooLarge("The request body is too large")
    if 400 <= status < 500:
        return BadRequest("The request is not valid HTTP/1.1")
    return UpstreamBroken("The upstream did not send valid HTTP")
