"""Sums over a real ledger."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy.dialects import postgresql

from ccproxy.ledger.database import Ledger
from ccproxy.ledger.records import LIST_PRICE, Outcome, Record
from ccproxy.ledger.report import By, Line, _query, parse_since, read_report
from ccproxy.translate.usage import Tokens, Usage

Make = Callable[..., Record]
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path, record: Make) -> Path:
    """A ledger of six exchanges."""
    path = tmp_path / "ledger.sqlite3"
    ledger = Ledger(path)
    ledger.start()
    opus = {"model_answered": "claude-opus-5-5", "provider": "claude_api", "client": "claude-code", "session": "s1"}
    known = Usage(Tokens(input=100, cache_read=300, cache_write_5m=80, cache_write_1h=20, output=50, reasoning=5))
    for one in (
        record(**opus, started=NOON - timedelta(hours=13), usage=known, price=Decimal("0.25"), label=LIST_PRICE),
        record(**opus, started=NOON, usage=known, price=Decimal("1.000000000001"), partial=True, outcome=Outcome.CUT),
        record(**opus, started=NOON, status=429, error_type="rate_limit_error"),
        record(model_asked="gpt-99", provider="codex", client="codex", started=NOON - timedelta(days=3),
               usage=Usage(Tokens(input=7, output=3), reported_cost=Decimal("0.5"))),
        record(model_asked="claude-opus-5-5", operation="count_tokens", started=NOON),
        record(operation="models", started=NOON - timedelta(days=30)),
    ):  # fmt: skip
        ledger.put(one)
    assert ledger.close()
    return path


def test_by_model(path: Path) -> None:
    report = read_report(path, By.MODEL)
    assert [line.key for line in report.lines] == ["claude-opus-5-5", "gpt-99", None]
    opus, gpt, none = report.lines
    assert opus == Line(
        "claude-opus-5-5",
        requests=4,
        failed=2,
        tokens=Tokens(200, 600, 160, 40, 100, 10),
        price=Decimal("1.250000000001"),
        subscription=Decimal("0.25"),
        partial=1,
        first=NOON - timedelta(hours=13),
        last=NOON,
    )
    assert opus.cache_hit_rate == 0.6
    assert (gpt.price, gpt.unknown, gpt.reported, gpt.cache_hit_rate) == (None, 1, Decimal("0.5"), 0)
    assert (none.requests, none.price, none.unknown, none.cache_hit_rate) == (1, None, 0, None)
    assert report.total.requests == 6
    assert report.total.price == Decimal("1.250000000001")
    assert (report.total.first, report.total.last) == (NOON - timedelta(days=30), NOON)


def test_by_the_others(path: Path) -> None:
    def keys(by: By) -> list[str | None]:
        return [line.key for line in read_report(path, by).lines]

    assert keys(By.PROVIDER) == ["claude_api", "codex", "mock"]
    assert keys(By.CLIENT) == ["claude-code", "codex", "unknown"]
    assert set(keys(By.SESSION)) == {"s1", None}


def test_days_are_those_of_the_zone(path: Path) -> None:
    def days(zone: timezone | ZoneInfo) -> dict[str | None, int]:
        return {line.key: line.requests for line in read_report(path, By.DAY, zone=zone).lines}

    assert days(UTC) == {"2026-10-23": 1, "2026-11-19": 1, "2026-11-21": 1, "2026-11-22": 3}
    # 23:00 on the 21st in UTC is the 22nd here
    assert days(ZoneInfo("Asia/Kathmandu")) == {"2026-10-23": 1, "2026-11-19": 1, "2026-11-22": 4}


def test_since(path: Path) -> None:
    assert read_report(path, By.MODEL, NOON).total.requests == 3
    assert read_report(path, By.MODEL, NOON + timedelta(microseconds=1)).total.requests == 0
    assert read_report(path, By.MODEL, NOON - timedelta(days=7)).total.requests == 5


def test_json(path: Path) -> None:
    report = read_report(path, By.MODEL, NOON - timedelta(days=7)).as_json()
    assert report["by"] == "model"
    assert report["since"] == "2026-11-15T12:00:00+00:00"
    opus, gpt = report["lines"]
    assert opus == {
        "model": "claude-opus-5-5",
        "requests": 4,
        "failed": 2,
        "input_tokens": 200,
        "cache_read_tokens": 600,
        "cache_write_5m_tokens": 160,
        "cache_write_1h_tokens": 40,
        "output_tokens": 100,
        "reasoning_tokens": 10,
        "web_searches": 0,
        "server_tool_uses": 0,
        "cache_hit_rate": 0.6,
        "cost_usd": 1.250000000001,
        "subscription_cost_usd": 0.25,
        "cost_unknown": 0,
        "partial": 1,
        "reported_cost_usd": None,
        "first": "2026-11-21T23:00:00+00:00",
        "last": "2026-11-22T12:00:00+00:00",
    }
    assert (gpt["cost_usd"], gpt["cost_unknown"], gpt["reported_cost_usd"]) == (None, 1, 0.5)
    assert report["total"]["requests"] == 5


def test_a_ledger_that_is_not_there_is_empty_and_stays_so(tmp_path: Path) -> None:
    missing = tmp_path / "none" / "ledger.sqlite3"
    report = read_report(missing, By.DAY)
    assert report.lines == ()
    assert report.total == Line(None)
    assert not missing.parent.exists()


def test_reading_while_the_writer_writes(tmp_path: Path, record: Make) -> None:
    path = tmp_path / "ledger.sqlite3"
    ledger = Ledger(path)
    ledger.start()
    seen = 0
    for _ in range(20):
        for _ in range(50):
            ledger.put(record(usage=Usage(Tokens(input=1))))
        ledger.flush()
        seen = read_report(path, By.MODEL).total.tokens.input
    assert ledger.close()
    assert seen == 1000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", datetime(2026, 11, 22, 10, 30, tzinfo=UTC)),
        ("24h", datetime(2026, 11, 21, 12, tzinfo=UTC)),
        ("7d", datetime(2026, 11, 15, 12, tzinfo=UTC)),
        ("2w", datetime(2026, 11, 8, 12, tzinfo=UTC)),
        ("today", datetime(2026, 11, 22, tzinfo=UTC)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T10:00:00+02:00", datetime(2026, 11, 1, 8, tzinfo=UTC)),
        ("all", None),
    ],
)
def test_since_in_words(text: str, expected: datetime | None) -> None:
    assert parse_since(text, NOON) == expected


@pytest.mark.parametrize("text", ["", "7", "7y", "-7d", "yesterday", "999999w", "2026-13-01"])
def test_since_that_means_nothing(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        parse_since(text, NOON)


def test_queries_compile_for_postgresql() -> None:
    for by in By:
        text = str(_query(by, NOON).compile(dialect=postgresql.dialect()))
        assert "GROUP BY" in text
        assert "//" not in text
