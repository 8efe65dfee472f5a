"""`[raw_log]`: tells the raw HTTP log what passes. The log itself is `ccproxy.ledger.raw_log`."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from mitmproxy import http

from ccproxy.addons.transport.watched_stream import Head
from ccproxy.ledger.raw_log import Message, RawExchange, RawLog

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class RawHttp:
    """Writes whole exchanges to files, while they go on."""

    log: RawLog
    _started: bool = False

    def running(self) -> None:
        logger.warning("%s", self.log.banner)

    def watch(self, flow: http.HTTPFlow) -> RawWatch:
        if not self._started:
            self._started = True
            self.log.start()
        started = datetime.fromtimestamp(flow.request.timestamp_start, UTC)
        return RawWatch(self.log.exchange(flow.id, started))

    async def done(self) -> None:
        if self._started:
            await asyncio.to_thread(self.log.close)


@dataclass(slots=True)
class RawWatch:
    """One exchange."""

    raw: RawExchange

    def head(self, message: Message, head: Head) -> None:
        fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers.fields]
        self.raw.head(message, first_line(head), fields)

    def body(self, message: Message, chunk: bytes) -> None:
        self.raw.body(message, chunk)

    def end(self, message: Message, note: str = "complete") -> None:
        self.raw.end(message, note)

    def close(self) -> None:
        self.raw.close()


def first_line(head: Head) -> str:
    """As on the wire."""
    if isinstance(head, http.Request):
        return f"{head.method} {head.path} {head.http_version}"
    return f"{head.http_version} {head.status_code} {head.reason}"
