"""The gateway: the only addon that changes flows.

It matches the route, takes the client's key off, puts the request in order for the upstream, and says how the answer comes back. All other addons
watch.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mitmproxy import http
from mitmproxy.connection import Client
from mitmproxy.proxy.layer import NextLayer
from mitmproxy.proxy.layers.modes import ReverseProxy

from ccproxy.addons._flow import fail_closed, send_to, set_body
from ccproxy.addons.answers import response
from ccproxy.addons.body import LocalBody
from ccproxy.addons.exchange import Exchange, begin, of, shown
from ccproxy.addons.guard import Guard
from ccproxy.addons.own import OPEN_PATHS, PATHS, OwnEndpoints
from ccproxy.addons.stream import GatewayLayer, Limits
from ccproxy.errors import BadRequest, ExchangeError, NotImplementedYet, UpgradeRequired, UpstreamBroken
from ccproxy.providers import toplevel
from ccproxy.providers.codex import native_changes
from ccproxy.providers.local import Dropped, LocalProvider, LocalRequest
from ccproxy.providers.plan import Field, credential_fields, mapped_model, public_fields, request_fields
from ccproxy.providers.routing import Route, Router, suggested_format
from ccproxy.providers.spec import Operation, Provider
from ccproxy.translate.errors import error_event
from ccproxy.translate.formats import Format

logger = logging.getLogger(__name__)

CHECKED_JSON: Final = 32 * 1024
"""Bodies up to this size are checked to be JSON before they go out; checking larger ones would cost more than it is worth."""
_MODEL: Final = re.compile(rb'"model"\s*:\s*"((?:[^"\\]|\\.){1,200})"')

Credentials = Callable[[Provider, tuple[Field, ...]], Awaitable[tuple[Field, ...]]]
"""The credential fields for a provider, given those that the client sent."""


async def configured_credentials(provider: Provider, client: tuple[Field, ...]) -> tuple[Field, ...]:
    """Keys of the configuration, and the client's own where that is allowed."""
    return credential_fields(provider, client)


