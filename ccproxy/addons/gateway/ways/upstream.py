"""What all ways to an upstream share: the credential, retries, the header fields for the wire, the conversion of the response."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from typing import Final

from mitmproxy import http

from ccproxy.addons.exchange import Client, Transform, Way, of
from ccproxy.addons.gateway.ways.shared import Shared
from ccproxy.addons.transport.flow_edits import put_fields, send_to, twin
from ccproxy.addons.transport.stream import ATTEMPTS, MAX_REFUSAL
from ccproxy.auth.sources import Source
from ccproxy.auth.wire import RequestCredential
from ccproxy.content_encoding import MAX_OUTPUT_PER_FEED, ContentDecoder, ContentEncodingError, TooLarge, decode
from ccproxy.errors import ExchangeError, UpstreamBroken
from ccproxy.providers.header_fields import Field, Kind, kind_of, number_in, request_fields, strangers_fields
from ccproxy.providers.routing import Route
from ccproxy.translate.errors import unsupported_parameter
from ccproxy.translate.exchange import Folder, StreamTranslator, Translated as Conversation
from ccproxy.translate.reading import Reading

logger = logging.getLogger(__name__)

MAX_PAUSE: Final = 10.0
"""Seconds to wait at most before a request is sent again, whatever `retry-after` says."""

ABOUT_THE_BODY: Final = frozenset(
    {b"content-length", b"content-encoding", b"content-type", b"transfer-encoding", b"etag"}
)
"""Headers that describe a body, to be left out where the body is replaced."""


class UpstreamWay(Way):
    """A request that goes to an upstream. Subclasses edit it."""

    def __init__(self, route: Route, client: Client, shared: Shared) -> None:
        self.route = route
        self.client = client
        self.shared = shared
        self.credential: RequestCredential | None = None
        self.conversation: Conversation | None = None
        """Converts the response; None where its bytes pass as they are."""
        self.renewed = False
        self._folder: Folder | None = None

    # ---- the request

    def prepare(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """What needs nothing but the request itself is done at once, without a task of its own."""
        provider = self.route.provider
        if provider.wants_credential:
            self.credential = self.shared.credentials.at_once(provider.name, self.client.credential)
        if (provider.wants_credential and self.credential is None) or not self.is_ready(flow):
            return self._prepare_later(flow)
        self._send(flow)
        return None

    async def _prepare_later(self, flow: http.HTTPFlow) -> None:
        await self.find_credential()
        await self.get_ready(flow)
        self._send(flow)

    async def find_credential(self) -> None:
        """Have a credential, if the provider wants one.

        Raises:
            ExchangeError: there is none.

        """
        provider = self.route.provider
        if provider.wants_credential and self.credential is None:
            self.credential = await self.shared.credentials.headers(provider.name, self.client.credential)

    def is_ready(self, flow: http.HTTPFlow) -> bool:
        """Whether `edit_request` has all that it needs; else `get_ready` is awaited first."""
        del flow
        return True

    async def get_ready(self, flow: http.HTTPFlow) -> None:
        """Wait for what `edit_request` needs besides the request."""

    def _send(self, flow: http.HTTPFlow) -> None:
        """Edit the request and point it at its upstream."""
        provider, request = self.route.provider, flow.request
        assert provider.upstream
        self.edit_request(flow)
        session = provider.session_header
        if session and self.route.session_id and session not in request.headers:
            request.headers[session] = self.route.session_id
        send_to(flow, provider.upstream, self.upstream_target(request))

    def edit_request(self, flow: http.HTTPFlow) -> None:
        """Change the request's body, if it has to be changed."""

    def replace_request(self, flow: http.HTTPFlow, conversation: Conversation) -> None:
        """Send the conversation's body in place of the client's, and have the response converted."""
        self.conversation = conversation
        body = conversation.encode()
        flow.request.raw_content = body
        fields = {
            "content-type": "application/json",
            "accept": "text/event-stream" if conversation.body.get("stream") else "application/json",
            "accept-encoding": "identity",  # the response is read here, as it comes
            **conversation.headers,
            "content-length": str(len(body)),
        }
        put_fields(flow.request.headers, fields, self.is_dropped)
        of(flow).report_losses(loss.path for loss in conversation.losses)

    def is_dropped(self, name: bytes) -> bool:
        """Whether a header of the client's, by its lower-case name, is left out where the body is replaced."""
        return name in ABOUT_THE_BODY

    def upstream_target(self, request: http.Request) -> str:
        """Path and query below the upstream's base URL."""
        raise NotImplementedError

    @property
    def by_login(self) -> bool:
        return self.credential is not None and self.credential.source is Source.LOGIN

    def secret_fields(self) -> tuple[Field, ...]:
        """The credential as header fields."""
        return self.credential.on_wire(()) if self.credential else ()

    def wire_fields(self, flow: http.HTTPFlow) -> tuple[Field, ...]:
        """The header fields for the wire. The credential is for its own upstream: a script that sends the flow elsewhere does not get it."""
        request, provider = flow.request, self.route.provider
        upstream = provider.upstream
        assert upstream
        if (request.scheme, request.host, request.port) != (upstream.scheme, upstream.host, upstream.port):
            return strangers_fields(request.headers.fields, f"{request.host}:{request.port}")
        fields = request_fields(request.headers.fields, upstream, provider)
        if self.credential is None:
            return fields
        wire = self.credential.on_wire(fields)
        # The client's keys were taken off the flow, so what is there now is a script's: it wins.
        scripted = tuple(field for field in fields if kind_of(field[0])[1] is Kind.KEY)
        if scripted:
            names = {field[0].lower() for field in scripted}
            wire = (*(field for field in wire if field[0].lower() not in names), *scripted)
        return wire

    # ---- retries

    def retries(self, status: int) -> bool:
        provider = self.route.provider
        if status == 401 and self.by_login and not self.renewed:
            return True
        return status in provider.retries or (status == 400 and provider.refuses_by_name and self.is_converted)

    async def retry(self, flow: http.HTTPFlow) -> bool:
        """A login is renewed, a parameter left out, or the same is sent again after a pause."""
        assert flow.response
        status = flow.response.status_code
        if status == 401 and self.by_login and not self.renewed:
            assert self.credential
            self.renewed = True
            credential = await self.shared.credentials.refresh_after_401(self.route.provider.name, self.credential)
            if credential is not None:
                self.credential = credential
            return credential is not None
        if status == 400 and self.route.provider.refuses_by_name and self.conversation is not None:
            return self._leave_out(flow, self.conversation, _refusal(flow.response))
        if status not in self.route.provider.retries:
            return False
        attempts = of(flow).progress.attempts
        pause = number_in(flow.response.headers.get("retry-after", ""))
        await asyncio.sleep(0.5 * attempts if pause is None else min(pause, MAX_PAUSE))
        return attempts < ATTEMPTS

    def _leave_out(self, flow: http.HTTPFlow, conversation: Conversation, refusal: bytes) -> bool:
        """Leave out a parameter that the upstream refuses by name, now and from now on. False if the refusal names none."""
        parameter = unsupported_parameter(400, refusal)
        if parameter is None or parameter not in conversation.body:
            return False
        name = self.route.provider.name
        self.shared.refused.add(name, str(conversation.body.get("model", "")), parameter)
        self.replace_request(flow, conversation.without(parameter))
        logger.warning("%s refuses the parameter %s: it is left out from now on", name, parameter)
        return True

    # ---- the response

    @property
    def is_converted(self) -> bool:
        return self.conversation is not None

    @property
    def reading(self) -> Reading | None:
        return self.conversation.reading if self.conversation else None

    def begin_response(self, flow: http.HTTPFlow) -> None:
        response = flow.response
        assert response
        self.upstream_response = response
        if self.conversation is not None:
            self.upstream_response = _copy_of_head(response)
            self._begin_conversion(response, self.conversation)
            return
        # Whole JSON is held until it is whole, so that an upstream that dies can still be reported in a proper error.
        response.stream = not response.headers.get("content-type", "").startswith("application/json")

    def finish_response(self, flow: http.HTTPFlow) -> None:
        if self.conversation is not None and self.transform is None:
            assert flow.response
            self._convert(flow, flow.response, self.conversation)

    def _begin_conversion(self, response: http.Response, conversation: Conversation) -> None:
        """Stream the converted response, or hold it until it is whole."""
        is_sse = response.headers.get("content-type", "").startswith("text/event-stream")
        if response.status_code < 300 and conversation.stream and is_sse:
            self.transform = _decoded(conversation.stream_translator(), response.headers.get("content-encoding", ""))
            fields = {
                "content-type": "text/event-stream; charset=utf-8",
                "cache-control": "no-cache",
                "transfer-encoding": "chunked",
            }
            put_fields(response.headers, fields, ABOUT_THE_BODY.__contains__)
            response.stream = True
        else:
            response.stream = False
            if response.status_code < 300 and is_sse and not _is_encoded(response):
                self.folder = self._folder = conversation.folder()

    def _convert(self, flow: http.HTTPFlow, response: http.Response, conversation: Conversation) -> None:
        """Make the upstream's whole response the client's."""
        if self.upstream_response is not None:
            self.upstream_response.data.content = response.raw_content
        content = self._content(response)
        content_type = response.headers.get("content-type", "")
        if response.status_code >= 300:
            status, headers, body = conversation.error(response.status_code, _plain(response.headers), content)
        elif self._folder is not None:
            status, headers, body = self._folder.result()
        elif content_type.startswith("text/event-stream"):
            folder = conversation.folder()
            folder.feed(content)
            status, headers, body = folder.result()
        elif conversation.stream:  # an upstream that would not stream
            status, headers = 200, {"content-type": "text/event-stream; charset=utf-8"}
            body = conversation.whole_as_stream(content)
        else:
            status, headers, body = conversation.whole(response.status_code, content)
        headers = dict(headers)
        if losses := headers.pop(
            "x-ccproxy-loss", ""
        ):  # those of the request, and of the response; the list may have been cut
            paths = [*(loss.path for loss in conversation.losses), *losses.removesuffix(", ...").split(", ")]
            of(flow).report_losses(paths)
        response.status_code = status
        response.reason = ""
        response.raw_content = body
        fields = {"content-type": "application/json", **headers, "content-length": str(len(body))}
        put_fields(response.headers, fields, ABOUT_THE_BODY.__contains__)

    def _content(self, response: http.Response) -> bytes:
        """The response's body, decompressed.

        Raises:
            UpstreamBroken: it is too large, or not what its content-encoding says.

        """
        limit = self.shared.max_body
        try:
            return decode(response.raw_content or b"", response.headers.get("content-encoding", ""), limit)
        except TooLarge:
            size = f"{limit // 2**20} MB (server.max_body_mb)"
            raise UpstreamBroken(f"The upstream's response is larger than {size}") from None
        except ContentEncodingError:
            raise UpstreamBroken("The upstream's response is not what its content-encoding says") from None


