"""Providers that live in this process: their Messages events become SSE, a whole message, or another format."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing
from typing import Any

from mitmproxy import http

from ccproxy.addons.exchange import Exchange, Way, of
from ccproxy.addons.gateway.models import model_response
from ccproxy.addons.gateway.ways.shared import Shared
from ccproxy.addons.gateway.ways.translated import translate
from ccproxy.addons.in_process_body import InProcessBody
from ccproxy.addons.transport.flow_edits import decompress, is_compressed, json_object
from ccproxy.addons.transport.responses import json_response, response, stream_response
from ccproxy.addons.transport.stream import STOPPING
from ccproxy.errors import ExchangeError, Unavailable, UpstreamBroken
from ccproxy.providers.local import AnswerReport, Dropped, LocalProvider, LocalRequest
from ccproxy.providers.model_lists import in_both_shapes
from ccproxy.providers.routing import Route
from ccproxy.providers.spec import Operation
from ccproxy.translate import jsontext
from ccproxy.translate.errors import error_event
from ccproxy.translate.exchange import StreamTranslator, Translated as Conversation, translate_request
from ccproxy.translate.formats import Format
from ccproxy.translate.reading import Reading


class InProcess(Way):
    """A provider in this process answers."""

    name = "in process"

    def __init__(self, route: Route, shared: Shared) -> None:
        self.route = route
        self.shared = shared
        self._stopped = False
        self._conversation: Conversation | None = None
        """Converts the provider's events; None where the client gets them as they are."""

    @property
    def reading(self) -> Reading | None:
        return self._conversation.reading if self._conversation else None

    @property
    def by_login(self) -> bool:
        return self.route.provider.by_subscription

    def prepare(self, flow: http.HTTPFlow) -> Awaitable[None]:
        return self._prepare(flow)

    async def _prepare(self, flow: http.HTTPFlow) -> None:
        """Put the provider's response on the flow: whole, or as `body` for the stream layer to pull.

        Raises:
            ExchangeError: it refused before it began.

        """
        route = self.route
        provider = self.shared.locals.get(route.provider.name)
        if provider is None:
            raise Unavailable(f"{route.provider.prefix} is not available in this installation")
        if route.operation in {Operation.MODELS, Operation.MODEL}:
            models = [in_both_shapes(model) for model in await provider.models()]
            flow.response = model_response(models, of(flow).client.path, route)
            return
        if is_compressed(flow):
            await decompress(flow, self.shared.max_body)
        body = json_object(flow)
        headers = _client_headers(flow.request)
        if route.operation is Operation.COUNT_TOKENS:
            tokens = await provider.count_tokens(LocalRequest(body, route.session_id, headers))
            flow.response = json_response(tokens, {"x-ccproxy-estimate": "1"})
            return
        conversation = self._translate(flow, body)
        if conversation.client is not Format.ANTHROPIC or not conversation.stream:
            self._conversation = conversation
        request = LocalRequest(conversation.body, route.session_id, headers)
        await (self._stream if conversation.stream else self._whole)(flow, provider, request, conversation)

    def _translate(self, flow: http.HTTPFlow, body: dict[str, Any]) -> Conversation:
        """The request as Messages. Nothing changes in the body of a client of that format."""
        if self.route.format is Format.ANTHROPIC:
            model = body.get("model")
            self.model = model if isinstance(model, str) else ""
            conversation = translate_request(Format.ANTHROPIC, Format.ANTHROPIC, dict(body))
            conversation.body = body
            return conversation
        self.model, conversation = translate(flow, self.route, of(flow).client, self.shared, body)
        self.provider_request = conversation.body
        return conversation

    async def _stream(
        self, flow: http.HTTPFlow, provider: LocalProvider, request: LocalRequest, conversation: Conversation
    ) -> None:
        exchange, request_id = of(flow), f"req_{flow.id}"
        events = self.provider_events = provider.stream(request)
        chunks = _framed(events, exchange)
        if conversation.client is Format.ANTHROPIC:
            body = InProcessBody(chunks, lambda error: error_event(Format.ANTHROPIC, error, request_id))
        else:
            translator = conversation.stream_translator()
            body = InProcessBody(_translated(translator, chunks), translator.fail)
        await self._begin(body)
        exchange.report_losses(_losses(conversation, events))
        flow.response = stream_response({"request-id": request_id})

    async def _whole(
        self, flow: http.HTTPFlow, provider: LocalProvider, request: LocalRequest, conversation: Conversation
    ) -> None:
        exchange = of(flow)
        folder = conversation.folder()
        events = self.provider_events = provider.stream(request)
        body = InProcessBody(_framed(events, exchange), lambda error: error_event(Format.ANTHROPIC, error))
        await self._begin(body)
        losses = _losses(conversation, events)
        async for piece in body.whole():
            folder.feed(piece)
        self.body = None
        if body.dropped:
            raise self._broke_off()
        if body.error:
            raise body.error
        status, headers, content = folder.result()
        headers = {"content-type": "application/json", "request-id": f"req_{flow.id}", **headers}
        if of_response := headers.pop("x-ccproxy-loss", ""):  # it lists those of the request too
            losses += of_response.removesuffix(", ...").split(", ")
        exchange.report_losses(losses)
        flow.response = response(status, content, headers)

    def stop(self) -> None:
        self._stopped = True
        super().stop()

    def _broke_off(self) -> ExchangeError:
        """Nothing of the response has been sent yet, so this can."""
        if self._stopped:
            return Unavailable(STOPPING)
        return UpstreamBroken("The provider broke off its response")

    async def _begin(self, body: InProcessBody) -> None:
        """Wait for the first piece; what fails before it is an ordinary error response."""
        self.body = body
        try:
            await body.first()
        except Dropped:
            self.body = None
            raise self._broke_off() from None
        except ExchangeError:
            self.body = None
            raise


def _losses(conversation: Conversation, events: object) -> list[str]:
    """What the request lost on its way into the provider: in the translation, and in the provider itself."""
    paths = [loss.path for loss in conversation.losses]
    return paths + [path for path, _ in events.losses] if isinstance(events, AnswerReport) else paths


async def _framed(events: AsyncIterator[dict[str, Any]], exchange: Exchange) -> AsyncGenerator[bytes, None]:
    """Messages events as SSE. Closing it closes the events: a provider must not work for a client that has left.

    Raises:
        UpstreamBroken: the events ended without `message_stop`.

    """
    event: dict[str, Any] = {}
    try:
        async for event in events:
            frame = b"event: %s\ndata: %s\n\n" % (event["type"].encode(), jsontext.dump_bytes(event))
            for tap in exchange.taps:
                tap(frame)
            yield frame
        if event.get("type") != "message_stop":
            raise UpstreamBroken("The provider ended its response before it was complete")
    finally:
        close = getattr(events, "aclose", None)  # AsyncIterator does not promise it
        if close is not None:
            await close()


async def _translated(translator: StreamTranslator, chunks: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with aclosing(chunks):
        async for chunk in chunks:
            yield translator.feed(chunk)
    yield translator.close()


def _client_headers(request: http.Request) -> dict[str, str]:
    prefixes = ("anthropic-", "x-claude-code-")
    items = request.headers.items(multi=True)
    return {name.lower(): value for name, value in items if name.lower().startswith(prefixes)}
