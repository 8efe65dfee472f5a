"""Every exchange as a record: tokens, cost, times, how it ended. Watches; changes nothing but `x-ccproxy-cost-usd` on whole answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from mitmproxy import http

from ccproxy import mitmproxy_patches
from ccproxy.addons.exchange import Exchange, begin
from ccproxy.auth.sources import Source
from ccproxy.ledger.clients import client_family, session_of
from ccproxy.ledger.database import Ledger
from ccproxy.ledger.metrics import Metrics
from ccproxy.ledger.pricing import PriceBook
from ccproxy.ledger.quota import from_codex_event, quotas
from ccproxy.ledger.records import LIST_PRICE, Outcome, Record
from ccproxy.ledger.tap import UsageTap
from ccproxy.providers.local import Told
from ccproxy.providers.spec import Operation
from ccproxy.translate.formats import Format
from ccproxy.translate.reading import Reading

logger = logging.getLogger(__name__)

LARGE: Final = 2**20
"""Bytes of a whole answer from which it is read in a thread; its answer then bears no cost."""
_LIMITS = (b"anthropic-ratelimit-", b"x-codex-")
_VENDORS = {"claude_api": "anthropic", "claude_sdk": "anthropic", "codex": "openai"}


@dataclass(slots=True)
class Accounting:
    """See the module."""

    ledger: Ledger | None
    prices: PriceBook
    metrics: Metrics
    subscriptions: frozenset[str] = frozenset()
    """Providers in this process that are paid by subscription."""
    _loading: asyncio.Task[object] | None = None
    _vendors: dict[str, str | None] = field(default_factory=lambda: dict(_VENDORS))
    _started: bool = False
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        exchange = begin(flow)
        route = exchange.route
        if route is None or route.operation is not Operation.CREATE:
            return
        if self._loading is None:  # the price list takes 0.3 s to read: while the upstream thinks
            self._loading = asyncio.get_running_loop().create_task(asyncio.to_thread(self.prices.load))
            self._loading.add_done_callback(lambda _: mitmproxy_patches.settled())
        if route.provider.upstream is None:
            exchange.tap = UsageTap(Format.ANTHROPIC, "text/event-stream")
            exchange.taps.append(_watched(exchange, exchange.tap))

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        exchange = begin(flow)
        route = exchange.route
        if route is not None and (exchange.body is not None or (flow.response and flow.response.stream)):
            exchange.counted_open = True
            self.metrics.stream_opened(route.provider.name)
        if (
            not exchange.answered
            or route is None
            or route.operation is not Operation.CREATE
            or exchange.upstream_answer is None
        ):
            return
        head = exchange.upstream_answer.headers
        exchange.tap = UsageTap(route.provider.format, head.get("content-type", ""), head.get("content-encoding", ""))
        if flow.response and flow.response.stream:
            exchange.taps.append(_watched(exchange, exchange.tap))

    def request(self, flow: http.HTTPFlow) -> Awaitable[object] | None:
        """The first request waits for the price list, so that its answer can bear its cost."""
        if self._loading is not None and not self._loading.done() and begin(flow).route is not None:
            return asyncio.shield(self._loading)
        return None

    def response(self, flow: http.HTTPFlow) -> None:
        exchange = begin(flow)
        if exchange.route is None:
            return
        answer = flow.response
        assert answer
        outcome = Outcome.CUT if exchange.truncated else Outcome.FINISHED
        if answer.status_code >= 400 and not exchange.answered:
            outcome = Outcome.ERROR
        held = not answer.stream and exchange.body is None
        body = exchange.upstream_answer.raw_content if held and exchange.tap and exchange.upstream_answer else None
        if body and len(body) > LARGE:  # reading it would be felt: off the event loop
            task = asyncio.get_running_loop().create_task(self._later(flow, exchange, outcome, body))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        if body and exchange.tap:
            exchange.tap.feed(body)
        record = self._record(flow, exchange, outcome)
        if held and record.price is not None:
            exchange.answer_fields = (*exchange.answer_fields, (b"x-ccproxy-cost-usd", f"{record.price:f}".encode()))
        self._put(record)

    def error(self, flow: http.HTTPFlow) -> None:
        exchange = begin(flow)
        if exchange.route is not None:
            self._put(self._record(flow, exchange, Outcome.CUT if exchange.truncated else Outcome.CLIENT_LEFT))

    async def _later(self, flow: http.HTTPFlow, exchange: Exchange, outcome: Outcome, body: bytes) -> None:
        assert exchange.tap
        await asyncio.to_thread(exchange.tap.feed, body)
        await asyncio.to_thread(exchange.tap.finish)
        self._put(self._record(flow, exchange, outcome))

    async def done(self) -> None:
        await asyncio.gather(*self._tasks)
        if self.ledger is not None and self._started:
            await asyncio.to_thread(self.ledger.close)

    def _put(self, record: Record) -> None:
        self.metrics.record(record)
        if self.ledger is not None:
            if not self._started:
                self._started = True
                self.ledger.start()
            self.ledger.put(record)

    def _record(self, flow: http.HTTPFlow, exchange: Exchange, outcome: Outcome) -> Record:
        route, request = exchange.route, flow.request
        assert route
        now = time.monotonic()
        if exchange.counted_open:
            exchange.counted_open = False
            self.metrics.stream_closed(route.provider.name)
        seen = exchange.tap.finish() if exchange.tap else Reading()
        if exchange.upstream_answer is not None:
            limits = [
                field for field in exchange.upstream_answer.headers.fields if field[0].lower().startswith(_LIMITS)
            ]
            if limits:
                found = quotas((name.decode("latin-1"), value.decode("latin-1")) for name, value in limits)
                self.metrics.quota(route.provider.name, found)
        if seen.rate_limits is not None:
            self.metrics.quota(route.provider.name, from_codex_event(seen.rate_limits))
        if outcome is Outcome.FINISHED and exchange.tap and seen.problem is None:
            streamed = exchange.body is not None or bool(flow.response and flow.response.stream)
            if seen.error_type and streamed:
                outcome = Outcome.ERROR
            elif streamed and not seen.ended:
                outcome = Outcome.CUT
        usage = seen.usage
        source = exchange.source
        # Asking what is no iterator of ours whether it is one takes 20 µs.
        if usage is not None and source is not None and isinstance(source, Told) and source.cost_usd is not None:
            usage = replace(usage, reported_cost=Decimal(str(source.cost_usd)))
        started = datetime.fromtimestamp(request.timestamp_start, UTC)
        told = exchange.told
        session = session_of(told)
        price = self._price(exchange, seen, started) if route.operation is Operation.CREATE else None
        first = exchange.first_byte
        record = exchange.record = Record(
            flow=flow.id,
            started=started,
            provider=route.provider.name,
            route=route.provider.prefix,
            client_format=None if route.operation is Operation.NATIVE else route.format,
            upstream_format=route.provider.format,
            method=request.method,
            path=exchange.client_path,
            status=flow.response.status_code if flow.response else None,
            outcome=outcome,
            operation=route.operation.value,
            streamed=exchange.body is not None or bool(flow.response and flow.response.stream),
            model_asked=exchange.model or None,
            model_answered=seen.model,
            stop_reason=seen.stop_reason,
            error_type=seen.error_type,
            usage=usage,
            partial=seen.usage is not None and not seen.final,
            ttfb_ms=(first - exchange.started) * 1000 if first else (now - exchange.started) * 1000,
            first_token_ms=(exchange.first_token - exchange.started) * 1000 if exchange.first_token else None,
            total_ms=(now - exchange.started) * 1000,
            added_ms=_added(flow, exchange, now),
            bytes_in=exchange.bytes_in,
            bytes_out=exchange.bytes_out or len((flow.response and flow.response.raw_content) or b""),
            client=client_family(told.get("user-agent"), told.get("x-title")),
            session=route.session_id or session.session,
            agent=session.agent,
            parent_agent=session.parent_agent,
            losses=exchange.losses,
            retries=exchange.attempts,
            price=price,
            label=LIST_PRICE if self._by_subscription(exchange) else "",
            stop=seen.stop,
        )
        return record

    def _price(self, exchange: Exchange, seen: Reading, at: datetime) -> Decimal | None:
        route = exchange.route
        assert route
        if seen.usage is None or self._loading is None or not self._loading.done():
            return None
        provider = route.provider
        if provider.name not in self._vendors:
            upstream = provider.upstream
            self._vendors[provider.name] = (
                self.prices.vendor_of(f"{upstream.scheme}://{upstream.host_header}{upstream.path}")
                if upstream
                else None
            )
        return self.prices.price(
            seen.usage, (seen.model, exchange.model), vendor=self._vendors[provider.name], at=at, provider=provider.name
        )

    def _by_subscription(self, exchange: Exchange) -> bool:
        assert exchange.route
        login = exchange.credential is not None and exchange.credential.source is Source.LOGIN
        return login or exchange.route.provider.name in self.subscriptions


def _watched(exchange: Exchange, tap: UsageTap) -> Callable[[bytes], None]:
    """Feeds the tap, and notes when the model's first output passes by."""

    def feed(chunk: bytes) -> None:
        tap.feed(chunk)
        if tap.saw_output and exchange.first_token is None:
            exchange.first_token = time.monotonic()

    return feed


def _added(flow: http.HTTPFlow, exchange: Exchange, now: float) -> float | None:
    """Milliseconds that were spent in ccproxy itself: before the request went out, and after the answer had come."""
    if exchange.sent_upstream is None or exchange.answer_came is None:
        return None
    del flow
    before = exchange.sent_upstream - exchange.started
    after = (exchange.first_byte or now) - exchange.answer_came
    return max(0.0, before + after) * 1000
