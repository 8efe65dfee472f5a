"""Draws docs/images/demo.svg, the picture of `ccproxy demo`: python -m tests.docs.demo_picture."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rich.console import Console

from ccproxy.cli.demo import print_rows, requested_rows
from tests.docs import terminal

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "demo.svg"
COMMAND = "ccproxy demo"


def picture() -> str:
    rows = asyncio.run(requested_rows(lambda _: None))

    def draw(console: Console) -> None:
        console.print(f"$ {COMMAND}")
        print_rows(rows, console)

    return terminal.svg("demo", COMMAND, draw)


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
