"""Collects the messages of an exchange, redacted, until it is over, and hands them to viewers as flows: see `watchers.legs`.

The live flow is half of each leg while it runs, because mitmproxy has one request and one response a flow, and it holds
what must go on the wire: no viewer sees it. While it runs, a flow of the same id is shown in its place, the client's leg
as far as it has come. When the exchange is over that becomes the whole of the client's leg, and a second flow the
upstream's. Where nothing was translated, one flow has everything.

Bodies are redacted by `ccproxy.ledger.traffic`, in its thread; the event loop only makes the flows.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Protocol

from mitmproxy import http

from ccproxy.addons.exchange import Exchange, begin
from ccproxy.addons.transport.watched_stream import copied
from ccproxy.addons.watchers.legs import Part, legs, place_at_client, redacted
from ccproxy.addons.watchers.traffic import add_head
from ccproxy.ledger.traffic import End, Head, Message, Traffic
from ccproxy.redaction import Redaction
from ccproxy.translate import jsontext

logger = logging.getLogger(__name__)

MAX_BODY: Final = 16 << 20
"""Bytes of a body that are kept; what follows is left out, and a note says so."""
MAX_UNDER_WAY: Final = 128 << 20
"""Bytes of the bodies of all exchanges that are under way; beyond that, bodies are cut, too."""


class Viewer(Protocol):
    """Takes the legs of exchanges: mitmweb, or a file."""

    def show(self, flows: Sequence[http.HTTPFlow]) -> None:
        """Take the legs of an exchange that is over, redacted. The flow with the live one's id comes first."""

    def show_progress(self, flow: http.HTTPFlow) -> None:
        """More can be seen of an exchange that is under way."""


class BothSides:
    """Makes a `Sides` of every exchange, and hands its flows to the viewers once it is over."""

    name = "ccproxy_both_sides"

    def __init__(self, redaction: Redaction, viewers: Sequence[Viewer]) -> None:
        self.redaction = redaction
        self.viewers = viewers
        self._ended: deque[Sides] = deque()
        self._added = 0  # bytes of bodies, counted by the traffic's thread
        self._released = 0  # the same, counted by the event loop

    def observe(self, flow: http.HTTPFlow, traffic: Traffic) -> Sides:
        sides = Sides(self, flow, traffic)
        begin(flow).preview = sides
        return sides

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """A provider in this process has no wire: its events are the upstream's leg."""
        exchange = begin(flow)
        sides = _sides(exchange)
        if sides and exchange.route is not None and exchange.route.provider.upstream is None:
            exchange.add_tap(sides.add_event)

    def response(self, flow: http.HTTPFlow) -> None:
        if sides := _sides(begin(flow)):
            sides.end_events("complete")

    def error(self, flow: http.HTTPFlow) -> None:
        if sides := _sides(begin(flow)):
            sides.end_events("cut")

    def done(self) -> None:
        """The traffic's thread has ended before: show what it has left."""
        self.show_ended()

    @property
    def bytes_under_way(self) -> int:
        """Bytes of the bodies of exchanges that have not been shown yet."""
        return self._added - self._released

    def take(self, size: int) -> bool:
        """Reserve room for more bytes. For the traffic's thread."""
        if self.bytes_under_way + size > MAX_UNDER_WAY:
            return False
        self._added += size
        return True

    def give_back(self, size: int) -> None:
        """Free room that was reserved. For the traffic's thread."""
        self._added -= size

    def ended(self, sides: Sides) -> None:
        """An exchange is over. For the traffic's thread."""
        self._ended.append(sides)
        _call_soon(sides.loop, self.show_ended)

    def show_ended(self) -> None:
        """Hand the exchanges that are over to the viewers."""
        while self._ended:
            sides = self._ended.popleft()
            self._released += sides.size
            try:
                flows = sides.flows()
                for viewer in self.viewers:
                    viewer.show(flows)
            except Exception:
                logger.exception("An exchange cannot be shown")


