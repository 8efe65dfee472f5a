"""Quota windows as the upstreams send them."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, strategies as st

from ccproxy.ledger.quota import Quota, from_codex_event, quotas

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
