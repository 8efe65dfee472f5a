"""Counts for Prometheus: `GET /metrics`.

Exchanges are counted in plain dictionaries; `prometheus_client` is imported for the first scrape, and renders them. So
the hot path has no locks and no label objects, and a proxy that is not scraped pays next to nothing. One thread counts,
the event loop's; any may render.

Label values come from clients and upstreams: they are bounded in length (`label`) and in number.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from ccproxy.ledger.quota import Quota
from ccproxy.ledger.records import Record
from ccproxy.translate.labels import label

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from ccproxy.ledger.database import Status

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"

MAX_MODELS: Final = 200
"""Models that have labels of their own; further ones are counted as `other`. Names that never answered get half of them: a client can make them up."""
MAX_SERIES: Final = 5_000
"""Combinations of labels of `ccproxy_requests_total`; further ones are counted as model and status `other`."""

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_ADDED_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

MAX_WINDOWS: Final = 50
"""Quota windows, whose names come from upstreams; further ones are ignored."""

_KINDS = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "reasoning")

Labels = tuple[str, ...]


@dataclass(slots=True)
class _Histogram:
    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts by upper bound, as Prometheus wants them."""
        running = 0
        buckets = []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            running += count
            buckets.append((bound, float(running)))
        return buckets


class Metrics:
    """The counts since the start.

    metrics = Metrics(ledger_status=ledger.status)
    metrics.stream_opened("codex") … metrics.stream_closed("codex")
    metrics.record(record)
    metrics.quota("claude_api", quotas(flow.response.headers.items()))
    body = metrics.render()      # imports prometheus_client at the first call, some 0.1 s
    """

    def __init__(self, *, ledger_status: Callable[[], Status] | None = None, version: str = "") -> None:
        self._ledger_status = ledger_status
        self._version = version
        self._models: set[str] = set()
        self._requests: defaultdict[Labels, int] = defaultdict(int)
        self._tokens: defaultdict[Labels, int] = defaultdict(int)
        self._cost: defaultdict[Labels, Decimal] = defaultdict(Decimal)
        self._unknown: defaultdict[Labels, int] = defaultdict(int)
        self._losses: defaultdict[Labels, int] = defaultdict(int)
        self._retries: defaultdict[Labels, int] = defaultdict(int)
        self._refreshes: defaultdict[Labels, int] = defaultdict(int)
        self._bytes: defaultdict[Labels, int] = defaultdict(int)
        self._open: defaultdict[Labels, int] = defaultdict(int)
        self._quotas: dict[Labels, Quota] = {}
        self._ttfb: dict[Labels, _Histogram] = {}
        self._first_token: dict[Labels, _Histogram] = {}
        self._duration: dict[Labels, _Histogram] = {}
        self._added: dict[Labels, _Histogram] = {}

    def record(self, record: Record) -> None:
        """Count one exchange that is over."""
        provider = record.provider
        model = self._model(record)
        by = (provider,)
        status = str(record.status) if record.status is not None else "none"
        series = (provider, record.client_format or "none", model, status, record.outcome)
        if series not in self._requests and len(self._requests) >= MAX_SERIES:
            series = (provider, record.client_format or "none", "other", "other", record.outcome)
        self._requests[series] += 1
        if record.usage is not None:
            total = record.usage.total
            for kind in _KINDS:
                count = getattr(total, kind)
                if count:
                    self._tokens[provider, model, kind] += count
        if record.price is not None:
            self._cost[provider, model, "list price" if record.label else "billed"] += record.price
        elif record.cost_unknown:
            self._unknown[provider, model] += 1
        self._losses[by] += record.losses
        self._retries[by] += record.retries
        self._bytes[provider, "in"] += record.bytes_in
        self._bytes[provider, "out"] += record.bytes_out
        _observe(self._ttfb, by, record.ttfb_ms, _SECONDS)
        _observe(self._first_token, by, record.first_token_ms, _SECONDS)
        _observe(self._duration, by, record.total_ms, _SECONDS)
        _observe(self._added, by, record.added_ms, _ADDED_SECONDS)

    def stream_opened(self, provider: str) -> None:
        self._open[(provider,)] += 1

    def stream_closed(self, provider: str) -> None:
        self._open[(provider,)] -= 1

    def refreshed(self, provider: str, *, ok: bool) -> None:
        """Count an attempt to refresh a login."""
        self._refreshes[provider, "ok" if ok else "failed"] += 1

    def quota(self, provider: str, quotas: Iterable[Quota]) -> None:
        """Keep the newest report of each window."""
        for quota in quotas:
            window = label(quota.window) or "other"
            if len(self._quotas) < MAX_WINDOWS or (provider, window) in self._quotas:
                self._quotas[provider, window] = quota

    def quotas(self) -> dict[str, list[Quota]]:
        """The windows as last reported, by provider."""
        windows: dict[str, list[Quota]] = {}
        for (provider, _), quota in self._quotas.items():
            windows.setdefault(provider, []).append(quota)
        return windows

    def render(self) -> bytes:
        """The exposition text; its type is `CONTENT_TYPE`."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collector(self._families))
        return generate_latest(registry)

    def _model(self, record: Record) -> str:
        name = record.model
        if name is None:
            return "none"
        if name not in self._models:
            if len(self._models) >= (MAX_MODELS if record.usage is not None else MAX_MODELS // 2):
                return "other"
            self._models.add(name)
        return name

    def _families(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        def counter(name: str, text: str, labels: list[str], values: dict[Labels, Any]) -> Metric:
            family = CounterMetricFamily(f"ccproxy_{name}", text, labels=labels)
            for key, value in list(values.items()):  # a copy: exchanges end meanwhile
                family.add_metric(key, float(value))
            return family

        def gauge(name: str, text: str, labels: list[str], values: dict[Labels, float]) -> Metric:
            family = GaugeMetricFamily(f"ccproxy_{name}", text, labels=labels)
            for key, value in list(values.items()):  # a copy: exchanges end meanwhile
                family.add_metric(key, value)
            return family

        def histogram(name: str, text: str, values: dict[Labels, _Histogram]) -> Metric:
            family = HistogramMetricFamily(f"ccproxy_{name}", text, labels=["provider"])
            for key, value in list(values.items()):  # a copy: exchanges end meanwhile
                family.add_metric(key, value.buckets(), value.total)
            return family

        by, kinds = ["provider"], ["provider", "model", "kind"]
        yield gauge("info", "The running version.", ["version"], {(self._version,): 1.0})
        answered = ["provider", "format", "model", "status", "outcome"]
        yield counter("requests", "Exchanges that are over.", answered, self._requests)
        yield counter("tokens", "Tokens; output includes reasoning.", kinds, self._tokens)
        yield counter("cost_usd", "US dollars by list price.", kinds, self._cost)
        yield counter("cost_unknown", "Responses without a known price.", ["provider", "model"], self._unknown)
        yield counter("losses", "JSON paths that translation could not carry over.", by, self._losses)
        yield counter("retries", "Requests sent again.", by, self._retries)
        yield counter("refreshes", "Logins refreshed.", ["provider", "result"], self._refreshes)
        yield counter("body_bytes", "Body bytes from and to clients.", ["provider", "direction"], self._bytes)
        yield gauge("open_streams", "Streamed responses under way.", by, dict(self._open))
        yield histogram("ttfb_seconds", "From request to first body byte.", self._ttfb)
        yield histogram("first_token_seconds", "From request to the model's first output.", self._first_token)
        yield histogram("duration_seconds", "From request to the end of the response.", self._duration)
        yield histogram("added_latency_seconds", "Time spent in ccproxy itself.", self._added)
        windows = ["provider", "window"]
        quotas = dict(self._quotas)
        used = {key: quota.used for key, quota in quotas.items()}
        yield gauge("quota_used_ratio", "How full a quota window is; 1 is all of it.", windows, used)
        resets = {key: quota.resets.timestamp() for key, quota in quotas.items() if quota.resets}
        yield gauge("quota_reset_timestamp_seconds", "When a quota window starts again.", windows, resets)
        if self._ledger_status is not None:
            status = self._ledger_status()
            yield gauge("ledger_queue", "Exchanges not yet written.", [], {(): status.queued})
            yield counter("ledger_written", "Exchanges written.", [], {(): status.written})
            yield counter("ledger_dropped", "Exchanges that went unrecorded.", [], {(): status.dropped})
            up = 1.0 if status.state == "ready" else 0.0
            yield gauge("ledger_up", "Whether the ledger can be written.", [], {(): up})


class _Collector:
    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self.collect = collect


def _observe(
    into: dict[Labels, _Histogram], key: Labels, milliseconds: float | None, bounds: tuple[float, ...]
) -> None:
    if milliseconds is not None:
        histogram = into.get(key)
        if histogram is None:
            histogram = into[key] = _Histogram(bounds)
        histogram.observe(milliseconds / 1000)
