"""HTTP/1 towards client and upstream: mitmproxy's own, with JSON errors, a limit for heads, and what real servers send.

mitmproxy answers malformed requests, CONNECT and the like in HTML before any stream exists
(https://github.com/mitmproxy/mitmproxy/blob/main/mitmproxy/proxy/layers/http/_http1.py); it takes a 1xx answer for the final one, and trailers
stop it with NotImplementedError.
"""

from __future__ import annotations

import logging
import re
from typing import Any, Final

import h11
from h11._receivebuffer import ReceiveBuffer
from mitmproxy import http
from mitmproxy.connection import ConnectionState

from ccproxy import mitmproxy_patches
from ccproxy.addons.transport.mitmproxy_internals import (
    CommandGenerator,
    Http1Client,
    Http1Connection,
    Http1Server,
    HttpEvent,
    ReceiveHttp,
    RequestHeaders,
    RequestProtocolError,
    ResponseHeaders,
    ResponseProtocolError,
    commands,
    events,
    http1,
    make_body_reader,
    validate_headers,
)
from ccproxy.addons.transport.responses import last_words
from ccproxy.errors import BadRequest, ExchangeError, HeadersTooLarge, RequestTooLarge, UpstreamBroken
from ccproxy.providers.header_fields import Field

logger = logging.getLogger(__name__)

MAX_HEAD: Final = 64 * 1024
"""Most bytes of a request's head; real ones have 2 to 8 KB."""
MAX_ANSWER_HEAD: Final = 256 * 1024
"""Most bytes of an answer's head: a broken upstream shall not fill the memory."""

MAX_AHEAD: Final = 2**20
"""Most bytes that a client may send behind a request whose answer is on the way. Nobody in this field pipelines."""

# What another parser may take for the end of a line (https://www.rfc-editor.org/rfc/rfc9112#name-obsolete-line-folding, RFC 9110 5.5).
# mitmproxy keeps all of it, and forwards it.
_AMBIGUOUS: Final = re.compile(rb"\n[ \t]|[\r\0]")


class QuickHeaders(http.Headers):
    """The same fields, looked up in a third of the time that mitmproxy takes: some fifteen times an exchange."""

    @classmethod
    def of(cls, fields: tuple[Field, ...]) -> QuickHeaders:
        """Made of fields that are bytes, which is not checked again."""
        made = cls.__new__(cls)
        made.fields = fields
        return made

    def get_all(self, name: str | bytes) -> list[str]:
        wanted = (name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name).lower()
        return [value.decode("utf-8", "surrogateescape") for key, value in self.fields if key.lower() == wanted]

    def get(self, name: str | bytes, default: Any = None) -> Any:
        values = self.get_all(name)
        return ", ".join(values) if values else default

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str | bytes) and bool(self.get_all(name))


_QUICK: Final = mitmproxy_patches.enabled()


def quicken(headers: http.Headers) -> None:
    """Make headers that were read from the wire `QuickHeaders`."""
    if _QUICK:
        headers.__class__ = QuickHeaders