def _refusal(response: http.Response) -> bytes:
    """The body of a response that refuses something; empty if it cannot be decoded."""
    try:
        return decode(response.raw_content or b"", response.headers.get("content-encoding", ""), MAX_REFUSAL)
    except ContentEncodingError:
        return b""


class _Decoded:
    """A transform of an upstream's stream that is compressed, although no compression was asked for."""

    def __init__(self, transform: StreamTranslator, decoder: ContentDecoder) -> None:
        self._transform = transform
        self._decoder = decoder
        self._failed = False

    @property
    def stopped(self) -> bool:
        return self._failed or self._transform.stopped

    @property
    def failed(self) -> ExchangeError | None:
        return self._transform.failed

    def feed(self, chunk: bytes) -> bytes:
        out: list[bytes] = []
        try:
            out.extend(self._transform.feed(piece) for piece in self._decoder.pieces(chunk))
        except ContentEncodingError as error:
            self._failed = True
            too_large = isinstance(error, TooLarge)
            what = "is too large when it is decompressed" if too_large else "is not what its content-encoding says"
            out.append(self._transform.fail(UpstreamBroken(f"The upstream's response {what}")))
        return b"".join(out)

    def close(self) -> bytes:
        return self._transform.close()

    def fail(self, error: ExchangeError) -> bytes:
        return self._transform.fail(error)

    def ping(self) -> bytes:
        return self._transform.ping()


def _decoded(transform: StreamTranslator, content_encoding: str) -> Transform:
    try:
        decoder = ContentDecoder(content_encoding, feed_limit=MAX_OUTPUT_PER_FEED)
    except ContentEncodingError:
        raise UpstreamBroken("The upstream's response has a content-encoding that ccproxy cannot decode") from None
    return _Decoded(transform, decoder) if decoder.encoded else transform


def _is_encoded(response: http.Response) -> bool:
    return response.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}


def _copy_of_head(response: http.Response) -> http.Response:
    """The upstream's response as it came, for those who account for it and show it."""
    copy = twin(response)
    copy.data = twin(response.data)
    copy.data.headers = http.Headers(response.headers.fields)
    return copy


def _plain(headers: http.Headers) -> Mapping[str, str]:
    """Header fields as a mapping of lower-case names."""
    return {name.lower(): value for name, value in headers.items()}
