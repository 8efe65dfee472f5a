"""Draws docs/images/usage.svg, the picture of `ccproxy usage`: python -m tests.docs.usage_picture."""

from __future__ import annotations

import io
from decimal import Decimal
from pathlib import Path

from rich.console import Console

from ccproxy.cli.usage import print_table
from ccproxy.ledger.report import By, Line, Report
from ccproxy.translate.usage import Tokens
from tests.docs import terminal

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "usage.svg"
COMMAND = "ccproxy usage"
LINES = (
    Line("claude-opus-5-5", 42, 0, Tokens(1680, 2_959_000, 29_400, 0, 20_160), Decimal("1.1529"), Decimal("1.1529")),
    Line("gpt-6.1-sol", 17, 0, Tokens(15_300, 581_400, 0, 0, 5950), Decimal("0.1482"), Decimal("0.1482")),
    Line("claude-haiku-5-5", 6, 0, Tokens(7200, 0, 0, 0, 1200), Decimal("0.0013")),
    Line("qwen4-coder", 2, 0, Tokens(10_400, 0, 0, 0, 1200), None, unknown=2),
)


def draw(console: Console) -> None:
    print_table(Report(By.MODEL, None, LINES, sum(LINES, start=Line(None))), "7d", console)


def text() -> str:
    """Return the output in a pipe."""
    console = Console(file=io.StringIO(), highlight=False)
    draw(console)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def picture() -> str:
    return terminal.svg("usage", COMMAND, draw)


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
