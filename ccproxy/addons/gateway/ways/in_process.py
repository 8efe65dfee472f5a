"""Answers of providers that live in this process: Messages events become SSE, a whole message, or another format."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from mitmproxy import http

from ccproxy.addons.exchange import Exchange
from ccproxy.addons.gateway.models import model_answer
from ccproxy.addons.gateway.ways.translated import Translation, parsed_body, tell_losses, told_of_losses
from ccproxy.addons.in_process_body import LocalBody
from ccproxy.addons.transport.responses import response
from ccproxy.errors import ExchangeError, Unavailable, UpstreamBroken
from ccproxy.providers.local import Dropped, LocalProvider, LocalRequest, Told
from ccproxy.providers.model_lists import in_both_shapes
from ccproxy.providers.routing import Route
from ccproxy.providers.spec import Operation
from ccproxy.translate.errors import error_event
from ccproxy.translate.exchange import StreamTranslator, Translated, translate_request
from ccproxy.translate.formats import Format


async def answer(
    flow: http.HTTPFlow, exchange: Exchange, route: Route, provider: LocalProvider | None, needs: Translation
) -> None:
    """Put the provider's answer on the flow: whole, or as `exchange.body` for the stream layer to pull.

    Raises:
        ExchangeError: it refused before it began.

    """
    if provider is None:
        raise Unavailable(f"{route.provider.prefix} is not there in this installation")
    if route.operation in {Operation.MODELS, Operation.MODEL}:
        flow.response = model_answer(
            [in_both_shapes(model) for model in await provider.models()], flow.request.path.partition("?")[0], route
        )
        return
    if route.operation is Operation.COUNT_TOKENS:
        asked = LocalRequest(parsed_body(flow), route.session_id, _client_headers(flow.request))
        counted = json.dumps(await provider.count_tokens(asked)).encode()
        flow.response = response(200, counted, {"content-type": "application/json", "x-ccproxy-estimate": "1"})
        return
    translated = _translated(flow, exchange, route, needs)
    exchange.local_request = translated.body if route.format is not Format.ANTHROPIC else None
    asked = LocalRequest(translated.body, route.session_id, _client_headers(flow.request))
    await (_stream if translated.stream else _whole)(flow, exchange, provider, asked, translated)


def _translated(flow: http.HTTPFlow, exchange: Exchange, route: Route, needs: Translation) -> Translated:
    """The request as Messages. A client of that format is taken at its word: nothing of its body changes."""
    if route.format is Format.ANTHROPIC:
        body = parsed_body(flow)
        exchange.model = str(body.get("model", ""))
        same = translate_request(Format.ANTHROPIC, Format.ANTHROPIC, dict(body))
        same.body = body
        return same
    return needs.request(flow, exchange, route)


async def _stream(
    flow: http.HTTPFlow, exchange: Exchange, provider: LocalProvider, asked: LocalRequest, translated: Translated
) -> None:
    request_id = f"req_{flow.id}"
    events = exchange.source = provider.stream(asked)
    if translated.client is Format.ANTHROPIC:
        chunks = _framed(events, exchange.taps)
        body = LocalBody(chunks, lambda error: error_event(Format.ANTHROPIC, error, request_id))
    else:
        translator = translated.stream_translator()
        body = LocalBody(_through(translator, _framed(events, exchange.taps)), translator.fail)
    await _begun(exchange, body)
    _tell(exchange, translated, events)
    headers = {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-cache",
        "request-id": request_id,
    }
    flow.response = http.Response.make(200, b"", {**headers, "transfer-encoding": "chunked"})
    flow.response.headers.pop("content-length", None)


async def _whole(
    flow: http.HTTPFlow, exchange: Exchange, provider: LocalProvider, asked: LocalRequest, translated: Translated
) -> None:
    folder = translated.folder()
    events = exchange.source = provider.stream(asked)
    body = LocalBody(_framed(events, exchange.taps), lambda error: error_event(Format.ANTHROPIC, error))
    await _begun(exchange, body)
    _tell(exchange, translated, events)
    async for piece in body.whole():
        folder.feed(piece)
    exchange.body = None
    if body.dropped:
        raise _broke_off()
    if body.error:
        raise body.error
    status, headers, content = folder.result()
    headers = told_of_losses(exchange, headers)
    flow.response = response(
        status, content, {"content-type": "application/json", "request-id": f"req_{flow.id}", **headers}
    )


def _tell(exchange: Exchange, translated: Translated, events: object) -> None:
    """What the request lost on its way into the provider: in the translation, and in the provider itself."""
    lost = [loss.path for loss in translated.losses]
    lost += [path for path, _ in events.losses] if isinstance(events, Told) else []
    tell_losses(exchange, list(dict.fromkeys(lost)))


async def _begun(exchange: Exchange, body: LocalBody) -> None:
    """Wait for the first piece; what fails before it is an ordinary error answer."""
    exchange.body = body
    try:
        await body.first()
    except Dropped:
        exchange.body = None
        raise _broke_off() from None
    except ExchangeError:
        exchange.body = None
        raise


def _broke_off() -> UpstreamBroken:
    """Nothing of the answer has been said yet, so this can."""
    return UpstreamBroken("the provider broke off its answer")


async def _framed(
    events: AsyncIterator[dict[str, Any]], taps: list[Callable[[bytes], None]]
) -> AsyncGenerator[bytes, None]:
    """Messages events as SSE. Closing it closes the events: a provider must not work for nobody."""
    try:
        async for event in events:
            data = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
            frame = b"event: %s\ndata: %s\n\n" % (event["type"].encode(), data)
            for tap in taps:
                tap(frame)
            yield frame
    finally:
        close = getattr(events, "aclose", None)  # AsyncIterator does not promise it
        if close is not None:
            await close()


async def _through(translator: StreamTranslator, chunks: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with aclosing(chunks):
        async for chunk in chunks:
            yield translator.feed(chunk)
    yield translator.close()


def _client_headers(request: http.Request) -> dict[str, str]:
    told = ("anthropic-", "x-claude-code-")
    return {name.lower(): value for name, value in request.headers.items(multi=True) if name.lower().startswith(told)}
