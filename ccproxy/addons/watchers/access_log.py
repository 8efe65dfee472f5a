"""One line per exchange: time, method, route, model, status, bytes, first byte, total."""

from __future__ import annotations

import functools
import logging
import time
from typing import Final

from mitmproxy import http

from ccproxy.addons.exchange import Exchange, begin
from ccproxy.redaction import Redaction
from ccproxy.translate.labels import MAX_LABEL, label

logger = logging.getLogger("ccproxy.access")

MAX_LABELS: Final = 512
"""Names that are remembered in their redacted form."""


class AccessLog:
    """Writes a line when an exchange has ended, if anybody listens at that level."""

    def __init__(self, redaction: Redaction) -> None:
        # Clients send the same few names again and again.
        self._label = functools.lru_cache(maxsize=MAX_LABELS)(lambda text: redaction.text(label(text) or ""))

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
        request_line = f"{self._label(request.method[:MAX_LABEL])} {self._label(path[:MAX_LABEL])}"
        route = exchange.route.label if exchange.route else "-"
        model = self._label(exchange.model[:MAX_LABEL]) or "-"
        tried = f" attempts={exchange.progress.attempts + 1}" if exchange.progress.attempts else ""
        logger.info(f"{request_line} {route} {model} {status} {size}B first={first} total={total}{tried}{note}")  # noqa: G004 - shown if made
