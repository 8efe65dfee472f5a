"""Quota windows as the upstreams send them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ccproxy.ledger.quota import MAX_WINDOWS, Quota, from_codex_event, quotas

RESET = datetime(2030, 1, 1, tzinfo=UTC)


def test_anthropic_windows() -> None:
    headers = [
        ("Anthropic-Ratelimit-Unified-Status", "allowed"),
        ("anthropic-ratelimit-unified-reset", "1893456000"),
        ("anthropic-ratelimit-unified-5h-status", "allowed_warning"),
        ("anthropic-ratelimit-unified-5h-reset", "1893456000"),
        ("anthropic-ratelimit-unified-5h-utilization", "0.12"),
        ("anthropic-ratelimit-unified-7d-utilization", "0.7370692663445869"),
        ("anthropic-ratelimit-unified-7d-reset", "2030-01-01T00:00:00Z"),
        ("anthropic-ratelimit-unified-7d_oi-utilization", "0"),
        ("anthropic-ratelimit-unified-overage-utilization", "0.5"),
        ("anthropic-ratelimit-unified-overage-status", "rejected"),
        ("anthropic-ratelimit-unified-14d-status", "allowed"),
    ]
    assert quotas(headers) == [
        Quota("5h", 0.12, RESET, "allowed_warning"),
        Quota("7d", 0.7370692663445869, RESET),
        Quota("7d_oi", 0.0),
    ]


def test_codex_windows() -> None:
    headers = [
        ("x-codex-primary-used-percent", "12.5"),
        ("x-codex-primary-window-minutes", "300"),
        ("x-codex-primary-reset-at", "1893456000"),
        ("X-Codex-Secondary-Used-Percent", "40.0"),
        ("x-codex-secondary-window-minutes", "10080"),
        ("x-codex-spark-primary-used-percent", "100"),
        ("x-codex-plan-type", "pro"),
    ]
    assert quotas(headers) == [Quota("5h", 0.125, RESET), Quota("7d", 0.4), Quota("spark primary", 1.0)]


def test_codex_event() -> None:
    event = {
        "type": "codex.rate_limits",
        "rate_limits": {
            "primary": {"used_percent": 12.5, "window_minutes": 300, "reset_at": 1893456000},
            "secondary": {"used_percent": 40, "window_minutes": 10080},
        },
    }
    assert from_codex_event(event) == [Quota("5h", 0.125, RESET), Quota("7d", 0.4)]
    assert from_codex_event({"rate_limits": {"primary": None}}) == from_codex_event({}) == []


def test_windows_are_few_and_their_names_short() -> None:
    flood = [(f"x-codex-family-{number}-primary-used-percent", "1") for number in range(1000)]
    assert len(quotas(flood)) == MAX_WINDOWS
    assert quotas([(f"x-codex-{'f' * 1000}-primary-used-percent", "1")]) == []
    assert quotas([(f"anthropic-ratelimit-unified-{'9' * 1000}h-utilization", "1")]) == []
    long = [("x-codex-primary-used-percent", "1"), ("x-codex-primary-window-minutes", "9" * 300)]
    assert quotas(long) == [Quota("primary", 0.01)]
    status = [
        ("anthropic-ratelimit-unified-5h-utilization", "1"),
        ("anthropic-ratelimit-unified-5h-status", "x\n" * 1000),
    ]
    (window,) = quotas(status)
    assert window.status == "x?" * 20


@pytest.mark.parametrize("odd", [10**400, -1, 1e308, True, None, "9" * 5000, "\ud800", [1], {"a": 1}])
def test_no_event_breaks_it(odd: Any) -> None:
    window = {"used_percent": odd, "window_minutes": odd, "reset_at": odd}
    for event in ({"rate_limits": {"primary": window, "secondary": odd}}, {"rate_limits": odd}):
        for quota in from_codex_event(event):
            assert len(quota.window) < 50


NAMES = st.sampled_from(
    [
        "anthropic-ratelimit-unified-5h-utilization",
        "anthropic-ratelimit-unified-5h-reset",
        "x-codex-primary-used-percent",
        "x-codex-primary-reset-at",
        "x-codex-primary-window-minutes",
    ]
)


@given(st.lists(st.tuples(NAMES, st.text() | st.floats().map(str))))
def test_no_header_breaks_it(headers: list[tuple[str, str]]) -> None:
    assert all(quota.used >= 0 for quota in quotas(headers))
