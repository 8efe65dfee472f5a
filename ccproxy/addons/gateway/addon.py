"""The gateway: the only addon that changes flows.

It guards, routes, chooses the way of each exchange and delegates to it. All other addons observe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from mitmproxy import http
from mitmproxy.connection import Client

from ccproxy.addons.exchange import Exchange, begin, of
from ccproxy.addons.gateway.endpoints import OPEN_PATHS, OwnEndpoints
from ccproxy.addons.gateway.fail_closed import fail_closed
from ccproxy.addons.gateway.guard import Guard, cors_fields, read_head
from ccproxy.addons.gateway.ways import choose
from ccproxy.addons.gateway.ways.endpoint import Endpoint
from ccproxy.addons.gateway.ways.shared import Shared
from ccproxy.addons.transport.layer import GatewayLayer, MakeStream
from ccproxy.addons.transport.mitmproxy_internals import NextLayer, ReverseProxy, StartHook
from ccproxy.addons.transport.responses import response
from ccproxy.addons.transport.stream import Limits
from ccproxy.errors import UpgradeRequired
from ccproxy.providers.routing import Router
from ccproxy.providers.spec import Operation


@dataclass(slots=True)
class Gateway:
    """See the module. All its collaborators are passed in."""

    router: Router
    guard: Guard
    own: OwnEndpoints
    limits: Limits
    shared: Shared
    call_now: Callable[[StartHook], bool] | None = None
    """Runs a hook's addons at once, where that is possible."""
    drained: Callable[[Client], Awaitable[None]] | None = None
    """Waits until the client has read what was written to it."""
    make_stream: MakeStream | None = None
    """Where traffic is recorded or shown: makes a stream that reports what passes."""
    live: dict[str, Exchange] = field(default_factory=dict)
    """What each client connection is busy with, by its id: HTTP/1.1 does one thing at a time."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def running(self) -> None:
        loop = asyncio.get_running_loop()
        self._tasks.add(loop.create_task(self.shared.credentials.run(), name="renewing logins before they expire"))

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
        private = read_head(flow, exchange, self.router.credential_headers)
        client = exchange.client
        if flow.error:  # mitmproxy refuses it itself, and shows it to addons
            flow.request.headers.clear()  # a key may be in a header that could not be read
            return
        self.guard.check_host(flow.request)
        if origin := self.guard.check_origin(client.headers):
            exchange.response_fields = cors_fields(origin)
            if flow.request.method == "OPTIONS":
                flow.response = response(204, b"", {})
                return
        if self.own.has(client.path):
            client.credential = private
            if client.path not in OPEN_PATHS:
                self.guard.check_token(private, also=self.own.tokens)
            exchange.way = Endpoint(self.own)
            return
        if client.headers.get("upgrade", "").lower() == "websocket" and self.router.knows(client.path):
            raise UpgradeRequired("ccproxy serves this route over HTTP: send a POST with stream=true")
        route = exchange.route = self.router.match(flow.request.method, client.path)
        exchange.format = route.format
        if route.operation is Operation.PROBE:
            flow.response = response(200, b"", {})
            return
        client.credential = self.guard.check_token(private)
        exchange.way = choose(route, client, self.shared)

    @fail_closed
    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        exchange = begin(flow)
        return None if flow.response or exchange.loaded else exchange.way.prepare(flow)

    @fail_closed
    def responseheaders(self, flow: http.HTTPFlow) -> None:
        exchange = begin(flow)
        if exchange.progress.from_upstream and flow.response and flow.response.raw_content is None:
            exchange.way.begin_response(flow)

    async def local_chunk(self, flow: http.HTTPFlow) -> None:
        """Pull the next piece of a response made here, once the client has read what came before."""
        body = of(flow).way.body
        assert body
        await body.pull(self.drained(flow.client_conn) if self.drained is not None else None)

    @fail_closed
    async def upstream_answered(self, flow: http.HTTPFlow) -> None:
        """An upstream status that the way wants to see before the client does."""
        exchange = of(flow)
        exchange.retry = False
        exchange.retry = await exchange.way.retry(flow)

    @fail_closed
    def response(self, flow: http.HTTPFlow) -> None:
        exchange = begin(flow)
        try:
            if exchange.progress.from_upstream:
                exchange.way.finish_response(flow)
        finally:
            self._finish(flow, exchange)

    def error(self, flow: http.HTTPFlow) -> None:
        self._finish(flow, begin(flow))

    def client_disconnected(self, client: Client) -> None:
        """The client left: whatever is made here for it stops now."""
        if exchange := self.live.pop(client.id, None):
            exchange.way.cancel()

    async def done(self) -> None:
        for task in self._tasks:
            task.cancel()
        for exchange in self.live.values():
            exchange.way.cancel()
        await self.shared.aclose()

    def _finish(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Leave a plain summary for watchers and dumps: JSON values only."""
        if exchange.loaded:
            return
        if self.live.get(flow.client_conn.id) is exchange:
            del self.live[flow.client_conn.id]
        exchange.way.cancel()  # the client may have left: this comes before `client_disconnected` then
        flow.metadata["ccproxy"] = exchange.summary()
