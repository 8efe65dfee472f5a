"""All addons as one list, in the order in which they run.

Ours come before mitmproxy's own: what they remove from a flow (a client's key) is gone before `save` or mitmweb sees it. The gateway is first, so that all
others see the exchange that it has made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mitmproxy import ctx
from mitmproxy.connection import Client, Connection

from ccproxy.addons.gateway.addon import Gateway
from ccproxy.addons.gateway.endpoints import OwnEndpoints, Permissions, Report
from ccproxy.addons.gateway.guard import Guard
from ccproxy.addons.gateway.ways.shared import Credentials, Shared
from ccproxy.addons.transport.hook_table import FixedChain
from ccproxy.addons.transport.layer import MakeStream
from ccproxy.addons.transport.mitmproxy_internals import ConnectionHandler, StartHook
from ccproxy.addons.transport.stream import Limits
from ccproxy.addons.transport.upstream_connections import Upstreams
from ccproxy.addons.watchers.access_log import AccessLog
from ccproxy.addons.watchers.accounting import Accounting
from ccproxy.ledger.database import Ledger
from ccproxy.ledger.metrics import Metrics
from ccproxy.ledger.pricing import PriceBook
from ccproxy.network import Network
from ccproxy.providers.credentials import credential
from ccproxy.providers.local import LocalProvider
from ccproxy.providers.model_lists import ModelLists
from ccproxy.providers.routing import Router
from ccproxy.providers.spec import Provider
from ccproxy.redaction import Redaction
from ccproxy.settings import Settings
from ccproxy.settings.folders import data_dir
from ccproxy.translate.replay import ReplayCache

if TYPE_CHECKING:
    from ccproxy.addons.transport.watched_stream import Watcher
    from ccproxy.addons.watchers.traffic import Observer, RawHttp


@dataclass(frozen=True, slots=True)
class Parts:
    """The collaborators of the addons. `server.wiring` makes them."""

    settings: Settings
    router: Router
    locals: dict[str, LocalProvider]
    credentials: Credentials
    lists: ModelLists
    replay: ReplayCache | None
    ledger: Ledger | None
    prices: PriceBook
    metrics: Metrics
    report: Report | None
    permissions: Permissions | None
    tokens: tuple[str, ...]
    asked_by_tool: Callable[[tuple[str, int], tuple[str, int]], bool]
    redaction: Redaction
    has_login: Callable[[str], bool]
    network: Network = field(default_factory=Network)


def addons(parts: Parts, observers: Sequence[Observer] = ()) -> list[Any]:
    """Ccproxy's own addons, in the order in which they run. `observers` store or show exchanges."""
    settings = parts.settings
    observers = [*_raw_log(parts), *observers]
    watchers = _watchers(parts.redaction, observers)
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
            providers=lambda: {p.name: _facts(parts, p) for p in parts.router.providers},
            metrics=parts.metrics.render,
            report=parts.report,
            permissions=parts.permissions,
            tokens=parts.tokens,
            asked_by_tool=parts.asked_by_tool,
        ),
        limits=Limits(
            settings.server.max_body_mb * 2**20, settings.server.connect_timeout, settings.server.idle_timeout
        ),
        shared=Shared(
            credentials=parts.credentials,
            lists=parts.lists,
            replay=parts.replay,
            locals=parts.locals,
            strict=settings.translate.strict,
            max_body=settings.server.max_body_mb * 2**20,
        ),
        call_now=_call_now,
        drained=_drained,
        was_reset=_was_reset,
        make_stream=_watched(watchers) if watchers else None,
    )
    return [
        gateway,
        Accounting(
            ledger=parts.ledger,
            prices=parts.prices,
            metrics=parts.metrics,
        ),
        Upstreams(connection_handler, parts.network),
        AccessLog(parts.redaction),
        *watchers,
        *observers,
    ]


def _raw_log(parts: Parts) -> list[RawHttp]:
    own = parts.settings.raw_log
    if not own.enabled:
        return []
    from ccproxy.addons.watchers.traffic import RawHttp
    from ccproxy.ledger.raw_log import RawLog

    folder = Path(own.dir).expanduser() if own.dir else data_dir() / "raw"
    return [RawHttp(RawLog(folder, max_body_kb=own.max_body_kb, max_total_mb=own.max_total_mb))]


def _watchers(redaction: Redaction, observers: Sequence[Observer]) -> list[Watcher]:
    """One for all observers: bodies are redacted once."""
    if not observers:
        return []
    from ccproxy.addons.watchers.traffic import TrafficWatcher

    return [TrafficWatcher(redaction, observers)]


def _watched(watchers: Sequence[Watcher]) -> MakeStream:
    from ccproxy.addons.transport.watched_stream import WatchedStream

    return partial(WatchedStream, watchers=watchers)


def _facts(parts: Parts, provider: Provider) -> dict[str, Any]:
    """What `/health` reports about a provider."""
    state = credential(parts.settings, provider.name, has_login=parts.has_login(provider.name)).state
    own = parts.locals[provider.name].status() if provider.name in parts.locals else {}
    return {"prefix": provider.prefix, "format": provider.format.value, "credential": state.value, **own}


def connection_handler(client: Client) -> ConnectionHandler | None:
    """The handler that reads and writes this client's connection and those to its upstreams."""
    proxyserver: Any = ctx.master.addons.get("proxyserver")
    handler: ConnectionHandler | None = proxyserver.connections.get(client.id) if proxyserver else None
    return handler


def _call_now(hook: StartHook) -> bool:
    chain = ctx.master.addons
    return isinstance(chain, FixedChain) and chain.call_now(hook)


async def _drained(client: Client) -> None:
    if handler := connection_handler(client):
        await handler.drain_writers()


def _was_reset(client: Client, connection: Connection) -> bool:
    handler = connection_handler(client)
    io = handler.transports.get(connection) if handler else None
    return io is not None and isinstance(io.reader, asyncio.StreamReader) and io.reader.exception() is not None


def _own_names(host: str) -> tuple[str, ...]:
    """The address that ccproxy listens on, as clients write it in a Host header. Wildcards are left out."""
    return () if host in {"0.0.0.0", "::", ""} else (f"[{host}]" if ":" in host else host,)  # noqa: S104 - compared, not bound
