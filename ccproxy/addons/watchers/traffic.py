"""Hands what is on the wire to `ccproxy.ledger.traffic`, for the raw HTTP log, mitmweb and recordings together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

from mitmproxy import http

from ccproxy.addons.transport.watched_stream import Head, copied
from ccproxy.ledger.raw_log import RawLog
from ccproxy.ledger.traffic import Message, Sink, Traffic, TrafficExchange
from ccproxy.redaction import Redaction

logger = logging.getLogger(__name__)

PROBES: Final = frozenset({"/health/live", "/health/ready"})
"""Supervisors ask for them every few seconds: they are never recorded or shown."""
OWN_ENDPOINTS: Final = PROBES | {"/", "/health", "/metrics", "/usage", "/permissions", "/permissions/stream"}
"""Paths that ccproxy itself answers."""


class Observer(Protocol):
    """Stores or shows exchanges."""

    def observe(self, flow: http.HTTPFlow, traffic: Traffic) -> Sink:
        """The sink for the messages of one exchange."""


class TrafficWatcher:
    """The watcher of the transport that all observers share."""

    name = "ccproxy_traffic"

    def __init__(self, redaction: Redaction, observers: Sequence[Observer]) -> None:
        self._observers = observers
        logs = [observer.log for observer in observers if isinstance(observer, RawHttp)]
        self.traffic = Traffic(redaction, after_batch=[log.flush for log in logs])

    def watch(self, flow: http.HTTPFlow) -> TrafficWatch:
        sinks: list[Sink] = []
        if path_of(flow) not in PROBES:
            self.traffic.start()
            sinks = [observer.observe(flow, self.traffic) for observer in self._observers]
        return TrafficWatch(self.traffic.exchange(sinks) if sinks else None)

    async def done(self) -> None:
        if self.traffic.started:
            await asyncio.to_thread(self.traffic.close)


class TrafficWatch:
    """One exchange."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: TrafficExchange | None) -> None:
        self._exchange = exchange

    def head(self, message: Message, head: Head) -> None:
        if self._exchange:
            add_head(self._exchange, message, head)

    def body(self, message: Message, chunk: bytes) -> None:
        if self._exchange:
            self._exchange.body(message, chunk)

    def end(self, message: Message, note: str = "complete") -> None:
        if self._exchange:
            self._exchange.end(message, note)

    def close(self) -> None:
        if self._exchange:
            self._exchange.close()


class RawHttp:
    """`[raw_log]`: the observer that writes files, while exchanges are under way. The log is `ccproxy.ledger.raw_log`."""

    name = "rawhttp"

    def __init__(self, log: RawLog) -> None:
        self.log = log

    def running(self) -> None:
        logger.warning("%s", self.log.banner)

    def observe(self, flow: http.HTTPFlow, traffic: Traffic) -> Sink:
        del traffic
        return self.log.exchange(flow.id, datetime.fromtimestamp(flow.request.timestamp_start, UTC))


def add_head(exchange: TrafficExchange, message: Message, head: Head) -> None:
    """Begin a message with a head, of which a copy is kept."""
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers.fields]
    exchange.head(message, _first_line(head), fields, copied(head))


def _first_line(head: Head) -> str:
    """As on the wire."""
    if isinstance(head, http.Request):
        return f"{head.method} {head.path} {head.http_version}"
    return f"{head.http_version} {head.status_code} {head.reason}"


def path_of(flow: http.HTTPFlow) -> str:
    """The path that the client asked for, without the query."""
    return flow.request.path.partition("?")[0]


def is_own_endpoint(path: str) -> bool:
    """Return whether ccproxy itself answers this path."""
    return path in OWN_ENDPOINTS or path.startswith("/permissions/")
