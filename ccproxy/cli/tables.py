"""Tables for people at a terminal and for programs in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A drawn table on a terminal, in its width and colours (`NO_COLOR` and `COLUMNS` count); in a pipe one whole line a row.

    In a pipe columns are two spaces or more apart, nothing is cut and nothing is coloured.
    """
    if sys.stdout.isatty():
        from rich import box
        from rich.console import Console
        from rich.table import Table

        table = Table(*headings, box=box.SIMPLE_HEAD, pad_edge=False)
        for column in table.columns:
            column.overflow = "fold"
        for row in rows:
            table.add_row(*row)
        Console().print(table, markup=False)
        return
    widths = [max(len(row[index]) for row in (headings, *rows)) for index in range(len(headings))]
    for row in (headings, *rows):
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
