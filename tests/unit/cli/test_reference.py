"""The pages of docs/reference say what the code does."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

import ccproxy
from ccproxy.cli.reference import PAGES
from ccproxy.settings.model import Section

ROOT = Path(ccproxy.__file__).parents[1]
FOLDER = ROOT / "docs" / "reference"


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_up_to_date(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == PAGES[name](), "make reference"


@pytest.mark.parametrize("name", PAGES)
def test_every_table_has_as_many_cells_as_columns(name: str) -> None:
    lines = [line.replace(r"\|", "") for line in PAGES[name]().splitlines()]
    for before, line in itertools.pairwise(lines):
        if before.startswith("|") and line.startswith("|"):
            assert before.count("|") == line.count("|"), line


def test_every_header_field_of_ours_is_on_the_page_of_routes() -> None:
    page = PAGES["routes.md"]()
    code = "\n".join(path.read_text(encoding="utf-8") for path in Path(ccproxy.__file__).parent.rglob("*.py"))
    found = set(re.findall(r"x-ccproxy-[a-z-]*[a-z]", code))
    assert len(found) > 3
    assert not {name for name in found if f"`{name}`" not in page}


def test_every_setting_says_what_it_does() -> None:
    tables = [Section]
    for each in tables:
        tables += each.__subclasses__()
    missing = [
        f"{each.__name__}.{key}" for each in tables for key, field in each.model_fields.items() if not field.description
    ]
    assert not missing
