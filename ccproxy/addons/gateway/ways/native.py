"""Requests to an upstream that speaks the client's format: bytes, but for the few top-level keys that have to change."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any, Final

from mitmproxy import http

from ccproxy.addons.exchange import of
from ccproxy.addons.gateway.ways.upstream import UpstreamWay
from ccproxy.addons.transport.flow_edits import set_body
from ccproxy.errors import BadRequest
from ccproxy.providers import identity, json_edit
from ccproxy.providers.header_fields import mapped_model
from ccproxy.providers.spec import Operation
from ccproxy.translate import capsule
from ccproxy.translate.exchange import Translated as Conversation, translate_request
from ccproxy.translate.last_event import LastEvent

logger = logging.getLogger(__name__)

CHECKED_JSON: Final = 32 * 1024
"""Bytes of a body up to which it is checked to be JSON before it is sent: checking larger ones would cost more than it is worth."""
_MODEL: Final = re.compile(rb'"model"\s*:\s*"((?:[^"\\]|\\.){1,200})"')


class Native(UpstreamWay):
    """The client's format is the upstream's."""

    name = "native"

    def edit_request(self, flow: http.HTTPFlow) -> None:
        """Note the model; change the keys that have to be changed; refuse small bodies that are not JSON."""
        if self.route.operation not in {Operation.CREATE, Operation.COUNT_TOKENS}:
            return
        if self.client.headers.get("content-encoding", "identity").lower() != "identity":
            return
        body = flow.request.raw_content or b""
        if self.may_edit(body):
            self._edit(flow, body)
        elif len(body) > CHECKED_JSON:
            self.model = _peek_model(body)
        else:
            value = json_edit.glance(body)
            self.model = _model_of(value) if isinstance(value, dict) else ""

    def may_edit(self, body: bytes) -> bool:
        """Whether anything in the body may have to change: only then is it read."""
        provider = self.route.provider
        return bool(provider.models) or (provider.adds_identity and self.by_login) or capsule.is_in(body)

    def changes(self, values: Mapping[str, Any], flow: http.HTTPFlow) -> dict[str, object]:
        """The top-level keys to set, or to remove (`json_edit.REMOVE`)."""
        del flow
        provider = self.route.provider
        changes: dict[str, object] = {}
        if (mapped := mapped_model(provider.models, self.model)) != self.model:
            changes["model"] = mapped
        if self.route.operation is Operation.CREATE and identity.applies(provider, self.model, by_login=self.by_login):
            system = identity.with_line(values.get("system"))
            if system is not None:
                changes["system"] = system
        return changes

    def losses(self, values: Mapping[str, Any]) -> list[str]:
        """The JSON paths of what the changes take out of the values that they keep."""
        del values
        return []

    def _edit(self, flow: http.HTTPFlow, body: bytes) -> None:
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise BadRequest(f"The request body is not valid JSON: byte {error.start} is not UTF-8") from None
        members = list(json_edit.members(text))
        values = {member.key: member.value for member in members}
        self.model = _model_of(values)
        changes = self.changes(values, flow)
        removed = [key for key, value in changes.items() if value is json_edit.REMOVE] + self.losses(values)
        edited = {key: value for key, value in {**values, **changes}.items() if value is not json_edit.REMOVE}
        native = translate_request(self.route.format, self.route.format, edited)
        native = native.noting(removed, f"{self.route.provider.name} accepts no such parameter")
        if native.changed and capsule.is_in(body):  # thinking that another provider signed
            changes |= {key: value for key, value in native.body.items() if value is not values.get(key)}
        self.begin_conversion(values, native, flow)
        if changes:
            set_body(flow, json_edit.edited(text, members, changes).encode())
            of(flow).report_losses(loss.path for loss in native.losses)
            logger.debug("%s: changed %s", self.route.label, ", ".join(changes))

    def begin_conversion(self, values: Mapping[str, Any], native: Conversation, flow: http.HTTPFlow) -> None:
        """Have the response converted, where the client wants another kind than the upstream sends."""

    def upstream_target(self, request: http.Request) -> str:
        query = request.path.partition("?")[2]
        assert self.route.upstream_path is not None
        return self.route.upstream_path + (f"?{query}" if query else "")

    def begin_response(self, flow: http.HTTPFlow) -> None:
        super().begin_response(flow)
        response = flow.response
        assert response
        if (
            self.route.operation is Operation.CREATE
            and not self.is_converted
            and response.status_code == 200
            and response.headers.get("content-type", "").startswith("text/event-stream")
            and response.headers.get("content-encoding", "identity").lower() == "identity"
        ):
            self.last_event = LastEvent(self.route.provider.format)

    def finish_response(self, flow: http.HTTPFlow) -> None:
        super().finish_response(flow)
        response = flow.response
        assert response
        if response.status_code == 400 and identity.REFUSED in (response.raw_content or b""):
            logger.warning(
                "Anthropic requires the Claude Code identity line with this login: see providers.claude_api.identity"
            )


class NativeFolded(Native):
    """The upstream only streams. For a client that wants a whole response, the stream is folded."""

    name = "native, folded"

    def may_edit(self, body: bytes) -> bool:
        del body
        return True

    def changes(self, values: Mapping[str, Any], flow: http.HTTPFlow) -> dict[str, object]:
        edit = self.route.provider.native_edit
        return (edit(values, self.client.headers) if edit else {}) | super().changes(values, flow)

    def losses(self, values: Mapping[str, Any]) -> list[str]:
        losses = self.route.provider.native_losses
        return losses(values) if losses else []

    def begin_conversion(self, values: Mapping[str, Any], native: Conversation, flow: http.HTTPFlow) -> None:
        if values.get("stream") is not True:
            self.conversation = native.folded()
            flow.request.headers["accept-encoding"] = "identity"
            flow.request.headers["accept"] = "text/event-stream"


def _model_of(body: Mapping[str, Any]) -> str:
    model = body.get("model")
    return model if isinstance(model, str) else ""


def _peek_model(body: bytes) -> str:
    """The model that a large body names, without parsing it: for logs, so a nested one that comes first may be taken for it."""
    head = body.find(b'"model"', 0, 4096)
    at = head if head >= 0 else body.rfind(b'"model"')
    match = _MODEL.match(body, at) if at >= 0 else None
    return match[1].decode("utf-8", "replace") if match else ""
