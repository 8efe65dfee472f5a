"""ccproxy's own endpoints as a way."""

from __future__ import annotations

from collections.abc import Awaitable

from mitmproxy import http

from ccproxy.addons.exchange import Way, of
from ccproxy.addons.gateway.endpoints import OwnEndpoints


class Endpoint(Way):
    """`/health`, `/metrics`, `/usage`, `/permissions`: the response is made here."""

    name = "endpoint"

    def __init__(self, own: OwnEndpoints) -> None:
        self._own = own

    def prepare(self, flow: http.HTTPFlow) -> Awaitable[None]:
        return self._answer(flow)

    async def _answer(self, flow: http.HTTPFlow) -> None:
        flow.response, self.body = await self._own.respond(flow, of(flow).client.credential)
