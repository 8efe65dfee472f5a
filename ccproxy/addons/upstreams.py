"""Connections to upstreams: in time, kept alive, through a company's proxy, trusting its CAs."""

from __future__ import annotations

import base64
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]  # not in typeshed

from mitmproxy import http
from mitmproxy.connection import Client
from mitmproxy.proxy.server import ConnectionHandler
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from ccproxy.addons.exchange import begin
from ccproxy.settings.model import LOOPBACK

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Upstreams:
    """Says how an upstream is reached. It changes no content."""

    handlers: Callable[[Client], ConnectionHandler | None]

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        route = begin(flow).route
        if (
            route
            and (upstream := route.provider.upstream)
            and (proxy := company_proxy(upstream.scheme, upstream.host, upstream.port))
        ):
            flow.server_conn.via = (proxy[0], (proxy[1], proxy[2]))

    def request(self, flow: http.HTTPFlow) -> None:
        """The gateway has made the fields for the wire; scripts come next."""
        begin(flow).flow_fields = flow.request.headers.fields

    def http_connect_upstream(self, flow: http.HTTPFlow) -> None:
        """The CONNECT to a company's proxy; its login goes there and nowhere else."""
        if (address := flow.server_conn.address) and (login := _proxy_login(address[0])):
            flow.request.headers["Proxy-Authorization"] = login

    def server_connected(self, data: ServerConnectionHookData) -> None:
        if (handler := self.handlers(data.client)) and (io := handler.transports.get(data.server)) and io.writer:
            found: Any = io.writer.get_extra_info("socket", None)
            if found is not None:
                found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    # mitmproxy 12 leaves a connection open whose task is cancelled while it waits for its turn to report data, as it does now and then when the
    # other end still talks: an upstream would go on with an answer that nobody reads.

    def server_disconnected(self, data: ServerConnectionHookData) -> None:
        if (handler := self.handlers(data.client)) and (io := handler.transports.pop(data.server, None)) and io.writer:
            io.writer.close()

    def client_disconnected(self, client: Client) -> None:
        if handler := self.handlers(client):
            for io in handler.transports.values():
                if io.writer:
                    io.writer.close()


def company_proxy(scheme: str, host: str, port: int) -> tuple[Any, str, int] | None:
    """The proxy of `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY` for an upstream: scheme, host, port. Never for this machine."""
    if host in LOOPBACK or host.startswith("127."):
        return None
    proxies = getproxies_environment()
    url = proxies.get(scheme) or proxies.get("all")
    if not url or proxy_bypass_environment(f"{host}:{port}", proxies):
        return None
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        logger.warning("a proxy of the environment is neither http:// nor https:// and is not used")
        return None
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 8080)


def _proxy_login(host: str) -> str:
    for url in getproxies_environment().values():
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.hostname == host and parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            return "Basic " + base64.b64encode(login.encode()).decode()
    return ""
