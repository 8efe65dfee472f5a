"""The reference page says what the tables say."""

from __future__ import annotations

import itertools
from pathlib import Path

from ccproxy.translate.reference import render_markdown

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "translation.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == render_markdown(), (
        "python -m ccproxy.translate.reference > docs/reference/translation.md"
    )


def test_every_table_has_as_many_cells_as_columns() -> None:
    lines = render_markdown().splitlines()
    for before, line in itertools.pairwise(lines):
        if before.startswith("|") and line.startswith("|"):
            assert before.count("|") == line.count("|"), line