@dataclass(slots=True)
class Gateway:
    """See the module. All its collaborators are passed in."""

    router: Router
    guard: Guard
    own: OwnEndpoints
    limits: Limits
    locals: Mapping[str, LocalProvider] = field(default_factory=dict)
    """Providers that answer inside this process, by name."""
    credentials: Credentials = configured_credentials
    drained: Callable[[Client], Awaitable[None]] | None = None
    """Waits until the client has read what was written to it."""
    live: dict[str, Exchange] = field(default_factory=dict)
    """What each client connection is busy with: HTTP/1.1 does one thing at a time."""

    # ---- mitmproxy's hooks

    def next_layer(self, nextlayer: NextLayer) -> None:
        """Our own HTTP layer right below the reverse proxy."""
        layers = nextlayer.context.layers
        if len(layers) == 1 and isinstance(layers[0], ReverseProxy):
            nextlayer.layer = GatewayLayer(nextlayer.context, self.limits)

    @fail_closed
    def requestheaders(self, flow: http.HTTPFlow) -> None:
        exchange = begin(flow)
        self.live[flow.client_conn.id] = exchange
        request = flow.request
        request.headers.fields, private = public_fields(request.headers.fields, self.router.credential_headers)
        path, _, _ = request.path.partition("?")
        exchange.format = suggested_format(path)
        if flow.error:  # mitmproxy refuses it itself, and shows it to addons
            request.headers.clear()  # a key may stand in a field that could not be read
            return
        self.guard.check_host(request)
        exchange.origin = self.guard.check_origin(request)
        if exchange.origin:
            exchange.answer_fields = _cors(exchange.origin)
            if request.method == "OPTIONS":
                flow.response = response(204, b"", {})
                return
        if path in PATHS:
            if path not in OPEN_PATHS:
                self.guard.check_token(private)
            flow.response = self.own.answer(request.method, path)
            return
        if request.headers.get("upgrade", "").lower() == "websocket" and self.router.knows(path):
            raise UpgradeRequired("ccproxy serves this route over HTTP: send a POST with stream=true")
        exchange.route = route = self.router.match(request.method, path)
        exchange.format = route.format
        if route.operation is Operation.PROBE:
            flow.response = response(200, b"", {})
            return
        exchange.client_credential = self.guard.check_token(private)

    @fail_closed
    async def request(self, flow: http.HTTPFlow) -> None:
        exchange = begin(flow)
        route = exchange.route
        if flow.response or route is None:
            return
        if route.provider.upstream is None:
            await self._answer_here(flow, exchange, route)
        elif route.is_native:
            await self._forward(flow, exchange, route)
        else:
            raise NotImplementedYet(f"{route.provider.name} cannot be asked in {route.format.value} yet")

    @fail_closed
    def responseheaders(self, flow: http.HTTPFlow) -> None:
        answer = flow.response
        assert answer
        exchange = begin(flow)
        if exchange.body is not None or exchange.route is None or answer.raw_content is not None:
            return
        # Whole JSON is held until it is whole, so that an upstream that dies can still be told of in a proper error.
        kind = answer.headers.get("content-type", "")
        answer.stream = not kind.startswith("application/json")

    async def local_chunk(self, flow: http.HTTPFlow) -> None:
        """The next piece of an answer made here, once the client has read what came before."""
        exchange = of(flow)
        assert exchange.body
        if self.drained is not None:
            await self.drained(flow.client_conn)
        exchange.chunk = await exchange.body.next()

    async def upstream_answered(self, flow: http.HTTPFlow) -> None:
        """An upstream status that the configuration says to try again."""
        exchange = of(flow)
        assert flow.response
        wait = flow.response.headers.get("retry-after", "")
        await asyncio.sleep(min(float(wait), 10.0) if wait.replace(".", "", 1).isdigit() else 0.5 * exchange.attempts)
        exchange.retry = True

    def response(self, flow: http.HTTPFlow) -> None:
        self._finish(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        self._finish(flow)

    def client_disconnected(self, client: Client) -> None:
        """The client left: whatever is made here for it stops now."""
        exchange = self.live.pop(client.id, None)
        if exchange and exchange.body:
            exchange.body.cancel()

    async def done(self) -> None:
        for exchange in self.live.values():
            if exchange.body:
                exchange.body.cancel()
        for provider in self.locals.values():
            await provider.aclose()

    # ---- what they do

    async def _forward(self, flow: http.HTTPFlow, exchange: Exchange, route: Route) -> None:
        """The client speaks the upstream's own format: bytes go through as they are."""
        provider, request = route.provider, flow.request
        assert provider.upstream is not None
        assert route.upstream_path is not None
        body = request.raw_content or b""
        if route.operation in {Operation.CREATE, Operation.COUNT_TOKENS}:
            self._look_at(flow, exchange, route, body)
        credential = await self.credentials(provider, exchange.client_credential)
        query = request.path.partition("?")[2]
        send_to(flow, provider.upstream, route.upstream_path + (f"?{query}" if query else ""))
        extra: tuple[Field, ...] = ()
        if route.session_id and provider.profile == "codex" and "session-id" not in request.headers:
            extra = ((b"session-id", route.session_id.encode()),)
        exchange.wire_fields = (
            *request_fields(request.headers.fields, provider.upstream, credential, provider),
            *extra,
        )

    def _look_at(self, flow: http.HTTPFlow, exchange: Exchange, route: Route, body: bytes) -> None:
        """Note the model; change the few top-level keys that have to be changed; refuse small bodies that are no JSON."""
        provider = route.provider
        encoded = flow.request.headers.get("content-encoding", "identity").lower() != "identity"
        codex = provider.profile == "codex" and route.operation is Operation.CREATE
        if encoded:
            return
        if not (codex or provider.models) and len(body) > CHECKED_JSON:
            exchange.model = _peek_model(body)
            return
        if not (codex or provider.models):
            parsed = toplevel.loads(body)
            exchange.model = str(parsed.get("model", "")) if isinstance(parsed, dict) else ""
            return
        text = _text(body)
        found = list(toplevel.members(text))
        values = {member.key: member.value for member in found}
        exchange.model = str(values.get("model", ""))
        changes: dict[str, object] = native_changes(values, flow.request.headers) if codex else {}
        if codex and values.get("stream") is not True:
            raise NotImplementedYet("whole answers of the Codex backend are not served yet: send stream=true")
        if (mapped := mapped_model(provider.models, exchange.model)) != exchange.model:
            changes["model"] = mapped
        if changes:
            set_body(flow, toplevel.edited(text, found, changes).encode())
            logger.debug("%s: changed %s", route.label, ", ".join(changes))

    async def _answer_here(self, flow: http.HTTPFlow, exchange: Exchange, route: Route) -> None:
        """The provider lives in this process."""
        provider = self.locals.get(route.provider.name)
        if provider is None:
            raise NotImplementedYet(f"{route.provider.prefix} is not served yet")
        if route.operation in {Operation.MODELS, Operation.MODEL}:
            flow.response = _models(await provider.models(), flow.request.path.partition("?")[0], route)
            return
        if route.format is not Format.ANTHROPIC:
            raise NotImplementedYet(f"{route.provider.name} cannot be asked in {route.format.value} yet")
        body = toplevel.loads(flow.request.content or b"")
        if not isinstance(body, dict):
            raise BadRequest("the body must be a JSON object")
        exchange.model = str(body.get("model", ""))
        asked = LocalRequest(body, route.session_id, _client_headers(flow.request))
        if route.operation is Operation.COUNT_TOKENS:
            counted = json.dumps(await provider.count_tokens(asked)).encode()
            flow.response = response(200, counted, {"content-type": "application/json", "x-ccproxy-estimate": "1"})
            return
        fmt, request_id = exchange.format, f"req_{flow.id}"
        exchange.body = LocalBody(_framed(provider.stream(asked)), lambda error: error_event(fmt, error, request_id))
        try:
            await exchange.body.first()
            if body.get("stream") is True:
                flow.response = http.Response.make(200, b"", {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache",
                                                              "request-id": request_id, "transfer-encoding": "chunked"})  # fmt: skip
                flow.response.headers.pop("content-length", None)
                return
            whole = await _fold(exchange.body)
        except Dropped:
            exchange.body = None
            raise UpstreamBroken(
                f"{route.provider.name} broke off its answer"
            ) from None  # nothing of it has been said yet
        except ExchangeError:
            exchange.body = None
            raise
        exchange.body = None
        flow.response = response(
            200, json.dumps(whole).encode(), {"content-type": "application/json", "request-id": request_id}
        )

    def _finish(self, flow: http.HTTPFlow) -> None:
        """Leave a plain summary for watchers and dumps: JSON values only."""
        exchange = begin(flow)
        if self.live.get(flow.client_conn.id) is exchange:
            del self.live[flow.client_conn.id]
        if exchange.body:
            exchange.body.cancel()  # the client may have left: this comes before `client_disconnected` then
        route = exchange.route
        flow.metadata["ccproxy"] = {
            "provider": route.provider.name if route else "",
            "operation": route.operation.value if route else "",
            "format": exchange.format.value,
            "model": shown(exchange.model),
            "truncated": exchange.truncated,
            "attempts": exchange.attempts,
        }


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is no JSON: byte {error.start} is no UTF-8") from None


def _peek_model(body: bytes) -> str:
    """The model that a large body names, without parsing it: for logs, so a nested one that comes first may be taken for it."""
    head = body.find(b'"model"', 0, 4096)
    at = head if head >= 0 else body.rfind(b'"model"')
    found = _MODEL.match(body, at) if at >= 0 else None
    return found[1].decode("utf-8", "replace") if found else ""


def _client_headers(request: http.Request) -> dict[str, str]:
    return {
        name.lower(): value
        for name, value in request.headers.items()
        if name.lower().startswith(("anthropic-", "x-claude-code-"))
    }


def _models(models: list[dict[str, Any]], path: str, route: Route) -> http.Response:
    if route.operation is Operation.MODEL:
        wanted = path.rstrip("/").rpartition("/")[2]
        body = next((model for model in models if model["id"] == wanted), None)
        if body is None:
            raise BadRequest(f"model: {wanted} is unknown", param="model")
    else:
        ids = [model["id"] for model in models]
        body = {
            "data": models,
            "has_more": False,
            "first_id": ids[0] if ids else None,
            "last_id": ids[-1] if ids else None,
        }
    return response(200, json.dumps(body).encode(), {"content-type": "application/json"})


async def _framed(events: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    """Messages events as SSE."""
    async for event in events:
        yield b"event: %s\ndata: %s\n\n" % (
            event["type"].encode(),
            json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode(),
        )


async def _fold(body: LocalBody) -> dict[str, Any]:
    """A whole message from the events of its stream.

    Raises:
        ExchangeError: the stream failed.
        Dropped: it broke off.

    """
    data = b"".join([piece async for piece in body.whole()])
    if body.error:
        raise body.error
    if body.dropped:
        raise Dropped("the answer broke off")
    message: dict[str, Any] = {}
    partial = ""
    for line in data.split(b"\n"):
        event = json.loads(line[6:]) if line.startswith(b"data: ") else {}
        match event:
            case {"type": "message_start", "message": start}:
                message = start
            case {"type": "content_block_start", "content_block": block}:
                message["content"].append(block)
                partial = ""
            case {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": more}}:
                partial += more
            case {"type": "content_block_delta", "delta": {"type": kind, **rest}}:
                block = message["content"][-1]
                for key, more in rest.items():
                    block[key] = block.get(key, "") + more
                del kind
            case {"type": "content_block_stop"} if partial:
                message["content"][-1]["input"] = json.loads(partial)
                partial = ""
            case {"type": "message_delta", "delta": delta, "usage": usage}:
                message |= delta
                message["usage"] |= usage
            case _:
                pass
    return message


def _cors(origin: str) -> tuple[Field, ...]:
    return (
        (b"access-control-allow-origin", origin.encode()),
        (b"access-control-allow-methods", b"GET, POST, HEAD, OPTIONS"),
        (
            b"access-control-allow-headers",
            b"*, authorization, x-api-key, x-ccproxy-token, content-type, anthropic-version, anthropic-beta",
        ),
        (b"access-control-expose-headers", b"*"),
        (b"vary", b"origin"),
    )
