"""Where client and upstream speak different formats: the translated request onto the flow, the answer back.

All knowledge of formats is in `ccproxy.translate`; this is its edge to HTTP.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mitmproxy import http

from ccproxy.addons._flow import set_body
from ccproxy.addons.exchange import Exchange
from ccproxy.errors import BadRequest
from ccproxy.providers import toplevel
from ccproxy.providers.model_lists import ModelLists
from ccproxy.providers.plan import Field, mapped_model
from ccproxy.providers.routing import Route
from ccproxy.providers.spec import Provider
from ccproxy.translate.exchange import Translated, translate_request
from ccproxy.translate.formats import Format
from ccproxy.translate.profiles import AnthropicProfile, ChatProfile, Profile, ResponsesProfile
from ccproxy.translate.replay import ReplayCache

_OF_THE_BODY: Final = ("content-length", "content-encoding", "content-type", "transfer-encoding", "etag")
"""Headers of an upstream's answer that say something of its body, which is another one now."""


@dataclass(slots=True)
class Translation:
    """What translations need besides the request itself."""

    lists: ModelLists
    replay: ReplayCache | None
    strict: bool = False
    max_tokens: int = 32_000
    fast: bool = False
    auto_cache_control: bool = True
    refused: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    """Parameters that an upstream refused by name, by provider and model: not sent again."""

    async def profile(self, provider: Provider, model: str, credential: tuple[Field, ...], version: str) -> Profile:
        """What this model of this upstream accepts."""
        if provider.format is Format.OPENAI_CHAT:
            return ChatProfile()
        asked = provider.profile in {"anthropic", "codex"} and provider.wants_credential
        card = await self.lists.card(provider, model, credential) if asked else None
        if provider.format is Format.ANTHROPIC:
            return AnthropicProfile.of_model(
                model,
                card,
                max_tokens=self.max_tokens,
                version=version,
                fast=self.fast,
                # A provider in this process does its own caching.
                auto_cache_control=self.auto_cache_control and provider.upstream is not None,
            )
        refused = self.refused.get((provider.name, model), set())
        return ResponsesProfile.of_model(model, card, codex=provider.profile == "codex", refused=refused)

    async def request(
        self, flow: http.HTTPFlow, exchange: Exchange, route: Route, credential: tuple[Field, ...]
    ) -> Translated:
        """The client's request as the upstream takes it.

        Raises:
            BadRequest: it is no JSON object, or says what the upstream cannot be told.

        """
        provider = route.provider
        body = parsed_body(flow)
        model = body.get("model")
        if isinstance(model, str):
            exchange.model = model
            body["model"] = mapped_model(provider.models, model)
        version = flow.request.headers.get("anthropic-version", "") if route.format is Format.ANTHROPIC else ""
        profile = await self.profile(provider, str(body.get("model", "")), credential, version or "2023-06-01")
        return translate_request(
            route.format,
            provider.format,
            body,
            profile,
            replay_cache=self.replay,
            principal=principal(exchange),
            provider=provider.name,
            strict=self.strict,
            session_id=route.session_id,
            created=int(flow.request.timestamp_start),
        )


def parsed_body(flow: http.HTTPFlow) -> dict[str, Any]:
    """The request's body as a JSON object, decompressed.

    Raises:
        BadRequest: it is none.

    """
    try:
        content = flow.request.content or b""
    except ValueError:
        raise BadRequest("the body is not what its content-encoding says") from None
    body = toplevel.loads(content)
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    return body


def principal(exchange: Exchange) -> str:
    """Who asks, as an opaque word: conversations of one client's key are none of another's business."""
    keys = b"\0".join(value for _, value in exchange.client_credential)
    return hashlib.sha256(keys).hexdigest()[:16] if keys else ""


