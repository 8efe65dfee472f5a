"""Requests to an upstream that speaks another format than the client. All knowledge of formats is in `ccproxy.translate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mitmproxy import http

from ccproxy.addons.exchange import Client
from ccproxy.addons.gateway.ways.shared import Shared, principal
from ccproxy.addons.gateway.ways.upstream import UpstreamWay
from ccproxy.addons.transport.flow_edits import decompress, is_compressed, json_object
from ccproxy.providers import identity
from ccproxy.providers.header_fields import Field, mapped_model
from ccproxy.providers.routing import Route
from ccproxy.providers.spec import Operation
from ccproxy.translate.exchange import Translated as Conversation, translate_request
from ccproxy.translate.formats import Format


class Translated(UpstreamWay):
    """The formats differ."""

    name = "translated"

    def is_ready(self, flow: http.HTTPFlow) -> bool:
        """A model's own description decides what it is sent, and a compressed body cannot be read."""
        if is_compressed(flow):
            return False
        return not self._describes_models() or self.shared.lists.at_hand(self.route.provider, self.secret_fields)

    async def get_ready(self, flow: http.HTTPFlow) -> None:
        if is_compressed(flow):
            await decompress(flow, self.shared.max_body)
        if self._describes_models():
            await self.shared.lists.arrived(self.route.provider, self.secret_fields)

    def _describes_models(self) -> bool:
        catalogue = self.route.provider.catalogue
        return catalogue is not None and catalogue.describes

    def edit_request(self, flow: http.HTTPFlow) -> None:
        body = json_object(flow)
        self.model, conversation = translate(
            flow, self.route, self.client, self.shared, body, credential=self.secret_fields
        )
        if identity.applies(self.route.provider, self.model, by_login=self.by_login) and (
            system := identity.with_line(conversation.body.get("system"))
        ):
            conversation.body["system"] = system
        self.replace_request(flow, conversation)

    def upstream_target(self, request: http.Request) -> str:
        """The upstream's endpoint for creating a response; the client's query is of no use there."""
        del request
        endpoints = self.route.provider.endpoints.values()
        paths = (e.upstream_path for e in endpoints if e.operation is Operation.CREATE)
        return next(path for path in paths if path is not None)

    def is_dropped(self, name: bytes) -> bool:
        """Also what one vendor's client sends to its vendor."""
        return name.startswith((b"anthropic-", b"x-stainless-", b"openai-")) or super().is_dropped(name)


def translate(
    flow: http.HTTPFlow,
    route: Route,
    client: Client,
    shared: Shared,
    body: dict[str, Any],
    *,
    credential: Callable[[], tuple[Field, ...]] = tuple,
) -> tuple[str, Conversation]:
    """The client's model, and its request as the provider takes it. `credential` is that of the upstream.

    Raises:
        BadRequest: the request cannot be expressed in the provider's format.

    """
    provider = route.provider
    model = body.get("model")
    if isinstance(model, str):
        body["model"] = mapped_model(provider.models, model)
    version = client.headers.get("anthropic-version", "") if route.format is Format.ANTHROPIC else ""
    conversation = translate_request(
        route.format,
        provider.format,
        body,
        shared.profile(provider, str(body.get("model", "")), version or "2023-06-01", credential),
        replay_cache=shared.replay,
        principal=principal(client.credential),
        provider=provider.name,
        strict=shared.strict,
        session_id=route.session_id,
        created=int(flow.request.timestamp_start),
    )
    return model if isinstance(model, str) else "", conversation
