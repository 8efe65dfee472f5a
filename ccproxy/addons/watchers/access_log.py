"""One line per exchange: time, method, route, model, status, bytes, first byte, total."""

from __future__ import annotations

import functools
import logging
import time

from mitmproxy import http

from ccproxy.addons.exchange import Exchange, begin, shown
from ccproxy.redaction import Redaction

logger = logging.getLogger("ccproxy.access")


class AccessLog:
    """Writes a line when an exchange has ended, if anybody listens at that level."""

    def __init__(self, redaction: Redaction) -> None:
        # What a client says of itself is nearly always what it said last time.
        self._said = functools.lru_cache(maxsize=512)(lambda text: redaction.text(shown(text)))

    def response(self, flow: http.HTTPFlow) -> None:
        exchange = begin(flow)
        if logger.isEnabledFor(logging.INFO) and not exchange.loaded:
            status = flow.response.status_code if flow.response else 0
            # A whole answer is written right after this hook: its size is known already.
            size = exchange.progress.bytes_out or len((flow.response and flow.response.raw_content) or b"")
            note = f" truncated: {exchange.progress.truncated}" if exchange.progress.truncated else ""
            self._line(flow.request, exchange, str(status), size, note)

    def error(self, flow: http.HTTPFlow) -> None:
        exchange = begin(flow)
        if logger.isEnabledFor(logging.INFO) and not exchange.loaded:
            # Not flow.error.msg: mitmproxy's may quote bytes of the wire.
            note = (
                f" cut: {exchange.progress.truncated}"
                if exchange.progress.truncated
                else " client left or sent no valid HTTP"
            )
            self._line(flow.request, exchange, "---", exchange.progress.bytes_out, note)

    def _line(self, request: http.Request, exchange: Exchange, status: str, size: int, note: str) -> None:
        total = f"{(time.monotonic() - exchange.started) * 1000:.0f}ms"
        first = (
            f"{(exchange.progress.first_byte - exchange.started) * 1000:.0f}ms"
            if exchange.progress.first_byte
            else "-ms"
        )
        path = exchange.client.path or request.path.partition("?")[0]
        asked = f"{self._said(request.method[:200])} {self._said(path[:200])}"
        route = exchange.route.label if exchange.route else "-"
        model = self._said(exchange.model[:200]) or "-"
        tried = f" attempts={exchange.progress.attempts + 1}" if exchange.progress.attempts else ""
        logger.info(f"{asked} {route} {model} {status} {size}B first={first} total={total}{tried}{note}")  # noqa: G004 - shown if made
