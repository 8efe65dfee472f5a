"""Requests that ccproxy can answer for an upstream: its models, and the size of a prompt."""

from __future__ import annotations

from collections.abc import Awaitable

from mitmproxy import http

from ccproxy.addons.exchange import Client, Way
from ccproxy.addons.gateway.models import model_response
from ccproxy.addons.gateway.ways.native import Native
from ccproxy.addons.gateway.ways.shared import Shared
from ccproxy.addons.transport.flow_edits import decompress, is_compressed, json_object
from ccproxy.addons.transport.responses import json_response
from ccproxy.providers.model_lists import both_shapes
from ccproxy.providers.routing import Route
from ccproxy.translate.estimate import estimate_tokens


class ModelList(Native):
    """A list of models. A client that reads the upstream's own list gets that; others get one that clients of both vendors read."""

    name = "models"

    def prepare(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        catalogue = self.route.provider.catalogue
        if catalogue is not None and catalogue.is_native(self.client.headers, flow.request.path.partition("?")[2]):
            return super().prepare(flow)
        return self._list(flow)

    async def _list(self, flow: http.HTTPFlow) -> None:
        """The upstream's models, and the names that the configuration maps to them."""
        await self.find_credential()
        provider = self.route.provider
        models = await self.shared.lists.listing(provider, self.secret_fields)
        names = {model["id"] for model in models}
        models += both_shapes(name for name in provider.models if not set(name) & set("*?[") and name not in names)
        flow.response = model_response(models, self.client.path, self.route)


class TokenCount(Way):
    """An estimate, where the upstream does not count tokens."""

    name = "token count"

    def __init__(self, route: Route, client: Client, shared: Shared) -> None:
        del client
        self.route = route
        self.shared = shared

    def prepare(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        if is_compressed(flow):
            return self._decompress(flow)
        self._count(flow)
        return None

    async def _decompress(self, flow: http.HTTPFlow) -> None:
        await decompress(flow, self.shared.max_body)
        self._count(flow)

    def _count(self, flow: http.HTTPFlow) -> None:
        tokens = estimate_tokens(self.route.format, json_object(flow))
        flow.response = json_response({"input_tokens": tokens}, {"x-ccproxy-estimate": "1"})
