"""`ccproxy usage`: what the exchanges of the last days used and cost."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, NamedTuple, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ccproxy.cli.console import load_settings
from ccproxy.errors import CcproxyError
from ccproxy.ledger.location import ledger_location
from ccproxy.ledger.pricing import update_prices
from ccproxy.ledger.records import LIST_PRICE
from ccproxy.ledger.report import By, Line, Report, parse_since, read_report
from ccproxy.settings.folders import data_dir
from ccproxy.translate.labels import label

_FORMULA = "=+-@|%\t\r"
"""First characters of a cell that a spreadsheet may execute."""


def data_folder() -> Path:
    """The folder for the ledger and the prices."""
    return data_dir()


def ledger() -> str | Path:
    """The ledger's location."""
    return ledger_location(load_settings().settings.ledger.url, data_folder())


def usage(
    since: Annotated[
        str, typer.Option(metavar="WHEN", help="90m, 24h, 7d, 2w, today, a date such as 2026-11-22, or all.")
    ] = "7d",
    by: Annotated[By, typer.Option(help="What to sum up by.")] = By.MODEL,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, as GET /usage answers.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one line per group.")] = False,
    prices: Annotated[
        bool, typer.Option("--update-prices", help="Fetch the newest list prices for exchanges to come, and end.")
    ] = False,
) -> None:
    """Show tokens and cost by model, provider, session, client or day.

    Example: ccproxy usage --since 24h --by session
    """
    if prices:
        _update_prices()
        return
    if as_json and as_csv:
        raise typer.BadParameter("--json or --csv, not both")
    try:
        begin = parse_since(since, datetime.now().astimezone())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since") from error
    report = _read(by, begin)
    if as_json:
        print(json.dumps(report.as_json(), indent=2))
    elif as_csv:
        _print_csv(report)
    else:
        print_table(report, since, Console(highlight=False))


def _update_prices() -> None:
    try:
        print(update_prices(data_folder() / "prices.json"))
    except (CcproxyError, OSError) as error:
        _fail(error)


def _read(by: By, since: datetime | None) -> Report:
    try:
        return read_report(ledger(), by, since)
    except CcproxyError as error:
        _fail(error)


def _fail(error: object) -> NoReturn:
    print(f"ccproxy usage: {str(error).splitlines()[0]}", file=sys.stderr)
    raise typer.Exit(1)


def _print_csv(report: Report) -> None:
    lines = report.as_json()["lines"]
    columns = [report.by.value, *Line(None).as_json()]
    writer = csv.DictWriter(sys.stdout, columns)
    writer.writeheader()
    writer.writerows({**line, columns[0]: _csv_text(line[columns[0]])} for line in lines)


def _csv_text(name: str | None) -> str | None:
    """A name from a client as a cell: no formula for a spreadsheet (https://owasp.org/www-community/attacks/CSV_Injection)."""
    text = label(name)
    return f"'{text}" if text and text[0] in _FORMULA else text


def print_table(report: Report, since: str, console: Console) -> None:
    """Print a human-readable table, as wide as the terminal."""
    if not console.is_terminal:
        console.width = 1000  # a pipe has none: nothing is wrapped or cut
    if not report.lines:
        console.print(f"No exchanges since {since}." if report.since else "No exchanges yet.")
        return
    columns = [column for column in _COLUMNS if not column.wide or console.width >= 100]
    table = Table(box=None, pad_edge=False, header_style="bold cyan", footer_style="bold", show_footer=True)
    table.add_column(report.by.value, "total", overflow="fold", min_width=12)
    for column in columns:
        table.add_column(column.name, column.cell(report.total), justify="right", no_wrap=True)
    for line in report.lines:
        table.add_row(_name(line.key), *(column.cell(line) for column in columns))
    console.print(table)
    if report.total.subscription:
        console.print(f"* {_dollars(report.total.subscription)} of it over subscription routes: {LIST_PRICE}")
    if report.total.unknown:
        console.print(f"{report.total.unknown} exchanges of unknown cost: see ccproxy usage --update-prices")


def _name(key: str | None) -> Text:
    """A name from a client: neither markup nor control characters may have an effect."""
    return Text(label(key) or "(none)")


def _count(number: int) -> str:
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if number >= size:
            return f"{number / (1000 if unit == 'k' else size):.4g}{unit}"
    return str(number)


def _dollars(money: Decimal) -> str:
    return f"${money:.2f}" if money >= 1 or not money else f"${money:.4f}" if money >= Decimal("0.0001") else "<$0.0001"


def _cost(line: Line) -> str:
    if line.price is None:
        return "unknown" if line.unknown else "-"
    least = "≥ " if line.partial else ""
    mark = "*" if line.subscription else ""
    unknown = f" + {line.unknown} unknown" if line.unknown else ""
    return f"{least}{_dollars(line.price)}{mark}{unknown}"


def _rate(line: Line) -> str:
    rate = line.cache_hit_rate
    return "-" if rate is None else f"{rate:.0%}"


class _Column(NamedTuple):
    name: str
    cell: Callable[[Line], str]
    wide: bool = False
    """Left out where the terminal is narrow."""


_COLUMNS = (
    _Column("requests", lambda line: _count(line.requests)),
    _Column("failed", lambda line: _count(line.failed) if line.failed else "-", wide=True),
    _Column("input", lambda line: _count(line.tokens.input)),
    _Column("cache read", lambda line: _count(line.tokens.cache_read), wide=True),
    _Column("written", lambda line: _count(line.tokens.cache_write_5m + line.tokens.cache_write_1h), wide=True),
    _Column("output", lambda line: _count(line.tokens.output)),
    _Column("cache hits", _rate),
    _Column("cost", _cost),
)