def put_on(flow: http.HTTPFlow, exchange: Exchange, translated: Translated) -> None:
    """Make the flow's request the translated one."""
    exchange.translated = translated
    headers = flow.request.headers
    for name in list(headers.keys()):
        # What one vendor's client says to its vendor means nothing to the other.
        if name.lower().startswith(("anthropic-", "x-stainless-", "openai-")):
            del headers[name]
    set_body(flow, translated.encode())
    headers.pop("content-encoding", None)
    headers["content-type"] = "application/json"
    headers["accept"] = "text/event-stream" if translated.body.get("stream") else "application/json"
    headers["accept-encoding"] = "identity"  # the answer is read here, as it comes
    for name, value in translated.headers.items():
        headers[name] = value
    tell_losses(exchange, [loss.path for loss in translated.losses], translated.loss_header())


def tell_losses(exchange: Exchange, paths: list[str], header: str = "") -> None:
    """List in the answer's head what the request lost."""
    if paths:
        exchange.losses = len(paths)
        told = (header or ", ".join(paths)).encode("ascii", "backslashreplace")[:4096]
        exchange.answer_fields = (
            *(f for f in exchange.answer_fields if f[0] != b"x-ccproxy-loss"),
            (b"x-ccproxy-loss", told),
        )


def told_of_losses(exchange: Exchange, headers: Mapping[str, str]) -> dict[str, str]:
    """Header fields for a whole answer, less the one that lists its losses: they join those of the request, told already."""
    left = dict(headers)
    if lost := left.pop("x-ccproxy-loss", ""):
        told = [value.decode().split(", ") for name, value in exchange.answer_fields if name == b"x-ccproxy-loss"]
        tell_losses(exchange, list(dict.fromkeys([*(path for paths in told for path in paths), *lost.split(", ")])))
    return left


def kept(answer: http.Response) -> http.Response:
    """The upstream's answer as it came, for those who account for it and show it."""
    copied = copy.copy(answer)
    copied.data = copy.copy(answer.data)
    copied.data.headers = http.Headers(answer.headers.fields)
    return copied


def begin_answer(answer: http.Response, exchange: Exchange) -> None:
    """The upstream's head has come: stream the translated answer, or hold it until it is whole."""
    translated = exchange.translated
    assert translated
    is_sse = answer.headers.get("content-type", "").startswith("text/event-stream")
    if answer.status_code < 300 and translated.stream and is_sse:
        exchange.transform = translated.stream_translator()
        _strip(answer)
        answer.headers["content-type"] = "text/event-stream; charset=utf-8"
        answer.headers["cache-control"] = "no-cache"
        answer.headers["transfer-encoding"] = "chunked"
        answer.stream = True
    else:
        answer.stream = False


def finish_answer(answer: http.Response, exchange: Exchange) -> None:
    """The upstream's whole answer has come: make it the client's."""
    translated = exchange.translated
    assert translated
    try:
        content = answer.content or b""
    except ValueError:
        content = answer.raw_content or b""
    if exchange.upstream_answer is not None:
        exchange.upstream_answer.data.content = answer.raw_content
    kind = answer.headers.get("content-type", "")
    if answer.status_code >= 300:
        status, headers, body = translated.error(answer.status_code, plain(answer.headers), content)
    elif kind.startswith("text/event-stream"):
        folder = translated.folder()
        folder.feed(content)
        status, headers, body = folder.result()
    elif translated.stream:  # an upstream that would not stream
        status, headers, body = (
            200,
            {"content-type": "text/event-stream; charset=utf-8"},
            translated.whole_as_stream(content),
        )
    else:
        status, headers, body = translated.whole(answer.status_code, content)
    headers = dict(headers)
    if lost := headers.pop(
        "x-ccproxy-loss", ""
    ):  # the request's losses and the answer's: instead of the request's alone
        tell_losses(exchange, lost.split(", "), lost)
    _strip(answer)
    answer.status_code = status
    answer.reason = ""
    answer.raw_content = body
    for name, value in {"content-type": "application/json", **headers}.items():
        answer.headers[name] = value
    answer.headers["content-length"] = str(len(body))


def plain(headers: http.Headers) -> Mapping[str, str]:
    """Header fields as a mapping of lower-case names."""
    return {name.lower(): value for name, value in headers.items()}


def _strip(answer: http.Response) -> None:
    for name in _OF_THE_BODY:
        answer.headers.pop(name, None)
