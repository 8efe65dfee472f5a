"""The ledger's tables, in SQLAlchemy Core. Imports SQLAlchemy: import this module late.

Versions: one table, `ccproxy_schema`, holds the version; `UPGRADES` holds the step from each version to the next.
Alembic would bring a configuration, a folder of revisions and a tenth of a second of imports for one table that nothing
joins; should there be more, the version table is what it can start from.

Nothing here is specific to SQLite. Money and moments are 64-bit integers on every database: SQLite has neither decimals nor
time zones, and sums of integers are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from operator import attrgetter, itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

from ccproxy.errors import CcproxyError
from ccproxy.ledger.records import Record
from ccproxy.translate.usage import Tokens

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MAX = (1 << 63) - 1

PER_DOLLAR = 10**12
"""Money is kept in millionths of a millionth of a dollar: exact for a single token at any published price."""


class Moment(TypeDecorator[datetime]):
    """An aware datetime, as microseconds since 1970 UTC."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:  # noqa: ARG002 - as SQLAlchemy calls it
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002 - as SQLAlchemy calls it
        return None if value is None else _EPOCH + value * _MICROSECOND


class Dollars(TypeDecorator[Decimal]):
    """US dollars, as an integer of 10^-12 dollars."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: sa.Dialect) -> int | None:  # noqa: ARG002 - as SQLAlchemy calls it
        return None if value is None else min(round(value * PER_DOLLAR), _MAX)

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> Decimal | None:  # noqa: ARG002 - as SQLAlchemy calls it
        return None if value is None else Decimal(int(value)) / PER_DOLLAR


metadata = sa.MetaData()

versions = sa.Table(
    "ccproxy_schema",
    metadata,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("since", Moment, nullable=False),
)

_TOKENS = (
    "input",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "output",
    "reasoning",
    "web_searches",
    "server_tool_uses",
)

_DERIVED = ("cost_unknown", "reported_cost")
"""Properties of a record that have columns."""

exchanges = sa.Table(
    "exchanges",
    metadata,
    sa.Column("flow", sa.String(64), primary_key=True),
    sa.Column("started", Moment, nullable=False, index=True),
    sa.Column("provider", sa.String(64), nullable=False),
    sa.Column("route", sa.String(128), nullable=False),
    sa.Column("client_format", sa.String(32)),
    sa.Column("upstream_format", sa.String(32)),
    sa.Column("operation", sa.String(32), nullable=False),
    sa.Column("streamed", sa.Boolean, nullable=False),
    sa.Column("method", sa.String(16), nullable=False),
    sa.Column("path", sa.String(512), nullable=False),
    sa.Column("model_asked", sa.String(128)),
    sa.Column("model_answered", sa.String(128)),
    sa.Column("status", sa.Integer),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("stop_reason", sa.String(64)),
    sa.Column("stop", sa.String(16)),
    sa.Column("error_type", sa.String(64)),
    *(sa.Column(name, sa.BigInteger) for name in _TOKENS),
    sa.Column("service_tier", sa.String(32)),
    sa.Column("speed", sa.String(32)),
    sa.Column("partial", sa.Boolean, nullable=False),
    sa.Column("ttfb_ms", sa.Float),
    sa.Column("first_token_ms", sa.Float),
    sa.Column("total_ms", sa.Float),
    sa.Column("added_ms", sa.Float),
    sa.Column("bytes_in", sa.BigInteger, nullable=False),
    sa.Column("bytes_out", sa.BigInteger, nullable=False),
    sa.Column("client", sa.String(64), nullable=False),
    sa.Column("session", sa.String(128)),
    sa.Column("agent", sa.String(128)),
    sa.Column("parent_agent", sa.String(128)),
    sa.Column("account", sa.String(128)),
    sa.Column("losses", sa.Integer, nullable=False),
    sa.Column("retries", sa.Integer, nullable=False),
    sa.Column("price", Dollars),
    sa.Column("cost_unknown", sa.Boolean, nullable=False),
    sa.Column("reported_cost", Dollars),
    sa.Column("label", sa.String(64), nullable=False),
)

UPGRADES: tuple[Callable[[sa.Connection], None], ...] = ()
"""`UPGRADES[0]` turns version 1 into version 2. A fresh database is made as the tables above stand."""


class NewerSchema(CcproxyError):
    """The ledger was written by a newer ccproxy; this one leaves it alone. The message follows the ledger's name."""


def bring_up(connection: sa.Connection, now: datetime) -> None:
    """Make the tables, or bring older ones up to date. Raises NewerSchema.

    Another process may do the same at the same time: one of the two gets an IntegrityError or OperationalError, and
    finds the work done when it tries again.
    """
    newest = len(UPGRADES) + 1
    version = None
    if sa.inspect(connection).has_table(versions.name):
        version = connection.scalar(sa.select(sa.func.max(versions.c.version)))
    if version == newest:
        return
    if version is None:
        metadata.create_all(connection)
    elif version > newest:
        raise NewerSchema(
            f"was written by a newer ccproxy (schema version {version}, this one knows {newest}). Upgrade ccproxy, or set ledger.url"
        )
    else:
        for upgrade in UPGRADES[version - 1 :]:
            upgrade(connection)
    connection.execute(sa.insert(versions).values(version=newest, since=now))


_OF_RECORD = tuple(column.name for column in exchanges.c if column.name in {*Record.__slots__, *_DERIVED})
_OF_USAGE = tuple(column.name for column in exchanges.c if column.name in {"service_tier", "speed"})
_read_record = attrgetter(*_OF_RECORD)
_LENGTHS = {column.name: column.type.length or 0 for column in exchanges.c if isinstance(column.type, sa.String)}


def row(record: Record) -> dict[str, Any]:
    """A record as a row of `exchanges`."""
    values: dict[str, Any] = dict(zip(_OF_RECORD, _read_record(record), strict=True))
    usage = record.usage
    total = usage.total if usage else None
    for name in _TOKENS:
        values[name] = getattr(total, name, None)
    for name in _OF_USAGE:
        values[name] = getattr(usage, name, None)
    for name, length in _LENGTHS.items():
        value = values[name]
        if value is not None:
            values[name] = _text(value, length)
    return values


_in_order = itemgetter(*(column.name for column in exchanges.columns))


def bound_row(record: Record) -> tuple[Any, ...]:
    """A record as the driver takes it: the columns in order, moments and money as the integers that the types above make of them.

    SQLAlchemy converts the values one by one, which takes longer than the database.
    """
    values = row(record)
    values["started"] = (record.started - _EPOCH) // _MICROSECOND
    for name in ("price", "reported_cost"):
        amount = values[name]
        values[name] = None if amount is None else min(round(amount * PER_DOLLAR), _MAX)
    bound: tuple[Any, ...] = _in_order(values)
    return bound


def _text(value: str, length: int) -> str:
    """Text that every database takes: cut to the column's length, without NUL (PostgreSQL) and lone surrogates."""
    value = str(value)[:length]
    return value if value.isprintable() else value.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


def tokens(values: Any) -> Tokens:
    """The token columns of a row, or of a sum of rows."""
    return Tokens(*(int(getattr(values, name) or 0) for name in _TOKENS))