class Sides:
    """The messages of one exchange: a sink of `Traffic`, and the preview of the exchange."""

    room = MAX_BODY

    def __init__(self, owner: BothSides, flow: http.HTTPFlow, traffic: Traffic) -> None:
        self.loop = asyncio.get_running_loop()
        self.size = 0
        """Bytes of all bodies."""
        self._owner = owner
        self._flow = flow
        self._exchange = begin(flow)
        self._parts: dict[Message, Part] = {}  # the thread adds to it
        self._request: Any = copied(flow.request)  # nothing has been changed on it yet
        self._preview: http.HTTPFlow | None = None
        self._preview_has_body = False
        self._withdrawn = False
        self._traffic = traffic
        self._provider = traffic.exchange([_ProviderSink(self)])
        self._events_began = False
        self._over = False

    # ---- a sink of Traffic, in its thread

    def head(self, message: Message, head: Head) -> None:
        if earlier := self._parts.get(message):  # of an attempt that failed
            self._owner.give_back(earlier.size)
            self.size -= earlier.size
        fields = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in head.fields]
        self._parts[message] = Part(redacted(head.original, fields, self._owner.redaction))

    def body(self, message: Message, data: bytes) -> None:
        part = self._parts[message]
        if part.is_cut:
            return
        piece = data[: MAX_BODY - part.size]
        if self._owner.take(len(piece)):
            part.add(piece)
            self.size += len(piece)
            part.is_cut = len(piece) < len(data)
        else:
            part.is_cut = True

    def end(self, message: Message, end: End) -> None:
        self._parts[message].finish(end)
        if message is Message.CLIENT_REQUEST and self._preview is not None:
            _call_soon(self.loop, self._show_progress)

    def close(self) -> None:
        self._owner.ended(self)

    # ---- the event loop's

    def add_event(self, frame: bytes) -> None:
        """The events of a provider in this process, as SSE. Where the client speaks their format there is one leg only."""
        request = self._exchange.way.provider_request
        if request is not None:
            self._begin_events(request)
            self._provider.body(Message.UPSTREAM_RESPONSE, frame)

    def end_events(self, note: str) -> None:
        request = self._exchange.way.provider_request
        if request is not None:
            self._begin_events(request)
            self._provider.end(Message.UPSTREAM_RESPONSE, note)

    def _begin_events(self, request: dict[str, Any]) -> None:
        """The request to a provider in this process, as if it had been on a wire."""
        if self._events_began:
            return
        self._events_began = True
        route = self._exchange.route
        assert route
        url = f"http://{route.provider.name}.invalid/v1/messages"
        head = http.Request.make("POST", url, b"", [(b"content-type", b"application/json")])
        add_head(self._provider, Message.UPSTREAM_REQUEST, head)
        self._provider.body(Message.UPSTREAM_REQUEST, jsontext.dump_bytes(request))
        self._provider.end(Message.UPSTREAM_REQUEST)
        response = http.Response.make(200, b"", {"content-type": "text/event-stream"})
        add_head(self._provider, Message.UPSTREAM_RESPONSE, response)

    def flow_so_far(self) -> http.HTTPFlow:
        """The client's request, its body once that is whole, and the head of the response."""
        flow, rules = self._flow, self._owner.redaction
        if self._preview is None:
            self._preview = _copy_of(flow, live=True)
            request = redacted(self._request, _redacted_fields(self._request, rules), rules)
            self._preview.request = place_at_client(request, flow)
        part = self._parts.get(Message.CLIENT_REQUEST)
        if part and part.end and not self._preview_has_body:
            self._preview_has_body = True
            self._preview.request = place_at_client(part.message, flow)
        if flow.response is not None and self._preview.response is None:
            self._preview.response = redacted(copied(flow.response), _redacted_fields(flow.response, rules), rules)
        return self._preview

    def withdraw(self) -> None:
        self._withdrawn = True
        self._exchange.preview = None

    def _show_progress(self) -> None:
        if not self._over and self._exchange.preview is self:
            flow = self.flow_so_far()
            for viewer in self._owner.viewers:
                viewer.show_progress(flow)

    def flows(self) -> list[http.HTTPFlow]:
        """The legs, once the exchange is over. The live flow, with all that it refers to, is let go."""
        live, exchange = self._flow, self._exchange
        exchange.preview = None
        flow = live
        if not self._withdrawn:
            flow = self._preview or _copy_of(live)
            flow.live = False
            flow.server_conn, flow.request, flow.response = live.server_conn, live.request, live.response
            flow.error, flow.metadata = live.error, live.metadata
        flows = legs(flow, exchange, self._parts, self._owner.redaction)
        self._let_go()
        return flows

    def _let_go(self) -> None:
        """Break the cycles through the exchange and the provider's sink: bodies are freed once no viewer has them, not at the next full collection."""
        self._over = True
        del self._flow, self._exchange, self._parts, self._request, self._preview, self._provider


class _ProviderSink:
    """The upstream's messages of an exchange with a provider in this process. They were on no wire."""

    def __init__(self, sides: Sides) -> None:
        self.room = sides.room
        self.head = sides.head
        self.body = sides.body
        self.end = sides.end

    def close(self) -> None:
        """The client's messages close the exchange."""


def _sides(exchange: Exchange) -> Sides | None:
    preview = exchange.preview
    return preview if isinstance(preview, Sides) else None


def _copy_of(flow: http.HTTPFlow, *, live: bool = False) -> http.HTTPFlow:
    """A flow with the same identity and nothing else of it."""
    copy = http.HTTPFlow(flow.client_conn, flow.server_conn, live=live)
    copy.id, copy.timestamp_created = flow.id, flow.timestamp_created
    return copy


def _redacted_fields(head: http.Request | http.Response, redaction: Redaction) -> list[tuple[bytes, bytes]]:
    return [
        (name, redaction.header(name.decode("latin-1"), value.decode("latin-1")).encode("latin-1", "replace"))
        for name, value in head.headers.fields
    ]


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended: `done` has shown what there was
        loop.call_soon_threadsafe(callback)
