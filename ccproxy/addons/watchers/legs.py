"""Makes the flows that viewers see of an exchange: one, or one for each leg where it was translated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mitmproxy import flow as mflow, http

from ccproxy.addons.exchange import Exchange
from ccproxy.ledger.records import Record
from ccproxy.ledger.traffic import End, Message
from ccproxy.redaction import Redaction
from ccproxy.translate.labels import label

_LOSSES = 100
"""Lost JSON paths that are listed; a client may send any number of keys."""
_NAMES = {
    Message.CLIENT_REQUEST: "client request",
    Message.UPSTREAM_REQUEST: "upstream request",
    Message.UPSTREAM_RESPONSE: "upstream response",
    Message.CLIENT_RESPONSE: "client response",
}


class Part:
    """A message of an exchange, redacted, as far as it has come."""

    __slots__ = ("_data", "end", "is_cut", "message", "size")

    def __init__(self, message: Any) -> None:
        self.message: Any = message
        """An `http.Request` or `http.Response`; with its body once that has ended."""
        self.size = 0
        """Bytes of the body that are kept."""
        self.is_cut = False
        """There was no room for all of it."""
        self.end: End | None = None
        self._data: list[bytes] = []

    @property
    def note(self) -> str:
        return self.end.note if self.end else "cut"

    def add(self, data: bytes) -> None:
        self._data.append(data)
        self.size += len(data)

    def finish(self, end: End) -> None:
        """Put the body on the message."""
        content = b"".join(self._data)
        self._data = []
        if end.problem and not content:
            content = f"[{end.problem}]".encode()
        if end.encoding:
            self.message.headers.pop("content-encoding", None)
        self.message.data.content = content
        self.is_cut = self.is_cut or end.cut
        self.end = end


def redacted(message: Any, fields: Iterable[tuple[bytes, bytes]], redaction: Redaction) -> Any:
    """A message of its own with redacted header fields, and its path redacted, too."""
    message.data.headers = http.Headers(tuple(fields))
    if isinstance(message, http.Request):
        message.data.path = redaction.data(message.data.path)
    return message


def place_at_client(request: http.Request, flow: http.HTTPFlow) -> http.Request:
    """The client's request as mitmproxy shows requests: with scheme, host and port, which are not on the wire."""
    request.data.scheme = b"http"
    request.data.host, request.data.port = flow.client_conn.sockname[:2]
    request.timestamp_start, request.timestamp_end = flow.request.timestamp_start, flow.request.timestamp_end
    return request


def _place_at_upstream(request: http.Request, like: http.Request) -> None:
    if not request.data.host:
        request.data.host, request.data.port, request.data.scheme = like.data.host, like.data.port, like.data.scheme
    request.timestamp_start, request.timestamp_end = like.timestamp_start, like.timestamp_end


def legs(
    flow: http.HTTPFlow, exchange: Exchange, parts: Mapping[Message, Part], redaction: Redaction
) -> list[http.HTTPFlow]:
    """The flow, made the client's leg of the exchange, and the upstream's where that is another one."""
    client_request, sent, upstream_response, client_response = (_message(parts, message) for message in Message)
    facts = _facts(exchange, parts)
    two = bool(sent) and (exchange.way.is_converted or exchange.way.provider_request is not None)
    upstream = http.HTTPFlow(flow.client_conn, flow.server_conn)
    if two:
        _place_at_upstream(sent, flow.request)
        upstream.request = sent
        upstream.response = upstream_response
        if upstream_response is None or parts[Message.UPSTREAM_RESPONSE].note != "complete":
            upstream.error = mflow.Error("The response broke off, or was left")
        upstream.timestamp_created = flow.timestamp_created
    native = not two and bool(sent)
    if native:
        _place_at_upstream(sent, flow.request)
        flow.request = sent
    elif client_request is not None:
        flow.request = place_at_client(client_request, flow)
    if client_response is not None:
        _copy_times(client_response, flow.response)
        flow.response = client_response
        if two and upstream.response:
            _copy_times(upstream.response, client_response)
    if flow.error:
        flow.error.msg = redaction.text(flow.error.msg)
    words = _words(exchange, facts, two=two)
    metadata = {**flow.metadata.get("ccproxy", {}), **facts}
    if not two:
        flow.comment = " · ".join(words)
        flow.metadata["ccproxy"] = metadata
        return [flow]
    for one, leg, other in ((flow, "client", upstream), (upstream, "upstream", flow)):
        other_leg = "upstream" if leg == "client" else "client"
        one.comment = " · ".join([f"{leg} side", *words, f"{other_leg} side: {other.id}"])
        one.metadata["ccproxy"] = {**metadata, "leg": leg, "other_leg": other.id}
    return [flow, upstream]


def _message(parts: Mapping[Message, Part], message: Message) -> Any:
    part = parts.get(message)
    return part.message if part else None


def _copy_times(response: http.Response, like: http.Response | None) -> None:
    if like is not None:
        response.timestamp_start, response.timestamp_end = like.timestamp_start, like.timestamp_end
        response.stream = like.stream


def _facts(exchange: Exchange, parts: Mapping[Message, Part]) -> dict[str, Any]:
    """JSON values only: they end up in dumps."""
    facts: dict[str, Any] = {"lost": [label(path) or "" for path in exchange.losses[:_LOSSES]]}
    if cut := [_NAMES[message] for message, part in parts.items() if part.is_cut]:
        facts["cut"] = cut
    record: Record | None = exchange.record
    if record is not None:
        facts["outcome"] = record.outcome.value
        facts["model_answered"] = record.model_answered or ""
        facts["stop_reason"] = record.stop_reason or ""
        if record.usage is not None:
            tokens = record.usage.total
            facts["tokens"] = {name: getattr(tokens, name) for name in tokens.__dataclass_fields__}
        if record.price is not None:
            facts["cost_usd"] = f"{record.price:f}"
            facts["cost_label"] = record.label
    return facts


def _words(exchange: Exchange, facts: Mapping[str, Any], *, two: bool) -> list[str]:
    """The comment, for a person."""
    words = []
    if exchange.route is not None:
        upstream_format = exchange.route.provider.format
        other = two and upstream_format is not exchange.route.format
        words.append(f"{exchange.route.label} → {upstream_format.value}" if other else exchange.route.label)
    else:
        words.append("answered by ccproxy itself")
    model, answered = label(exchange.model) or "", facts.get("model_answered", "")
    if model or answered:
        words.append(model if answered in {"", model} else f"{model} → {answered}")
    if "tokens" in facts:
        words.append(_tokens(facts["tokens"]))
    if "cost_usd" in facts:
        price = f"${float(facts['cost_usd']):.6f}".rstrip("0").rstrip(".")
        words.append(f"{price} ({facts['cost_label']})" if facts["cost_label"] else price)
    if exchange.progress.attempts:
        words.append(f"{exchange.progress.attempts + 1} attempts")
    if exchange.progress.truncated:
        words.append("broke off")
    if facts["lost"]:
        words.append("lost: " + ", ".join(facts["lost"]))
    if "cut" in facts:
        words.append("only the beginning is kept of: " + ", ".join(facts["cut"]))
    return words


def _tokens(tokens: Mapping[str, Any]) -> str:
    counts = [f"{value:,} {name.replace('_', ' ')}" for name, value in tokens.items() if value]
    return ", ".join(counts) + " tokens" if counts else "no tokens"
