"""What Prometheus' own parser reads out of the metrics."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import prometheus_client
from prometheus_client.parser import text_string_to_metric_families

from ccproxy.ledger.database import State, Status
from ccproxy.ledger.metrics import CONTENT_TYPE, MAX_MODELS, MAX_SERIES, Metrics
from ccproxy.ledger.quota import Quota
from ccproxy.ledger.records import LIST_PRICE, Outcome, Record
from ccproxy.translate.formats import Format
from ccproxy.translate.usage import Tokens, Usage

Make = Callable[..., Record]


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    found = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get((name, tuple(sorted(labels.items()))))


def test_exchanges_tokens_and_cost(record: Make) -> None:
    metrics = Metrics()
    usage = Usage(Tokens(10, 20, 30, 40, 50, 5), extra=(("other", Tokens(input=1)),))
    common = {"provider": "codex", "client_format": Format.OPENAI_CHAT, "model_answered": "gpt-6-sol", "usage": usage}
    metrics.record(record(**common, price=Decimal("0.25"), label=LIST_PRICE, losses=2, bytes_in=7, bytes_out=9))
    metrics.record(record(**common, price=Decimal("0.5"), retries=1))
    metrics.record(record(**common))
    metrics.record(record(provider="codex", status=None, outcome=Outcome.CLIENT_LEFT, client_format=None))

    where = {"provider": "codex", "model": "gpt-6-sol"}
    answered = {"format": "openai_chat", "status": "200", "outcome": "finished"}
    assert value(metrics, "ccproxy_requests_total", **where, **answered) == 3
    left = {"provider": "codex", "format": "none", "model": "none", "status": "none", "outcome": "client_left"}
    assert value(metrics, "ccproxy_requests_total", **left) == 1
    kinds = {"input": 33, "cache_read": 60, "cache_write_5m": 90, "cache_write_1h": 120, "output": 150, "reasoning": 15}
    for kind, count in kinds.items():
        assert value(metrics, "ccproxy_tokens_total", **where, kind=kind) == count
    assert value(metrics, "ccproxy_cost_usd_total", **where, kind="list price") == 0.25
    assert value(metrics, "ccproxy_cost_usd_total", **where, kind="billed") == 0.5
    assert value(metrics, "ccproxy_cost_unknown_total", **where) == 1
    assert value(metrics, "ccproxy_losses_total", provider="codex") == 2
    assert value(metrics, "ccproxy_retries_total", provider="codex") == 1
    assert value(metrics, "ccproxy_body_bytes_total", provider="codex", direction="in") == 7
    assert value(metrics, "ccproxy_body_bytes_total", provider="codex", direction="out") == 9


def test_histograms(record: Make) -> None:
    metrics = Metrics()
    for total in (50, 51, 700_000):
        metrics.record(record(total_ms=total, ttfb_ms=40, added_ms=0.4, first_token_ms=None))

    def bucket(name: str, le: str) -> float | None:
        return value(metrics, f"ccproxy_{name}_seconds_bucket", provider="mock", le=le)

    assert [bucket("duration", le) for le in ("0.05", "0.1", "600.0", "+Inf")] == [1, 2, 2, 3]
    assert value(metrics, "ccproxy_duration_seconds_count", provider="mock") == 3
    assert value(metrics, "ccproxy_duration_seconds_sum", provider="mock") == 0.05 + 0.051 + 700
    assert bucket("ttfb", "0.05") == 3
    assert bucket("added_latency", "0.0005") == 3
    assert bucket("first_token", "+Inf") is None


def test_gauges() -> None:
    status = Status(State.READY, queued=5, written=7, dropped=1)
    metrics = Metrics(ledger_status=lambda: status, version="1.2.3")
    metrics.stream_opened("codex")
    metrics.stream_opened("codex")
    metrics.stream_closed("codex")
    metrics.refreshed("codex", ok=True)
    metrics.refreshed("codex", ok=False)
    metrics.quota("codex", [Quota("5h", 0.1), Quota("7d", 0.4, datetime(2030, 1, 1, tzinfo=UTC))])
    metrics.quota("codex", [Quota("5h", 0.2)])
    assert value(metrics, "ccproxy_open_streams", provider="codex") == 1
    assert value(metrics, "ccproxy_refreshes_total", provider="codex", result="failed") == 1
    assert value(metrics, "ccproxy_quota_used_ratio", provider="codex", window="5h") == 0.2
    assert value(metrics, "ccproxy_quota_reset_timestamp_seconds", provider="codex", window="7d") == 1893456000
    assert value(metrics, "ccproxy_ledger_queue") == 5
    assert value(metrics, "ccproxy_ledger_written_total") == 7
    assert value(metrics, "ccproxy_ledger_dropped_total") == 1
    assert value(metrics, "ccproxy_ledger_up") == 1
    assert value(metrics, "ccproxy_info", version="1.2.3") == 1
    assert metrics.quotas() == {"codex": [Quota("5h", 0.2), Quota("7d", 0.4, datetime(2030, 1, 1, tzinfo=UTC))]}


def test_names_from_clients_and_upstreams_do_not_pile_up(record: Make) -> None:
    metrics = Metrics()
    for number in range(1000):
        metrics.record(record(model_asked=f'model-{number}"\n\\', usage=Usage(Tokens(input=1))))
        metrics.quota("codex", [Quota(f"{number}h", 0.5)])
    found = samples(metrics)
    models = {dict(labels)["model"] for name, labels in found if name == "ccproxy_requests_total"}
    assert len(models) == 201
    assert 'model-7"?\\' in models
    assert value(metrics, "ccproxy_tokens_total", provider="mock", model="other", kind="input") == 800
    assert len([name for name, _ in found if name == "ccproxy_quota_used_ratio"]) == 50


def test_names_that_never_answered_leave_room_for_models_that_do(record: Make) -> None:
    metrics = Metrics()
    for number in range(1000):
        metrics.record(record(model_asked=f"made-up-{number}", status=404))
    metrics.record(record(model_asked="real", usage=Usage(Tokens(input=1))))
    models = {dict(labels)["model"] for name, labels in samples(metrics) if name == "ccproxy_requests_total"}
    assert len(models) == MAX_MODELS // 2 + 2
    assert {"real", "other"} <= models


def test_series_are_bounded(record: Make) -> None:
    metrics = Metrics()
    usage = Usage(Tokens(input=1))
    for number in range(MAX_MODELS):
        for status in range(400, 430):
            metrics.record(record(model_asked=f"m{number}", status=status, usage=usage))
    series = [labels for name, labels in samples(metrics) if name == "ccproxy_requests_total"]
    assert len(series) == MAX_SERIES + 1
    assert (
        sum(value for (name, _), value in samples(metrics).items() if name == "ccproxy_requests_total")
        == 30 * MAX_MODELS
    )


def test_names_of_any_kind_render(record: Make) -> None:
    metrics = Metrics()
    for name in ("\ud800", "x" * 5_000_000, 'a"b\\c\nd', "\x00\x1b[2J", "é" * 300):
        metrics.record(record(model_asked=name, usage=Usage(Tokens(input=1))))
        metrics.quota("codex", [Quota(name, 0.5)])
    assert len(metrics.render()) < 20_000
    assert "\x1b" not in metrics.render().decode()


def test_rendering_while_exchanges_go_on(record: Make) -> None:
    metrics = Metrics()
    stop = threading.Event()

    def count() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            metrics.record(record(provider=f"p{number % 200}", total_ms=1))

    thread = threading.Thread(target=count)
    thread.start()
    try:
        for _ in range(10):
            metrics.render()
    finally:
        stop.set()
        thread.join()


def test_the_content_type_is_the_library_s() -> None:
    assert prometheus_client.CONTENT_TYPE_LATEST == CONTENT_TYPE
    assert b"# HELP ccproxy_requests_total Exchanges that are over." in Metrics().render()
