"""The gateway: the only addon that changes flows.

It matches the route, takes the client's key off, puts the request in order for the upstream, and says how the answer comes back. All other addons
watch.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from mitmproxy import http
from mitmproxy.connection import Client
from mitmproxy.proxy.commands import StartHook
from mitmproxy.proxy.layer import NextLayer
from mitmproxy.proxy.layers.modes import ReverseProxy

from ccproxy.addons.exchange import Exchange, begin, of, shown
from ccproxy.addons.gateway.endpoints import OPEN_PATHS, OwnEndpoints
from ccproxy.addons.gateway.fail_closed import fail_closed
from ccproxy.addons.gateway.guard import Guard
from ccproxy.addons.gateway.models import model_answer
from ccproxy.addons.gateway.ways import in_process, translated
from ccproxy.addons.gateway.ways.translated import Translation
from ccproxy.addons.transport.flow_edits import send_to, set_body
from ccproxy.addons.transport.responses import response
from ccproxy.addons.transport.stream import ATTEMPTS, GatewayLayer, Limits, MakeStream
from ccproxy.auth.sources import Source
from ccproxy.auth.wire import Credential
from ccproxy.errors import BadRequest, UpgradeRequired
from ccproxy.providers import identity, json_edit
from ccproxy.providers.codex import native_changes
from ccproxy.providers.header_fields import Field, mapped_model, number_in, public_fields, public_target, request_fields
from ccproxy.providers.local import LocalProvider
from ccproxy.providers.model_lists import both_shapes
from ccproxy.providers.routing import Route, Router, suggested_format
from ccproxy.providers.spec import Operation
from ccproxy.translate import capsule
from ccproxy.translate.errors import unsupported_parameter
from ccproxy.translate.estimate import estimate_tokens
from ccproxy.translate.exchange import translate_request
from ccproxy.translate.formats import Format

logger = logging.getLogger(__name__)

CHECKED_JSON: Final = 32 * 1024
"""Bodies up to this size are checked to be JSON before they go out; checking larger ones would cost more than it is worth."""
_MODEL: Final = re.compile(rb'"model"\s*:\s*"((?:[^"\\]|\\.){1,200})"')


class Credentials(Protocol):
    """Who knows the credentials: `auth.broker.Broker`."""

    async def headers(self, provider: str, sent: tuple[Field, ...] = ()) -> Credential: ...

    def at_once(self, provider: str, sent: tuple[Field, ...] = ()) -> Credential | None: ...

    async def refresh_after_401(self, provider: str, used: Credential) -> Credential | None: ...

    async def run(self) -> None: ...

    async def aclose(self) -> None: ...


@dataclass(slots=True)
class Gateway:
    """See the module. All its collaborators are passed in."""

    router: Router
    guard: Guard
    own: OwnEndpoints
    limits: Limits
    credentials: Credentials
    translation: Translation
    adds_identity: bool = False
    """The user wants the identity line on requests that go out with their Claude login."""
    locals: Mapping[str, LocalProvider] = field(default_factory=dict)
    """Providers that answer inside this process, by name."""
    call_now: Callable[[StartHook], bool] | None = None
    """Runs a hook's addons at once, where that is possible."""
    drained: Callable[[Client], Awaitable[None]] | None = None
    """Waits until the client has read what was written to it."""
    make_stream: MakeStream | None = None
    """Where traffic is written down or shown: a stream that tells what passes."""
    live: dict[str, Exchange] = field(default_factory=dict)
    """What each client connection is busy with: HTTP/1.1 does one thing at a time."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    # ---- mitmproxy's hooks

    def running(self) -> None:
        task = asyncio.get_running_loop().create_task(self.credentials.run(), name="renewing logins ahead of their end")
        self._tasks.add(task)

    def next_layer(self, nextlayer: NextLayer) -> None:
        """Our own HTTP layer right below the reverse proxy."""
        layers = nextlayer.context.layers
        if len(layers) == 1 and isinstance(layers[0], ReverseProxy):
            nextlayer.layer = GatewayLayer(nextlayer.context, self.limits, self.call_now, self.make_stream)

    @fail_closed
    def requestheaders(self, flow: http.HTTPFlow) -> None:
        exchange = begin(flow)
        if not flow.live:
            exchange.loaded = True
            return
        self.live[flow.client_conn.id] = exchange
        request = flow.request
        fields, private = public_fields(request.headers.fields, self.router.credential_headers)
        request.headers.fields = fields
        if "?" in request.path and (target := public_target(request.path)) != request.path:
            logger.debug("a query parameter that carries a key was removed")
            request.path = target
        told = exchange.told = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in fields}
        path, _, _ = request.path.partition("?")
        exchange.client_path = path
        exchange.format = suggested_format(path)
        if flow.error:  # mitmproxy refuses it itself, and shows it to addons
            request.headers.clear()  # a key may stand in a field that could not be read
            return
        hosts = [told["host"]] if "host" in told else []
        if len(told) != len(fields):  # some field came twice: was it Host?
            hosts = [value.decode("latin-1") for name, value in fields if name.lower() == b"host"]
        self.guard.check_host(hosts, request)
        exchange.origin = self.guard.check_origin(told)
        if exchange.origin:
            exchange.answer_fields = _cors(exchange.origin)
            if request.method == "OPTIONS":
                flow.response = response(204, b"", {})
                return
        if self.own.has(path):
            if path not in OPEN_PATHS:
                self.guard.check_token(private, also=self.own.tokens)
            exchange.client_credential = private
            return
        if told.get("upgrade", "").lower() == "websocket" and self.router.knows(path):
            raise UpgradeRequired("ccproxy serves this route over HTTP: send a POST with stream=true")
        exchange.route = route = self.router.match(request.method, path)
        exchange.format = route.format
        if route.operation is Operation.PROBE:
            flow.response = response(200, b"", {})
            return
        exchange.client_credential = self.guard.check_token(private)

    @fail_closed
    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """What needs nothing but the request itself is done at once, without a task of its own: native requests."""
        exchange = begin(flow)
        route = exchange.route
        exchange.bytes_in = len(flow.request.raw_content or b"")
        if flow.response or exchange.loaded:
            return None
        if route is None:
            return self.own.answer(flow, exchange, exchange.client_credential)
        provider = route.provider
        if provider.upstream is None:
            return in_process.answer(flow, exchange, route, self.locals.get(provider.name), self.translation)
        if route.operation is Operation.COUNT_TOKENS and not route.is_native:
            counted = {"input_tokens": estimate_tokens(route.format, translated.parsed_body(flow))}
            flow.response = _json(counted, {"x-ccproxy-estimate": "1"})
            return None
        if provider.wants_credential:
            exchange.credential = self.credentials.at_once(provider.name, exchange.client_credential)
            if exchange.credential is None:
                return self._request(flow, exchange, route)
        if route.operation in {Operation.MODELS, Operation.MODEL}:
            return self._request(flow, exchange, route)
        if not route.is_native and not self.translation.at_hand(provider, exchange.secret_fields):
            return self._request(flow, exchange, route)
        self._forward(flow, exchange, route)
        return None

    async def _request(self, flow: http.HTTPFlow, exchange: Exchange, route: Route) -> None:
        provider = route.provider
        if provider.wants_credential and exchange.credential is None:
            exchange.credential = await self.credentials.headers(provider.name, exchange.client_credential)
        if route.operation in {Operation.MODELS, Operation.MODEL} and not _lists_natively(route, flow.request):
            flow.response = await self._models(flow, exchange, route)
            return
        if not route.is_native and not self.translation.at_hand(provider, exchange.secret_fields):
            await self.translation.models(provider, exchange.secret_fields)
        self._forward(flow, exchange, route)

    def _forward(self, flow: http.HTTPFlow, exchange: Exchange, route: Route) -> None:
        """Put the request in order and point it at its upstream."""
        provider = route.provider
        assert provider.upstream
        if route.is_native:
            self._look_at(flow, exchange, route)
        else:
            outgoing = self.translation.request(flow, exchange, route)
            if self._wants_line(exchange, route) and (system := identity.with_line(outgoing.body.get("system"))):
                outgoing.body["system"] = system
            translated.put_on(flow, exchange, outgoing)
        exchange.retry_on = provider.retries
        if exchange.credential and exchange.credential.source is Source.LOGIN:
            exchange.retry_on |= {401}
        if provider.profile == "codex":
            exchange.retry_on |= {400} if exchange.translated else frozenset()
            if route.session_id and "session-id" not in flow.request.headers:
                flow.request.headers["session-id"] = route.session_id
        query = flow.request.path.partition("?")[2] if route.is_native else ""
        path = route.upstream_path if route.upstream_path is not None else _create_path(route)
        send_to(flow, provider.upstream, path + (f"?{query}" if query else ""))
        self._wire(flow, exchange, route)

    @fail_closed
    def responseheaders(self, flow: http.HTTPFlow) -> None:
        answer = flow.response
        assert answer
        exchange = begin(flow)
        if exchange.body is not None or not exchange.answered or answer.raw_content is not None:
            return
        exchange.upstream_answer = answer
        if exchange.translated is not None:
            exchange.upstream_answer = translated.kept(answer)
            translated.begin_answer(answer, exchange)
            return
        # Whole JSON is held until it is whole, so that an upstream that dies can still be told of in a proper error.
        answer.stream = not answer.headers.get("content-type", "").startswith("application/json")

    async def local_chunk(self, flow: http.HTTPFlow) -> None:
        """The next piece of an answer made here, once the client has read what came before."""
        exchange = of(flow)
        assert exchange.body
        if self.drained is not None:
            await self.drained(flow.client_conn)
        exchange.chunk = await exchange.body.next()

    @fail_closed
    async def upstream_answered(self, flow: http.HTTPFlow) -> None:
        """An upstream status that may be tried again: a login renewed, a parameter left out, or after a pause."""
        exchange = of(flow)
        assert flow.response
        assert exchange.route
        status = flow.response.status_code
        if status == 401 and exchange.credential and exchange.credential.source is Source.LOGIN:
            renewed = await self.credentials.refresh_after_401(exchange.route.provider.name, exchange.credential)
            exchange.retry_on -= {401}
            if renewed is not None:
                exchange.credential = renewed
                self._wire(flow, exchange, exchange.route)
                exchange.retry = True
        elif status == 400 and exchange.translated:
            exchange.retry_on -= {400}
            exchange.retry = self._leave_out(flow, exchange, exchange.route)
        elif status in exchange.route.provider.retries:
            wait = number_in(flow.response.headers.get("retry-after", ""))
            await asyncio.sleep(min(wait, 10.0) if wait is not None else 0.5 * exchange.attempts)
            exchange.retry = exchange.attempts < ATTEMPTS

    @fail_closed
    def response(self, flow: http.HTTPFlow) -> None:
        exchange = begin(flow)
        if exchange.translated and exchange.answered and exchange.transform is None:
            assert flow.response
            translated.finish_answer(flow.response, exchange)
        if (
            flow.response
            and flow.response.status_code == 400
            and identity.REFUSED in (flow.response.raw_content or b"")
        ):
            logger.warning(
                "Anthropic wants the Claude Code identity line with this login: see providers.claude_api.identity"
            )
        self._finish(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        self._finish(flow)

    def client_disconnected(self, client: Client) -> None:
        """The client left: whatever is made here for it stops now."""
        exchange = self.live.pop(client.id, None)
        if exchange and exchange.body:
            exchange.body.cancel()

    async def done(self) -> None:
        for task in self._tasks:
            task.cancel()
        for exchange in self.live.values():
            if exchange.body:
                exchange.body.cancel()
        for provider in self.locals.values():
            await provider.aclose()
        self.translation.lists.forget()
        await self.credentials.aclose()

    # ---- what they do

    @staticmethod
    def _wire(flow: http.HTTPFlow, exchange: Exchange, route: Route) -> None:
        """The header fields for the wire, credential included; the flow itself never holds it."""
        assert route.provider.upstream
        fields = request_fields(flow.request.headers.fields, route.provider.upstream, route.provider)
        exchange.wire_fields = exchange.credential.on_wire(fields) if exchange.credential else fields

    def _look_at(self, flow: http.HTTPFlow, exchange: Exchange, route: Route) -> None:
        """A native request: note the model; change the few top-level keys that have to be changed; refuse small bodies that are no JSON."""
        provider, request = route.provider, flow.request
        if route.operation not in {Operation.CREATE, Operation.COUNT_TOKENS}:
            return
        if exchange.told.get("content-encoding", "identity").lower() != "identity":
            return
        body = request.raw_content or b""
        codex = provider.profile == "codex" and route.operation is Operation.CREATE
        sealed = capsule.is_in(body)
        signed_in = self.adds_identity and self._wants_line(exchange, route, known_model=False)
        if not (codex or provider.models or sealed or signed_in):
            if len(body) > CHECKED_JSON:
                exchange.model = _peek_model(body)
                return
            parsed = json_edit.glance(body)
            exchange.model = str(parsed.get("model", "")) if isinstance(parsed, dict) else ""
            return
        text = _text(body)
        found = list(json_edit.members(text))
        values = {member.key: member.value for member in found}
        exchange.model = str(values.get("model", ""))
        changes: dict[str, object] = native_changes(values, request.headers) if codex else {}
        if (mapped := mapped_model(provider.models, exchange.model)) != exchange.model:
            changes["model"] = mapped
        if self._wants_line(exchange, route) and (system := identity.with_line(values.get("system"))):
            changes["system"] = system
        same = translate_request(route.format, route.format, _changed(values, changes))
        removed = [key for key, value in changes.items() if value is json_edit.REMOVE]
        same = same.noting(removed, "the Codex backend knows no such parameter")
        if sealed and same.changed:  # thinking that another provider signed
            changes |= {key: value for key, value in same.body.items() if value is not values.get(key)}
        if codex and values.get("stream") is not True:  # the backend streams only: its stream is folded
            exchange.translated = replace(same, stream=False)
            request.headers["accept-encoding"] = "identity"
            request.headers["accept"] = "text/event-stream"
        if changes:
            set_body(flow, json_edit.edited(text, found, changes).encode())
            translated.tell_losses(exchange, [loss.path for loss in same.losses])
            logger.debug("%s: changed %s", route.label, ", ".join(changes))

    def _wants_line(self, exchange: Exchange, route: Route, *, known_model: bool = True) -> bool:
        """Whether the identity line belongs into this request, see `providers.identity`."""
        login = exchange.credential is not None and exchange.credential.source is Source.LOGIN
        ours = (
            self.adds_identity and login and route.provider.name == "claude_api" and route.operation is Operation.CREATE
        )
        return ours and (not known_model or identity.is_wanted(exchange.model))

    def _leave_out(self, flow: http.HTTPFlow, exchange: Exchange, route: Route) -> bool:
        """The backend refuses a parameter by name: leave it out, now and from now on. False if it was none of that."""
        assert exchange.translated
        assert flow.response
        refused = unsupported_parameter(400, flow.response.content or b"")
        if refused is None or refused not in exchange.translated.body:
            return False
        model = str(exchange.translated.body.get("model", ""))
        self.translation.refused.setdefault((route.provider.name, model), set()).add(refused)
        translated.put_on(flow, exchange, exchange.translated.without(refused))
        self._wire(flow, exchange, route)
        logger.warning("%s refuses the parameter %s: it is left out from now on", route.provider.name, refused)
        return True

    async def _models(self, flow: http.HTTPFlow, exchange: Exchange, route: Route) -> http.Response:
        """The upstream's models, and the names that the configuration maps to them, for clients of either vendor."""
        models = await self.translation.lists.listing(route.provider, exchange.secret_fields)
        known = {model["id"] for model in models}
        models += both_shapes(
            name for name in route.provider.models if not set(name) & set("*?[") and name not in known
        )
        return model_answer(models, flow.request.path.partition("?")[0], route)

    def _finish(self, flow: http.HTTPFlow) -> None:
        """Leave a plain summary for watchers and dumps: JSON values only."""
        exchange = begin(flow)
        if exchange.loaded:
            return
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


def _json(body: object, headers: dict[str, str]) -> http.Response:
    return response(200, json.dumps(body, ensure_ascii=False).encode(), {"content-type": "application/json", **headers})


def _changed(values: Mapping[str, Any], changes: Mapping[str, object]) -> dict[str, Any]:
    """What an edit makes of an object."""
    return {key: value for key, value in {**values, **changes}.items() if value is not json_edit.REMOVE}


def _lists_natively(route: Route, request: http.Request) -> bool:
    """Whether the client that asks for models reads the upstream's own list."""
    if route.provider.profile == "codex":
        return "client_version" in request.query
    if route.provider.format is Format.ANTHROPIC:
        return "anthropic-version" in request.headers or not request.headers.get("user-agent", "").startswith(
            ("OpenAI/", "AsyncOpenAI/")
        )
    return "anthropic-version" not in request.headers


def _create_path(route: Route) -> str:
    """Where the upstream takes what a translated request has become."""
    own = (
        e for e in route.provider.endpoints.values() if e.operation is Operation.CREATE and e.upstream_path is not None
    )
    return next(e.upstream_path for e in own if e.upstream_path is not None)


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
