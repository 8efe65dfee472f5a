"""Keeps streamed bodies on their flows, for records and for mitmweb: else they pass by and are gone.

mitmproxy's own option `store_streamed_bodies` came with 12 only, and knows nothing of answers that are made in this process.
"""

from __future__ import annotations

from mitmproxy import http

from ccproxy.addons.exchange import begin


class KeepBodies:
    """Collects what is streamed and puts it on the flow at its end, whole or as far as it came."""

    def __init__(self) -> None:
        self._bodies: dict[str, bytearray] = {}

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        exchange = begin(flow)
        if exchange.body is not None or (flow.response and flow.response.stream):
            self._bodies[flow.id] = body = bytearray()
            exchange.taps.append(body.extend)

    def local_chunk(self, flow: http.HTTPFlow) -> None:
        if (body := self._bodies.get(flow.id)) is not None:
            body += begin(flow).chunk

    def response(self, flow: http.HTTPFlow) -> None:
        if (body := self._bodies.pop(flow.id, None)) is not None and flow.response:
            flow.response.data.content = bytes(body)

    error = response
