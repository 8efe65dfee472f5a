"""Both legs of an exchange as flows to look at: the client's side as asked and answered, the upstream's as sent and answered.

The live flow is half of each while it runs, because mitmproxy has one request and one response a flow, and it holds what must go on the wire: nobody
looks at it. While it runs a flow of the same id is shown in its place, the client's side as far as it has come. When the exchange is over that becomes
the whole of the client's side, and a second flow the upstream's. Where nothing was translated one flow says all. All that is shown is redacted, bodies
of streams included.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from mitmproxy import flow as mflow, http

from ccproxy.addons.exchange import Exchange, begin, shown
from ccproxy.addons.transport.watched_stream import Head, copied
from ccproxy.content_encoding import UnknownEncoding, incremental_decoder
from ccproxy.ledger.raw_log import Message
from ccproxy.ledger.records import Record
from ccproxy.redaction import Redaction
from ccproxy.translate import jsontext

logger = logging.getLogger(__name__)

KEPT: Final = 64 * 2**20
"""Bytes of a body that are kept; a request may have as many."""
LARGE: Final = 2**18
"""Bytes of bodies from which redacting them would be felt on the event loop: then a thread does it."""


class Shown(Protocol):
    """Where finished legs go: mitmweb, or a file."""

    def show(self, flows: Sequence[http.HTTPFlow]) -> None:
        """The flow that was live comes first. All of them are redacted."""


@dataclass(slots=True)
class Legs:
    """Keeps what passes until the exchange is over, then hands its legs to whoever shows them."""

    redaction: Redaction
    shown: Sequence[Shown]
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def watch(self, flow: http.HTTPFlow) -> Kept:
        kept = Kept(self, flow)
        begin(flow).preview = kept
        return kept

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """A provider in this process has no wire: its events are its answer."""
        exchange = begin(flow)
        if exchange.route is not None and exchange.route.provider.upstream is None:
            preview = exchange.preview
            if isinstance(preview, Kept):
                exchange.add_tap(preview.events.append)

    async def done(self) -> None:
        await asyncio.gather(*self._tasks)

    def ended(self, kept: Kept) -> None:
        if sum(kept.sizes.values()) < LARGE:
            self._show(kept, kept.redacted(self.redaction))
            return
        task = asyncio.get_running_loop().create_task(self._later(kept))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _later(self, kept: Kept) -> None:
        try:
            self._show(kept, await asyncio.to_thread(kept.redacted, self.redaction))
        except Exception:
            logger.exception("an exchange cannot be shown")

    def _show(self, kept: Kept, clean: Mapping[Message, Head]) -> None:
        flows = legs(kept.over(), kept.exchange, clean, kept.notes, self.redaction)
        for sink in self.shown:
            sink.show(flows)


class Kept:
    """One exchange, as it passes."""

    def __init__(self, owner: Legs, flow: http.HTTPFlow) -> None:
        self.owner = owner
        self.flow = flow
        self.exchange = begin(flow)
        self.heads: dict[Message, Head] = {}
        self.bodies: dict[Message, list[bytes]] = {}
        self.sizes: dict[Message, int] = {}
        self.notes: dict[Message, str] = {}
        self.clean: dict[Message, Head] = {}
        self.shown: http.HTTPFlow | None = None
        self.events: list[bytes] = []
        """The events of a provider in this process, as SSE: it has no wire."""
        self.withdrawn = False

    def head(self, message: Message, head: Head) -> None:
        self.heads[message] = copied(head)
        self.bodies[message] = []
        self.sizes[message] = 0
        self.notes[message] = "cut"
        self.clean.pop(message, None)

    def body(self, message: Message, chunk: bytes) -> None:
        if message in self.heads and self.sizes[message] < KEPT:
            self.bodies[message].append(chunk)
            self.sizes[message] += len(chunk)

    def end(self, message: Message, note: str = "complete") -> None:
        self.notes[message] = note

    def close(self) -> None:
        if self.exchange.way.provider_request is not None:
            self._add_local(self.exchange.way.provider_request)
        self.owner.ended(self)

    def _add_local(self, body: dict[str, Any]) -> None:
        """What a provider in this process was asked and said, as if it had been on a wire."""
        route = self.exchange.route
        assert route
        asked = jsontext.dump_bytes(body)
        url = f"http://{route.provider.name}.invalid/v1/messages"
        self.head(
            Message.UPSTREAM_REQUEST, http.Request.make("POST", url, b"", [(b"content-type", b"application/json")])
        )
        self.body(Message.UPSTREAM_REQUEST, asked)
        self.end(Message.UPSTREAM_REQUEST)
        self.head(Message.UPSTREAM_RESPONSE, http.Response.make(200, b"", {"content-type": "text/event-stream"}))
        for chunk in self.events:
            self.body(Message.UPSTREAM_RESPONSE, chunk)
        self.end(Message.UPSTREAM_RESPONSE, self.notes.get(Message.CLIENT_RESPONSE, "cut"))

    def redacted(self, redaction: Redaction) -> dict[Message, Head]:
        """The messages, whole. May run in a thread: nothing here changes any more."""
        for message, head in self.heads.items():
            if message not in self.clean:
                self.clean[message] = cleaned(head, b"".join(self.bodies[message]), redaction)
        return self.clean

    def flow_so_far(self) -> http.HTTPFlow:
        """The client's request, its body once that is whole and if it is small, and the head of what is being answered."""
        flow, asked, redaction = self.flow, Message.CLIENT_REQUEST, self.owner.redaction
        if self.shown is None:
            self.shown = http.HTTPFlow(flow.client_conn, flow.server_conn, live=True)
            self.shown.id, self.shown.timestamp_created = flow.id, flow.timestamp_created
            self.shown.request = self._received(cleaned(self.heads[asked], None, redaction))
        if asked not in self.clean and self.notes[asked] == "complete" and self.sizes[asked] < LARGE:
            self.clean[asked] = cleaned(self.heads[asked], b"".join(self.bodies[asked]), redaction)
            self.shown.request = self._received(self.clean[asked])
        if flow.response is not None and self.shown.response is None:
            answered: Any = cleaned(flow.response, None, redaction)
            self.shown.response = answered
        return self.shown

    def withdraw(self) -> None:
        self.withdrawn = True
        self.exchange.preview = None

    def over(self) -> http.HTTPFlow:
        """The flow that becomes the client's side: the one that was shown until now, if any was."""
        flow, shown_as = self.flow, None if self.withdrawn else self.shown
        self.exchange.preview = None
        if shown_as is None:
            return flow
        shown_as.live = False
        shown_as.server_conn, shown_as.request, shown_as.response = flow.server_conn, flow.request, flow.response
        shown_as.error, shown_as.metadata = flow.error, flow.metadata
        return shown_as

    def _received(self, head: Head) -> http.Request:
        """The client's request as mitmproxy shows requests: with a place, which is not on the wire."""
        assert isinstance(head, http.Request)
        head.data.scheme = b"http"
        head.data.host, head.data.port = self.flow.client_conn.sockname[:2]
        head.timestamp_start = self.flow.request.timestamp_start
        return head


