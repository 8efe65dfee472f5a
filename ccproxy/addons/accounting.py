"""Every exchange as a record: tokens, cost, times, how it ended. Watches; changes nothing but `x-ccproxy-cost-usd` on whole answers."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from mitmproxy import http

from ccproxy.addons.exchange import Exchange, begin
from ccproxy.auth.sources import Source
from ccproxy.ledger.clients import client_family, session_of
from ccproxy.ledger.database import Ledger
from ccproxy.ledger.metrics import Metrics
from ccproxy.ledger.pricing import PriceBook
from ccproxy.ledger.quota import from_codex_event, quotas
from ccproxy.ledger.records import LIST_PRICE, Outcome, Record
from ccproxy.ledger.tap import Answer, UsageTap
from ccproxy.providers.spec import Operation
from ccproxy.translate.formats import Format

logger = logging.getLogger(__name__)

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

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        exchange = begin(flow)
        route = exchange.route
        if route is None or route.operation is not Operation.CREATE:
            return
        if self._loading is None:  # the price list takes 0.3 s to read: while the upstream thinks
            self._loading = asyncio.get_running_loop().create_task(asyncio.to_thread(self.prices.load))
        if route.provider.upstream is None:
            exchange.tap = UsageTap(Format.ANTHROPIC, "text/event-stream")
            exchange.taps.append(exchange.tap.feed)

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
            exchange.taps.append(exchange.tap.feed)

    async def response(self, flow: http.HTTPFlow) -> None:
        exchange = begin(flow)
        if exchange.route is None:
            return
        answer = flow.response
        assert answer
        held = not answer.stream and exchange.body is None
        if exchange.tap and held and exchange.upstream_answer is not None:
            body = exchange.upstream_answer.raw_content or b""
            # What is large enough to be felt is read off the event loop.
            await asyncio.to_thread(exchange.tap.feed, body) if len(body) > 2**20 else exchange.tap.feed(body)
        outcome = Outcome.CUT if exchange.truncated else Outcome.FINISHED
        if answer.status_code >= 400 and not exchange.answered:
            outcome = Outcome.ERROR
        record = await self._record(flow, exchange, outcome)
        if held and record.price is not None:
            exchange.answer_fields = (*exchange.answer_fields, (b"x-ccproxy-cost-usd", f"{record.price:f}".encode()))
        self._put(record)

    async def error(self, flow: http.HTTPFlow) -> None:
        exchange = begin(flow)
        if exchange.route is not None:
            self._put(await self._record(flow, exchange, Outcome.CUT if exchange.truncated else Outcome.CLIENT_LEFT))

    async def done(self) -> None:
        if self.ledger is not None and self._started:
            await asyncio.to_thread(self.ledger.close)

    def _put(self, record: Record) -> None:
        self.metrics.record(record)
        if self.ledger is not None:
            if not self._started:
                self._started = True
                self.ledger.start()
            self.ledger.put(record)

    async def _record(self, flow: http.HTTPFlow, exchange: Exchange, outcome: Outcome) -> Record:
        route, request = exchange.route, flow.request
        assert route
        now = time.monotonic()
        if exchange.counted_open:
            exchange.counted_open = False
            self.metrics.stream_closed(route.provider.name)
        seen = exchange.tap.finish() if exchange.tap else Answer()
        if exchange.upstream_answer is not None and (found := quotas(exchange.upstream_answer.headers.items())):
            self.metrics.quota(route.provider.name, found)
        if seen.rate_limits is not None:
            self.metrics.quota(route.provider.name, from_codex_event(seen.rate_limits))
        if seen.error_type and outcome is Outcome.FINISHED and exchange.body is not None:
            outcome = Outcome.ERROR
        started = datetime.fromtimestamp(request.timestamp_start, UTC)
        headers = request.headers
        session = session_of(headers)
        price = await self._price(exchange, seen, started) if route.operation is Operation.CREATE else None
        first = exchange.first_byte
        return Record(
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
            usage=seen.usage,
            partial=seen.usage is not None and not seen.final,
            ttfb_ms=(first - exchange.started) * 1000 if first else (now - exchange.started) * 1000,
            first_token_ms=None,
            total_ms=(now - exchange.started) * 1000,
            added_ms=_added(flow, exchange, now),
            bytes_in=exchange.bytes_in,
            bytes_out=exchange.bytes_out or len((flow.response and flow.response.raw_content) or b""),
            client=client_family(headers.get("user-agent"), headers.get("x-title")),
            session=route.session_id or session.session,
            agent=session.agent,
            parent_agent=session.parent_agent,
            losses=exchange.losses,
            retries=exchange.attempts,
            price=price,
            label=LIST_PRICE if self._by_subscription(exchange) else "",
            stop=seen.stop,
        )

    async def _price(self, exchange: Exchange, seen: Answer, at: datetime) -> Decimal | None:
        route = exchange.route
        assert route
        if seen.usage is None:
            return None
        if self._loading is not None:
            await asyncio.shield(self._loading)
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


def _added(flow: http.HTTPFlow, exchange: Exchange, now: float) -> float | None:
    """Milliseconds that were spent in ccproxy itself: before the request went out, and after the answer had come."""
    if exchange.sent_upstream is None or exchange.answer_came is None:
        return None
    del flow
    before = exchange.sent_upstream - exchange.started
    after = (exchange.first_byte or now) - exchange.answer_came
    return max(0.0, before + after) * 1000