class _WithoutTrailers:
    """A body reader that ends a message where its trailers begin: nobody in this field sends any that matter."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def __call__(self, buffer: ReceiveBuffer) -> Any:
        # h11 up to 0.14, which mitmproxy 11.0 wants, takes any two bytes for the end of a chunk (CVE-2025-43859).
        left = getattr(self._reader, "_bytes_to_discard", 0)
        if isinstance(left, int) and left and not b"\r\n"[-left:].startswith(bytes(buffer)[:left]):
            raise h11.RemoteProtocolError("malformed chunk footer")
        event = self._reader(buffer)
        return h11.EndOfMessage() if isinstance(event, h11.EndOfMessage) and event.headers else event

    def read_eof(self) -> Any:
        return self._reader.read_eof()


class _TrailersDropped(Http1Connection):
    def read_body(self, event: events.Event) -> CommandGenerator[None]:
        """What has come of a body is passed on in one piece: mitmproxy passes on, and writes, each chunk by itself.

        A chunk that comes alone goes on alone, so nothing waits; of a hundred that come at once a fast stream is made.
        """
        assert self.stream_id is not None
        assert self.request is not None
        if not isinstance(self.body_reader, _WithoutTrailers):
            self.body_reader = _WithoutTrailers(self.body_reader)  # type: ignore[assignment]  # same calls, no common class
        reader: Any = self.body_reader
        pieces: list[bytes] = []
        found: Any = None
        broken: h11.ProtocolError | None = None
        try:
            if isinstance(event, events.ConnectionClosed):
                found = reader.read_eof()
            else:
                while isinstance(found := reader(self.buf), h11.Data):
                    pieces.append(found.data)
        except h11.ProtocolError as error:
            broken = error
        if data := bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces):
            yield ReceiveHttp(self.ReceiveData(self.stream_id, data))
        if broken is not None:
            yield commands.CloseConnection(self.conn)
            code: Any = self.ReceiveProtocolError.code
            message = f"HTTP/1 protocol error: {broken}"
            yield ReceiveHttp(self.ReceiveProtocolError(self.stream_id, message, code))
        elif found is not None:
            yield from self.body_ends(self.ReceiveEndOfMessage(self.stream_id))

    def body_ends(self, event: HttpEvent) -> CommandGenerator[None]:
        raise NotImplementedError

    def forget(self) -> None:
        """Free what was read and not used: the connection is over."""
        self.buf = ReceiveBuffer()
        self.request = self.response = None


class ClientSide(_TrailersDropped, Http1Server):
    """Reads requests, writes answers; whatever goes wrong here is told in JSON."""

    busy = False

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        """Requests that came one behind the other are taken one after the other: mitmproxy reads the next within the end of the last, ever deeper."""
        outermost, self.busy = not self.busy, True
        yield from super()._handle_event(event)
        if outermost:
            left = 0
            while self.state == self.read_headers and len(self.buf) not in (0, left):
                left = len(self.buf)
                yield from self.state(events.DataReceived(self.conn, b""))
            self.busy = False

    def mark_done(self, *, request: bool = False, response: bool = False) -> CommandGenerator[None]:
        waiting, self.buf = self.buf, ReceiveBuffer()
        yield from super().mark_done(request=request, response=response)
        self.buf = waiting

    def send(self, event: HttpEvent) -> CommandGenerator[None]:
        if not isinstance(event, ResponseProtocolError):
            yield from super().send(event)
            return
        if not self.conn.state & ConnectionState.CAN_WRITE:
            return
        error = _as_error(event)
        if not self.response and error is not None:
            if self.request is not None and self.request.method == "CONNECT":
                error = BadRequest(
                    "ccproxy is no forward proxy: set the client's base URL to it, not HTTP_PROXY or HTTPS_PROXY"
                )
            yield commands.SendData(self.conn, last_words(error, self.request.path if self.request else ""))
        yield commands.CloseConnection(self.conn)

    def read_headers(self, event: events.ConnectionEvent) -> CommandGenerator[None]:
        if not isinstance(event, events.DataReceived):
            yield commands.CloseConnection(self.conn)
            return
        while (lines := self.buf.maybe_extract_lines()) == []:
            pass  # empty lines before a request (https://www.rfc-editor.org/rfc/rfc9112#section-2.2-6)
        if lines is None:
            if len(self.buf) > MAX_HEAD:
                yield from self._refuse(HeadersTooLarge(f"the request's head is larger than {MAX_HEAD // 1024} KB"))
            elif bytes(self.buf).startswith(b"\x16\x03"):
                logger.warning("a client speaks TLS to ccproxy: its base URL must begin with http://")
                yield from self._refuse(BadRequest("this is plain HTTP: the base URL must begin with http://"))
            return
        if sum(map(len, lines)) > MAX_HEAD:
            yield from self._refuse(HeadersTooLarge(f"the request's head is larger than {MAX_HEAD // 1024} KB"))
            return
        if _AMBIGUOUS.search(b"\n".join(lines)):
            yield from self._refuse(BadRequest("the request's head has folded lines or control characters"))
            return
        try:
            self.request = http1.read_request_head([bytes(line) for line in lines])
            quicken(self.request.headers)
            size = http1.expected_http_body_size(self.request)
        except ValueError as error:
            # mitmproxy's message quotes the line, in which a key may stand
            yield from self._refuse(
                BadRequest("the request is no valid HTTP/1.1: its head cannot be read"), cause=error
            )
            return
        if self.request.data.http_version not in (b"HTTP/1.1", b"HTTP/1.0"):
            yield from self._refuse(BadRequest("ccproxy speaks HTTP/1.1 to clients; HTTP/2 needs TLS"))
            return
        yield ReceiveHttp(RequestHeaders(self.stream_id, self.request, size == 0))
        self.body_reader = make_body_reader(size)
        self.state = self.read_body
        yield from self.state(event)

    def read_body(self, event: events.Event) -> CommandGenerator[None]:
        # A chunk size that is none is told in JSON too, before the connection closes.
        for command in super().read_body(event):
            broken = isinstance(command, ReceiveHttp) and isinstance(command.event, RequestProtocolError)
            if broken and not self.response and isinstance(event, events.DataReceived):
                yield commands.SendData(self.conn, last_words(BadRequest("the request's body is no valid HTTP/1.1")))
            yield command

    def body_ends(self, event: HttpEvent) -> CommandGenerator[None]:
        yield ReceiveHttp(event)
        yield from self.mark_done(request=True)

    def wait(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, events.DataReceived) and len(self.buf) > MAX_AHEAD:
            logger.info("a client talked on without waiting for its answer: its connection is closed")
            yield commands.CloseConnection(self.conn)
            return
        yield from super().wait(event)

    def _refuse(self, error: ExchangeError, cause: Exception | None = None) -> CommandGenerator[None]:
        logger.info("refused before it was a request: %s%s", error, f" ({type(cause).__name__})" if cause else "")
        yield commands.SendData(self.conn, last_words(error))
        yield commands.CloseConnection(self.conn)
        self.state = self.done


class UpstreamSide(_TrailersDropped, Http1Client):
    """Writes requests, reads answers. Interim answers (100, 103) are passed over: the final one follows."""

    def read_headers(self, event: events.ConnectionEvent) -> CommandGenerator[None]:
        if isinstance(event, events.DataReceived) and not self.request:
            logger.info("an upstream spoke without being asked")  # mitmproxy's own line would quote it
            yield commands.CloseConnection(self.conn)
            self.state = self.done
            return
        while isinstance(event, events.DataReceived) and self._is_interim():
            if not self.buf.maybe_extract_lines():
                return
        for command in super().read_headers(event):
            if isinstance(command, ReceiveHttp) and isinstance(command.event, ResponseHeaders):
                quicken(command.event.response.headers)
                if self._distrusts(command.event):
                    yield from self._give_up("the answer's head is not to be trusted")
                    return
            yield command
        if self.state == self.read_headers and len(self.buf) > MAX_ANSWER_HEAD:
            yield from self._give_up("the answer's head is too large")

    def body_ends(self, event: HttpEvent) -> CommandGenerator[None]:
        """The connection is free before the stream hears of it: the client's next request may be on it before this returns."""
        yield from self.mark_done(response=True)
        yield ReceiveHttp(event)

    def _give_up(self, message: str) -> CommandGenerator[None]:
        assert self.stream_id is not None
        self.state = self.done
        yield commands.CloseConnection(self.conn)
        yield ReceiveHttp(ResponseProtocolError(self.stream_id, message, ResponseProtocolError.code))

    def _distrusts(self, event: ResponseHeaders) -> bool:
        """Whether an answer changes the protocol, which nobody asked for, or could be read in two ways."""
        answer = event.response
        if answer.status_code == 101 or _AMBIGUOUS.search(b"".join(value for _, value in answer.headers.fields)):
            return True
        try:
            validate_headers(answer)
        except ValueError:
            return bool(self.context.options.validate_inbound_headers)
        return False

    def _is_interim(self) -> bool:
        start = bytes(self.buf)[:13]
        return start.startswith((b"HTTP/1.1 1", b"HTTP/1.0 1")) and start[9:12] != b"101"


def _as_error(event: ResponseProtocolError) -> ExchangeError | None:
    """The error behind a protocol error, or None where mitmproxy wants the connection closed without a word."""
    code: Any = event.code
    status = code.http_status_code() if hasattr(code, "http_status_code") else code  # an int up to mitmproxy 11.0
    if status is None or status in (204, 444, 499):
        return None
    # mitmproxy's messages name its own options and quote what was sent
    if status == 413:
        return RequestTooLarge("the request's body is too large")
    if 400 <= status < 500:
        return BadRequest("the request is no valid HTTP/1.1: its header fields can be read in two ways")
    return UpstreamBroken("the upstream sent no valid HTTP")