def cleaned(head: Head, body: bytes | None, redaction: Redaction) -> Any:
    """A message without secrets; with `body`, or with none that can be seen."""
    made: Any = copied(head)
    if body is not None:
        made.data.content = without_secrets(made.headers, body, redaction)
    made.data.headers = http.Headers(redacted_fields(made.headers.fields, redaction))
    if isinstance(made, http.Request):
        made.data.path = redaction.data(made.data.path)
    return made


def legs(
    flow: http.HTTPFlow,
    exchange: Exchange,
    clean: Mapping[Message, Head],
    notes: Mapping[Message, str],
    redaction: Redaction,
) -> list[http.HTTPFlow]:
    """The flow, made the client's side of the exchange, and the upstream's where that is another one."""
    asked, sent, came, told = (clean.get(message) for message in Message)
    facts = _facts(exchange)
    two = isinstance(sent, http.Request) and (exchange.way.is_converted or exchange.way.provider_request is not None)
    upstream = http.HTTPFlow(flow.client_conn, flow.server_conn)
    if two:
        assert isinstance(sent, http.Request)
        _placed(sent, flow.request)
        upstream.request = sent
        upstream.response = came if isinstance(came, http.Response) else None
        if upstream.response is None or notes.get(Message.UPSTREAM_RESPONSE) != "complete":
            upstream.error = mflow.Error("the answer broke off, or was left")
        upstream.timestamp_created = flow.timestamp_created
    native = not two and isinstance(sent, http.Request)
    request = sent if native else asked
    if isinstance(request, http.Request):
        if native:
            _placed(request, flow.request)
        else:
            request.data.scheme = b"http"
            request.data.host, request.data.port = flow.client_conn.sockname[:2]
        request.timestamp_start, request.timestamp_end = flow.request.timestamp_start, flow.request.timestamp_end
        flow.request = request
    if isinstance(told, http.Response):
        before = flow.response
        told.timestamp_start = before.timestamp_start if before else told.timestamp_start
        told.timestamp_end = before.timestamp_end if before else told.timestamp_end
        told.stream = before.stream if before else False
        flow.response = told
        if two and upstream.response:
            upstream.response.timestamp_start, upstream.response.timestamp_end = (
                told.timestamp_start,
                told.timestamp_end,
            )
    if flow.error:
        flow.error.msg = redaction.text(flow.error.msg)
    words = _words(exchange, facts, two=two)
    if not two:
        flow.comment = " · ".join(words)
        flow.metadata["ccproxy"] = {**flow.metadata.get("ccproxy", {}), **facts}
        return [flow]
    for one, leg, other in ((flow, "client", upstream), (upstream, "upstream", flow)):
        other_leg = "upstream" if leg == "client" else "client"
        one.comment = " · ".join([f"{leg} side", *words, f"{other_leg} side: {other.id}"])
        one.metadata["ccproxy"] = {**flow.metadata.get("ccproxy", {}), **facts, "leg": leg, "other_leg": other.id}
    return [flow, upstream]


