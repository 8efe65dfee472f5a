"""Every exchange as a record: tokens, cost, times, how it ended. Watches; changes nothing but `x-ccproxy-cost-usd` on whole answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from mitmproxy import http

from ccproxy import garbage
from ccproxy.addons.exchange import Exchange, Way, begin
from ccproxy.ledger.clients import client_family, session_of
from ccproxy.ledger.database import Ledger
from ccproxy.ledger.metrics import Metrics
from ccproxy.ledger.pricing import PriceBook
from ccproxy.ledger.quota import from_codex_event, quotas
from ccproxy.ledger.records import LIST_PRICE, Outcome, Record
from ccproxy.ledger.tap import UsageTap
from ccproxy.providers.local import AnswerReport
from ccproxy.providers.routing import Route
from ccproxy.providers.spec import Operation
from ccproxy.translate.formats import Format
from ccproxy.translate.reading import Reading

logger = logging.getLogger(__name__)

LARGE: Final = 2**20
"""Bytes of a whole answer from which it is read in a thread; its answer then bears no cost."""
_LIMITS = (b"anthropic-ratelimit-", b"x-codex-")


@dataclass(slots=True)
class Account:
    """What is read of one exchange while it passes."""

    way: Way
    tap: UsageTap | None = None
    """Reads a response that passes as it is; one that is converted is read by the conversion."""
    first_token: float | None = None
    """When the model's first output passed by, on the monotonic clock."""
    was_fed: bool = False
    """The tap has seen the response: a whole one that turned out too large to be held passes without it."""
    counts_as_open: bool = False
    """The metrics count its stream as open."""

    def feed(self, chunk: bytes) -> None:
        """Read a chunk, and note the time of the model's first output."""
        if self.tap is not None:
            self.tap.feed(chunk)
            self.was_fed = True
        if self.first_token is None:
            reading = self.tap.reading if self.tap is not None else self.way.reading
            if reading is not None and reading.saw_output:
                self.first_token = time.monotonic()

    def finish(self) -> Reading:
        """What the response has reported about itself."""
        return self.tap.finish() if self.tap is not None else self.way.reading or Reading()


