"""Where client and upstream speak different formats: the translated request onto the flow, the answer back.

All knowledge of formats is in `ccproxy.translate`; this is its edge to HTTP.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mitmproxy import http

from ccproxy.addons.exchange import Exchange
from ccproxy.addons.transport.flow_edits import put_fields, twin
from ccproxy.errors import BadRequest
from ccproxy.providers import json_edit
from ccproxy.providers.header_fields import Field, mapped_model
from ccproxy.providers.model_lists import ModelLists
from ccproxy.providers.routing import Route
from ccproxy.providers.spec import Provider
from ccproxy.translate.exchange import Translated, translate_request
from ccproxy.translate.formats import Format
from ccproxy.translate.profiles import AnthropicProfile, ChatProfile, Profile, ResponsesProfile
from ccproxy.translate.replay import ReplayCache

_OF_ITS_BODY: Final = frozenset(
    {b"content-length", b"content-encoding", b"content-type", b"transfer-encoding", b"etag"}
)
"""Headers of a request or an answer that say something of its body, which is another one now."""


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

    def at_hand(self, provider: Provider, credential: Callable[[], tuple[Field, ...]]) -> bool:
        """Whether a request can be translated at once; else wait for `models` first."""
        return not _lists_models(provider) or self.lists.at_hand(provider, credential)

    async def models(self, provider: Provider, credential: Callable[[], tuple[Field, ...]]) -> None:
        """Wait until the upstream has said what its models accept, but not for long."""
        await self.lists.arrived(provider, credential)

    def profile(
        self, provider: Provider, model: str, version: str, credential: Callable[[], tuple[Field, ...]]
    ) -> Profile:
        """What this model of this upstream accepts."""
        if provider.format is Format.OPENAI_CHAT:
            return ChatProfile()
        card = self.lists.card(provider, model, credential) if _lists_models(provider) else None
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

    def request(self, flow: http.HTTPFlow, exchange: Exchange, route: Route) -> Translated:
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
        profile = self.profile(provider, str(body.get("model", "")), version or "2023-06-01", exchange.secret_fields)
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


def _lists_models(provider: Provider) -> bool:
    return provider.profile in {"anthropic", "codex"} and provider.wants_credential


def parsed_body(flow: http.HTTPFlow) -> dict[str, Any]:
    """The request's body as a JSON object, decompressed.

    Raises:
        BadRequest: it is none.

    """
    try:
        content = flow.request.content or b""
    except ValueError:
        raise BadRequest("the body is not what its content-encoding says") from None
    body = json_edit.loads(content)
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
    body = translated.encode()
    flow.request.raw_content = body
    fields = {
        "content-type": "application/json",
        "accept": "text/event-stream" if translated.body.get("stream") else "application/json",
        "accept-encoding": "identity",  # the answer is read here, as it comes
        **translated.headers,
        "content-length": str(len(body)),
    }
    put_fields(flow.request.headers, fields, _means_nothing_to_others)
    tell_losses(exchange, [loss.path for loss in translated.losses], translated.loss_header())


def _means_nothing_to_others(name: bytes) -> bool:
    """What one vendor's client says to its vendor, and what was true of the body that the client sent."""
    return name.startswith((b"anthropic-", b"x-stainless-", b"openai-")) or name in _OF_ITS_BODY


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
    copied = twin(answer)
    copied.data = twin(answer.data)
    copied.data.headers = http.Headers(answer.headers.fields)
    return copied


def begin_answer(answer: http.Response, exchange: Exchange) -> None:
    """The upstream's head has come: stream the translated answer, or hold it until it is whole."""
    translated = exchange.translated
    assert translated
    is_sse = answer.headers.get("content-type", "").startswith("text/event-stream")
    if answer.status_code < 300 and translated.stream and is_sse:
        exchange.transform = translated.stream_translator()
        fields = {
            "content-type": "text/event-stream; charset=utf-8",
            "cache-control": "no-cache",
            "transfer-encoding": "chunked",
        }
        put_fields(answer.headers, fields, _OF_ITS_BODY.__contains__)
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
    answer.status_code = status
    answer.reason = ""
    answer.raw_content = body
    fields = {"content-type": "application/json", **headers, "content-length": str(len(body))}
    put_fields(answer.headers, fields, _OF_ITS_BODY.__contains__)


def plain(headers: http.Headers) -> Mapping[str, str]:
    """Header fields as a mapping of lower-case names."""
    return {name.lower(): value for name, value in headers.items()}