def _placed(request: http.Request, like: http.Request) -> None:
    """A request that has its place from the flow: on the wire a request names no scheme and port."""
    if not request.data.host:
        request.data.host, request.data.port, request.data.scheme = like.data.host, like.data.port, like.data.scheme
    request.timestamp_start, request.timestamp_end = like.timestamp_start, like.timestamp_end


def _facts(exchange: Exchange) -> dict[str, Any]:
    """JSON values only: they end up in dumps."""
    facts: dict[str, Any] = {"lost": list(exchange.losses)}
    record: Record | None = exchange.record
    if record is not None:
        facts["outcome"] = record.outcome.value
        facts["model_answered"] = shown(record.model_answered or "")
        facts["stop_reason"] = shown(record.stop_reason or "")
        if record.usage is not None:
            tokens = record.usage.total
            facts["tokens"] = {name: getattr(tokens, name) for name in tokens.__dataclass_fields__}
        if record.price is not None:
            facts["cost_usd"] = f"{record.price:f}"
            facts["cost_label"] = record.label
    return facts


def _words(exchange: Exchange, facts: Mapping[str, Any], *, two: bool) -> list[str]:
    """For people."""
    words = []
    if exchange.route is not None:
        spoken = exchange.route.provider.format
        other = two and spoken is not exchange.route.format
        words.append(f"{exchange.route.label} → {spoken.value}" if other else exchange.route.label)
    else:
        words.append("answered by ccproxy itself")
    model, answered = shown(exchange.model), facts.get("model_answered", "")
    if model or answered:
        words.append(model if answered in {"", model} else f"{model} → {answered}")
    if "tokens" in facts:
        words.append(_tokens(facts["tokens"]))
    if "cost_usd" in facts:
        label = f" ({facts['cost_label']})" if facts["cost_label"] else ""
        words.append(f"${float(facts['cost_usd']):.6f}".rstrip("0").rstrip(".") + label)
    if exchange.progress.attempts:
        words.append(f"{exchange.progress.attempts + 1} attempts")
    if exchange.progress.truncated:
        words.append("broke off")
    if facts["lost"]:
        words.append("lost: " + ", ".join(facts["lost"]))
    return words


def _tokens(tokens: Mapping[str, Any]) -> str:
    known = [f"{value:,} {name.replace('_', ' ')}" for name, value in tokens.items() if value]
    return ", ".join(known) + " tokens" if known else "no tokens"


def redacted_fields(fields: Iterable[tuple[bytes, bytes]], redaction: Redaction) -> tuple[tuple[bytes, bytes], ...]:
    """Header fields without secrets, in their order."""
    return tuple(
        (name, redaction.header(name.decode("latin-1"), value.decode("latin-1")).encode("latin-1", "replace"))
        for name, value in fields
    )


def without_secrets(headers: http.Headers, body: bytes, redaction: Redaction) -> bytes:
    """A body without secrets. A compressed one is decoded, and `headers` say so, because what cannot be read cannot be redacted."""
    encoding = headers.get("content-encoding", "")
    if not body:
        return b""
    try:
        decode = incremental_decoder(encoding)
        plain = decode(body) if decode else body
    except UnknownEncoding:
        return b"[not shown: nothing decodes its content-encoding]"
    except Exception:  # noqa: BLE001 - each codec raises its own; what it cannot decode stays unseen
        return b"[not shown: it is not what its content-encoding says]"
    if decode:
        headers.pop("content-encoding", None)
    return redaction.data(plain)
