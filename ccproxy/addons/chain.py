"""The addons, in order, and why.

Ours come before mitmproxy's own: what they take off a flow (a client's key) is gone before `save` or mitmweb sees it. The gateway is first,
so that all others see the exchange it has made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mitmproxy import ctx
from mitmproxy.connection import Client
from mitmproxy.proxy.server import ConnectionHandler

from ccproxy.addons.access_log import AccessLog
from ccproxy.addons.gateway import Gateway
from ccproxy.addons.guard import Guard
from ccproxy.addons.own import OwnEndpoints
from ccproxy.addons.stream import Limits
from ccproxy.addons.upstreams import Upstreams
from ccproxy.providers.credentials import credential
from ccproxy.providers.local import LocalProvider
from ccproxy.providers.routing import Router
from ccproxy.settings import Settings


@dataclass(frozen=True, slots=True)
class Parts:
    """What the chain is made of; `server` builds it."""

    settings: Settings
    router: Router
    locals: dict[str, LocalProvider]


def addons(parts: Parts) -> list[Any]:
    """Ccproxy's own addons, in the order in which they run."""
    settings = parts.settings
    gateway = Gateway(
        router=parts.router,
        guard=Guard(
            token=settings.server.auth_token.get_secret_value(),
            hosts=frozenset(
                name.lower() for name in (*settings.server.allowed_hosts, *_own_names(settings.server.host))
            ),
            origins=frozenset(origin.lower().rstrip("/") for origin in settings.server.allowed_origins),
        ),
        own=OwnEndpoints(
            providers={
                p.name: {
                    "prefix": p.prefix,
                    "format": p.format.value,
                    "credential": credential(settings, p.name).state.value,
                }
                for p in parts.router.providers
            },
            status={name: provider.status for name, provider in parts.locals.items()},
        ),
        limits=Limits(settings.server.max_body_mb * 2**20, settings.server.connect_timeout),
        locals=parts.locals,
        drained=_drained,
    )
    return [
        gateway,
        Upstreams(connection_handler),
        AccessLog(),
    ]


def connection_handler(client: Client) -> ConnectionHandler | None:
    """What reads and writes this client's connection and its upstreams'."""
    found: Callable[..., Any] | None = ctx.master.addons.get("proxyserver")
    handler: ConnectionHandler | None = found.connections.get(client.id) if found else None  # type: ignore[attr-defined]
    return handler


async def _drained(client: Client) -> None:
    if handler := connection_handler(client):
        await handler.drain_writers()


def _own_names(host: str) -> tuple[str, ...]:
    """The address that ccproxy listens on, as it stands in a Host header; not the wildcards."""
    return () if host in {"0.0.0.0", "::", ""} else (f"[{host}]" if ":" in host else host,)  # noqa: S104 - compared, not bound
