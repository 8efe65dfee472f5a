"""Sums over the ledger, for `ccproxy usage` and `GET /usage`. Blocks: call it off the event loop."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccproxy.errors import CcproxyError
from ccproxy.ledger.location import explained, open_engine, sqlite_file
from ccproxy.ledger.records import LIST_PRICE
from ccproxy.translate.usage import Tokens

if TYPE_CHECKING:
    import sqlalchemy as sa

_QUARTER = 15 * 60 * 1_000_000
"""Microseconds. Days are put together from quarters of an hour: every time zone's midnight is on one."""

_NONE = Tokens()
_UNREADABLE = (CcproxyError, ImportError, OSError, ValueError, TypeError, ArithmeticError)
"""Besides SQLAlchemy's own: a damaged database holds values of any kind."""


class LedgerUnreadable(CcproxyError):
    """The ledger's database cannot be opened or read. The message names it and says what to do."""


class By(StrEnum):
    """The criterion by which exchanges are grouped."""

    MODEL = "model"
    PROVIDER = "provider"
    SESSION = "session"
    CLIENT = "client"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class Line:
    """Sums over some exchanges."""

    key: str | None
    """The group's name; `None`: the exchanges that have none."""
    requests: int = 0
    failed: int = 0
    """Answered with an error, or cut."""
    tokens: Tokens = _NONE
    price: Decimal | None = None
    """Dollars by list price, of the exchanges whose price is known; `None`: of none."""
    subscription: Decimal = Decimal(0)
    """How much of `price` came over subscription routes: list price, not the bill."""
    unknown: int = 0
    """Exchanges of unknown cost."""
    partial: int = 0
    """Exchanges that broke off: what they used is a lower bound."""
    reported: Decimal | None = None
    """Dollars by the upstreams' own figures, where they give any."""
    first: datetime | None = None
    last: datetime | None = None

    @property
    def cache_hit_rate(self) -> float | None:
        """The share of prompt tokens that came out of the cache."""
        return self.tokens.cache_read / self.tokens.prompt if self.tokens.prompt else None

    def __add__(self, other: Line) -> Line:
        return Line(
            self.key,
            self.requests + other.requests,
            self.failed + other.failed,
            self.tokens + other.tokens,
            _sum(self.price, other.price),
            self.subscription + other.subscription,
            self.unknown + other.unknown,
            self.partial + other.partial,
            _sum(self.reported, other.reported),
            min((moment for moment in (self.first, other.first) if moment), default=None),
            max((moment for moment in (self.last, other.last) if moment), default=None),
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values. Money as numbers of dollars, unknown as null."""
        tokens = self.tokens
        rate = self.cache_hit_rate
        return {
            "requests": self.requests,
            "failed": self.failed,
            "input_tokens": tokens.input,
            "cache_read_tokens": tokens.cache_read,
            "cache_write_5m_tokens": tokens.cache_write_5m,
            "cache_write_1h_tokens": tokens.cache_write_1h,
            "output_tokens": tokens.output,
            "reasoning_tokens": tokens.reasoning,
            "web_searches": tokens.web_searches,
            "server_tool_uses": tokens.server_tool_uses,
            "cache_hit_rate": None if rate is None else round(rate, 4),
            "cost_usd": _number(self.price),
            "subscription_cost_usd": _number(self.subscription),
            "cost_unknown": self.unknown,
            "partial": self.partial,
            "reported_cost_usd": _number(self.reported),
            "first": self.first.isoformat() if self.first else None,
            "last": self.last.isoformat() if self.last else None,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """Sums by group, and of all."""

    by: By
    since: datetime | None
    lines: tuple[Line, ...]
    total: Line

    def as_json(self) -> dict[str, Any]:
        """The report as `GET /usage` returns it and `ccproxy usage --json` prints it."""
        return {
            "by": self.by.value,
            "since": self.since.isoformat() if self.since else None,
            "lines": [{self.by.value: line.key, **line.as_json()} for line in self.lines],
            "total": self.total.as_json(),
            "note": f"subscription_cost_usd: {LIST_PRICE}",
        }


def parse_since(text: str, now: datetime) -> datetime | None:
    """The moment that `--since` means: `90m`, `24h`, `7d`, `2w`, `today`, a date or time in ISO 8601, `all` for None.

    `now` is aware; dates and times without a zone are in its zone. Raises ValueError.
    """
    if text == "all":
        return None
    if text == "today":
        return now.replace(hour=0, minute=0, second=0, microsecond=0)
    ago = re.fullmatch(r"([0-9]{1,6})([mhdw])", text)
    try:
        if ago:
            unit = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[ago[2]]
            return now - timedelta(**{unit: int(ago[1])})
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ValueError(f"{text[:40]!r} is not a time: expected 90m, 24h, 7d, 2w, today, 2026-11-22 or all") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)


def read_report(location: str | Path, by: By, since: datetime | None = None, zone: tzinfo | None = None) -> Report:
    """Sum up the ledger at `location`; empty where there is none yet. Days are those of `zone` (None: local).

    Raises:
        LedgerUnreadable: it cannot be opened or read.

    """
    if isinstance(location, Path) and not location.exists():  # nothing need be imported to say so
        return _report(by, since, ())
    import sqlalchemy as sa

    from ccproxy.ledger import schema

    try:
        file = sqlite_file(location)
        if file is not None and not file.exists():
            return _report(by, since, ())
        engine = open_engine(location)
        try:
            with engine.begin() as connection:
                schema.bring_up(connection, datetime.now(UTC))
            with engine.connect() as connection:
                rows = connection.execute(_query(by, since)).all()
        finally:
            engine.dispose()
        return _report(by, since, _lines(by, rows, zone))
    except _UNREADABLE as error:
        raise LedgerUnreadable(f"The ledger cannot be read: {explained(error, location)}") from error
    except sa.exc.SQLAlchemyError as error:
        raise LedgerUnreadable(f"The ledger cannot be read: {explained(error, location)}") from error


def _query(by: By, since: datetime | None) -> sa.Select[Any]:
    import sqlalchemy as sa

    from ccproxy.ledger.schema import exchanges

    column = exchanges.c
    keys: dict[By, sa.ColumnElement[Any]] = {
        By.MODEL: sa.func.coalesce(column.model_answered, column.model_asked),
        By.PROVIDER: column.provider,
        By.SESSION: column.session,
        By.CLIENT: column.client,
        By.DAY: sa.type_coerce(column.started, sa.BigInteger) // _QUARTER,
    }

    def count(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        return sa.func.sum(sa.case((condition, 1), else_=0))

    key = keys[by].label("key")
    query = sa.select(
        key,
        sa.func.count().label("requests"),
        count(sa.or_(column.status >= 400, column.outcome.in_(["error", "cut"]))).label("failed"),
        *(sa.func.sum(column[name]).label(name) for name in Tokens.__slots__),
        sa.func.sum(column.price).label("price"),
        sa.func.sum(sa.case((column.label != "", column.price))).label("subscription"),
        count(column.cost_unknown).label("unknown"),
        count(column.partial).label("partial"),
        sa.func.sum(column.reported_cost).label("reported"),
        sa.func.min(column.started).label("first"),
        sa.func.max(column.started).label("last"),
    ).group_by(key)
    return query if since is None else query.where(column.started >= since)


def _lines(by: By, rows: Iterable[Any], zone: tzinfo | None) -> Iterable[Line]:
    from ccproxy.ledger.schema import tokens

    lines = [
        Line(
            row.key,
            row.requests,
            row.failed,
            tokens(row),
            row.price,
            row.subscription or Decimal(0),
            row.unknown,
            row.partial,
            row.reported,
            row.first,
            row.last,
        )
        for row in rows
    ]
    if by is By.DAY:
        days: dict[str, Line] = {}
        for line in lines:
            quarter = datetime.fromtimestamp(int(line.key or 0) * _QUARTER / 1_000_000, UTC)
            day = quarter.astimezone(zone).date().isoformat()
            days[day] = days.get(day, Line(day)) + line
        return [days[day] for day in sorted(days)]
    if by is By.SESSION:
        return sorted(lines, key=lambda line: line.last or datetime.min.replace(tzinfo=UTC), reverse=True)
    return sorted(lines, key=lambda line: (-(line.price or 0), -line.tokens.prompt, line.key or ""))


def _report(by: By, since: datetime | None, lines: Iterable[Line]) -> Report:
    lines = tuple(lines)
    return Report(by, since, lines, sum(lines, start=Line(None)))


def _sum(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return other if one is None else one if other is None else one + other


def _number(money: Decimal | None) -> float | None:
    return None if money is None else float(money)