@dataclass(slots=True)
class Accounting:
    """See the module."""

    ledger: Ledger | None
    prices: PriceBook
    metrics: Metrics
    _loading: asyncio.Task[object] | None = None
    _vendors: dict[str, str | None] = field(default_factory=dict)
    """Vendors in price lists, by provider."""
    _open: dict[str, Account] = field(default_factory=dict)
    """The exchanges that are under way, by their flows' ids."""
    _started: bool = False
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        exchange = begin(flow)
        route = exchange.route
        if route is None or route.operation is not Operation.CREATE:
            return
        if self._loading is None:  # the price list takes 0.3 s to read: while the upstream thinks
            self._loading = asyncio.get_running_loop().create_task(asyncio.to_thread(self.prices.load))
            self._loading.add_done_callback(lambda _: garbage.resume())
        if route.provider.upstream is None:
            account = self._account(flow)
            if route.format is Format.ANTHROPIC:
                account.tap = UsageTap(Format.ANTHROPIC, "text/event-stream")
            exchange.add_tap(account.feed)

    def _account(self, flow: http.HTTPFlow) -> Account:
        account = self._open.get(flow.id)
        if account is None:
            account = self._open[flow.id] = Account(begin(flow).way)
        return account

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        exchange = begin(flow)
        route = exchange.route
        if route is None:
            return
        if _is_streamed(flow, exchange):
            self._account(flow).counts_as_open = True
            self.metrics.stream_opened(route.provider.name)
        upstream_response = exchange.way.upstream_response
        if not exchange.progress.from_upstream or route.operation is not Operation.CREATE or upstream_response is None:
            return
        head, account = upstream_response.headers, self._account(flow)
        if exchange.way.reading is None:
            kind, encoding = head.get("content-type", ""), head.get("content-encoding", "")
            account.tap = UsageTap(route.provider.format, kind, encoding)
        if (flow.response and flow.response.stream) or exchange.way.folder is not None:
            exchange.add_tap(account.feed)

    def request(self, flow: http.HTTPFlow) -> Awaitable[object] | None:
        """The first request waits for the price list, so that its answer can bear its cost."""
        if self._loading is not None and not self._loading.done() and begin(flow).route is not None:
            return asyncio.shield(self._loading)
        return None

    def response(self, flow: http.HTTPFlow) -> None:
        exchange = begin(flow)
        if exchange.route is None:
            return
        response = flow.response
        assert response
        progress, way = exchange.progress, exchange.way
        outcome = Outcome.CUT if progress.truncated else Outcome.FINISHED
        if response.status_code >= 400 and not progress.from_upstream:
            outcome = Outcome.ERROR
        account = self._open.pop(flow.id, Account(exchange.way))
        held = not response.stream and way.body is None
        body = way.upstream_response.raw_content if held and account.tap and way.upstream_response else None
        if body and len(body) > LARGE:  # reading it would be felt: off the event loop
            task = asyncio.get_running_loop().create_task(self._later(flow, account, outcome, body))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        if body and account.tap:
            account.feed(body)
        record = self._record(flow, exchange, account, outcome)
        if held and progress.from_upstream and record.price is not None:
            exchange.add_response_field(b"x-ccproxy-cost-usd", f"{record.price:f}")
        self._put(record)

    def error(self, flow: http.HTTPFlow) -> None:
        exchange = begin(flow)
        if exchange.route is not None:
            outcome = Outcome.CUT if exchange.progress.truncated else Outcome.CLIENT_LEFT
            self._put(self._record(flow, exchange, self._open.pop(flow.id, Account(exchange.way)), outcome))

    async def _later(self, flow: http.HTTPFlow, account: Account, outcome: Outcome, body: bytes) -> None:
        assert account.tap
        await asyncio.to_thread(account.tap.feed, body)
        account.was_fed = True
        await asyncio.to_thread(account.tap.finish)
        self._put(self._record(flow, begin(flow), account, outcome))

    async def done(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.ledger is not None and self._started:
            await asyncio.to_thread(self.ledger.close)

    def _put(self, record: Record) -> None:
        self.metrics.record(record)
        if self.ledger is not None:
            if not self._started:
                self._started = True
                self.ledger.start()
            self.ledger.put(record)

    def _record(self, flow: http.HTTPFlow, exchange: Exchange, account: Account, outcome: Outcome) -> Record:
        route, request, way, progress = exchange.route, flow.request, exchange.way, exchange.progress
        assert route
        now = time.monotonic()
        if account.counts_as_open:
            account.counts_as_open = False
            self.metrics.stream_closed(route.provider.name)
        seen = account.finish() if route.operation is Operation.CREATE else Reading()
        if way.upstream_response is not None:
            limits = [field for field in way.upstream_response.headers.fields if field[0].lower().startswith(_LIMITS)]
            if limits:
                windows = quotas((name.decode("latin-1"), value.decode("latin-1")) for name, value in limits)
                self.metrics.quota(route.provider.name, windows)
        if seen.rate_limits is not None:
            self.metrics.quota(route.provider.name, from_codex_event(seen.rate_limits))
        streamed = _is_streamed(flow, exchange)
        if outcome is Outcome.FINISHED and _is_read(account, route) and seen.problem is None:
            if seen.error_type and streamed:
                outcome = Outcome.ERROR
            elif streamed and not seen.ended:
                outcome = Outcome.CUT
        usage = seen.usage
        source = way.provider_events
        # isinstance with a runtime protocol takes 20 µs: the cheap checks come first.
        if (
            usage is not None
            and source is not None
            and isinstance(source, AnswerReport)
            and source.cost_usd is not None
        ):
            usage = replace(usage, reported_cost=Decimal(str(source.cost_usd)))
        started = datetime.fromtimestamp(request.timestamp_start, UTC)
        headers = exchange.client.headers
        session = session_of(headers)
        price = self._price(exchange, seen, started) if route.operation is Operation.CREATE else None
        first = progress.first_byte
        record = exchange.record = Record(
            flow=flow.id,
            started=started,
            provider=route.provider.name,
            route=route.provider.prefix,
            client_format=None if route.operation is Operation.NATIVE else route.format,
            upstream_format=route.provider.format,
            method=request.method,
            path=exchange.client.path,
            status=flow.response.status_code if flow.response else None,
            outcome=outcome,
            operation=route.operation.value,
            streamed=streamed,
            model_asked=exchange.model or None,
            model_answered=seen.model,
            stop_reason=seen.stop_reason,
            error_type=seen.error_type,
            usage=usage,
            partial=seen.usage is not None and not seen.final,
            ttfb_ms=(first - exchange.started) * 1000 if first else (now - exchange.started) * 1000,
            first_token_ms=(account.first_token - exchange.started) * 1000 if account.first_token else None,
            total_ms=(now - exchange.started) * 1000,
            added_ms=_added(exchange, now),
            bytes_in=progress.bytes_in,
            bytes_out=progress.bytes_out or len((flow.response and flow.response.raw_content) or b""),
            client=client_family(headers.get("user-agent"), headers.get("x-title")),
            session=route.session_id or session.session,
            agent=session.agent,
            parent_agent=session.parent_agent,
            losses=len(exchange.losses),
            retries=progress.attempts,
            price=price,
            label=LIST_PRICE if way.by_login else "",
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
            url = f"{upstream.scheme}://{upstream.host_header}{upstream.path}" if upstream else ""
            self._vendors[provider.name] = provider.vendor or (self.prices.vendor_of(url) if url else None)
        return self.prices.price(
            seen.usage, (seen.model, exchange.model), vendor=self._vendors[provider.name], at=at, provider=provider.name
        )


def _is_read(account: Account, route: Route) -> bool:
    return route.operation is Operation.CREATE and (account.was_fed or account.way.reading is not None)


def _is_streamed(flow: http.HTTPFlow, exchange: Exchange) -> bool:
    return exchange.way.body is not None or bool(flow.response and flow.response.stream)


def _added(exchange: Exchange, now: float) -> float | None:
    """Milliseconds that were spent in ccproxy itself: before the request went out, and after the answer had come."""
    progress = exchange.progress
    if progress.sent_upstream is None or progress.upstream_responded is None:
        return None
    before = progress.sent_upstream - exchange.started
    after = (progress.first_byte or now) - progress.upstream_responded
    return max(0.0, before + after) * 1000
