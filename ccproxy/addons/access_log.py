"""One line per exchange: time, method, route, model, status, bytes, first byte, total."""

from __future__ import annotations

import logging
import time

from mitmproxy import http

from ccproxy.addons.exchange import begin, shown

logger = logging.getLogger("ccproxy.access")


class AccessLog:
    """Writes a line when an exchange has ended, if anybody listens at that level."""

    def response(self, flow: http.HTTPFlow) -> None:
        exchange = begin(flow)
        if logger.isEnabledFor(logging.INFO) and not exchange.loaded:
            status = flow.response.status_code if flow.response else 0
            # A whole answer is written right after this hook: its size is known already.
            size = exchange.bytes_out or len((flow.response and flow.response.raw_content) or b"")
            self._line(flow, str(status), size, f" truncated: {exchange.truncated}" if exchange.truncated else "")

    def error(self, flow: http.HTTPFlow) -> None:
        exchange = begin(flow)
        if logger.isEnabledFor(logging.INFO) and not exchange.loaded:
            # Not flow.error.msg: mitmproxy's may quote bytes of the wire.
            self._line(
                flow, "---", exchange.bytes_out, " cut" if exchange.truncated else " client left or sent no valid HTTP"
            )

    @staticmethod
    def _line(flow: http.HTTPFlow, status: str, size: int, note: str) -> None:
        exchange = begin(flow)
        now = time.monotonic()
        first = f"{(exchange.first_byte - exchange.started) * 1000:.0f}" if exchange.first_byte else "-"
        route = exchange.route.label if exchange.route else "-"
        tried = f" attempts={exchange.attempts + 1}" if exchange.attempts else ""
        logger.info(
            "%s %s %s %s %s %sB first=%sms total=%.0fms%s%s",
            shown(flow.request.method),
            shown(exchange.client_path or flow.request.path.partition("?")[0]),
            route,
            shown(exchange.model) or "-",
            status,
            size,
            first,
            (now - exchange.started) * 1000,
            tried,
            note,
        )
