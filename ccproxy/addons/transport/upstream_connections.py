"""Connections to upstreams: kept alive, and through a corporate proxy where there is one."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mitmproxy import http
from mitmproxy.connection import Client
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from ccproxy.addons.exchange import begin
from ccproxy.addons.transport.mitmproxy_internals import ConnectionHandler
from ccproxy.network import CorporateProxy, Network
from ccproxy.providers.spec import Upstream


@dataclass(slots=True)
class Upstreams:
    """Chooses how an upstream is reached. It changes no content."""

    handlers: Callable[[Client], ConnectionHandler | None]
    network: Network = field(default_factory=Network)
    _proxies: dict[Upstream, CorporateProxy | None] = field(default_factory=dict)
    """The proxy for each upstream: the environment does not change while a process runs."""

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        route = begin(flow).route
        upstream = route.provider.upstream if route else None
        if upstream is None:
            return
        if upstream not in self._proxies:
            self._proxies[upstream] = self.network.proxy_for(upstream.scheme, upstream.host, upstream.port)
        if proxy := self._proxies[upstream]:
            scheme: Any = proxy.scheme
            flow.server_conn.via = (scheme, (proxy.host, proxy.port))

    def http_connect_upstream(self, flow: http.HTTPFlow) -> None:
        """The CONNECT to a corporate proxy; its login goes there and nowhere else."""
        target = flow.request
        schemes = ("https", "http")
        proxy = next(filter(None, (self.network.proxy_for(name, target.host, target.port) for name in schemes)), None)
        if proxy and proxy.user:
            login = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
            flow.request.headers["Proxy-Authorization"] = f"Basic {login}"

    def server_connected(self, data: ServerConnectionHookData) -> None:
        if (handler := self.handlers(data.client)) and (io := handler.transports.get(data.server)) and io.writer:
            connection: Any = io.writer.get_extra_info("socket", None)
            if connection is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    # mitmproxy 12 leaves a connection open whose task is cancelled while it waits for its turn to report data, as it does now and then when the
    # other end still talks: an upstream would continue a response that no client reads.

    def server_disconnected(self, data: ServerConnectionHookData) -> None:
        if (handler := self.handlers(data.client)) and (io := handler.transports.pop(data.server, None)) and io.writer:
            io.writer.close()

    def client_disconnected(self, client: Client) -> None:
        if handler := self.handlers(client):
            for io in handler.transports.values():
                if io.writer:
                    io.writer.close()
