"""The picture and the table on the page about usage are what `ccproxy usage` prints."""

from __future__ import annotations

import html
import re
from pathlib import Path

from tests.docs.usage_picture import PICTURE, picture, text

PAGE = Path(__file__).parents[2] / "docs" / "user-guide" / "usage.md"


def words(svg: str) -> list[str]:
    return html.unescape(re.sub(r"<style>.*?</style>|<[^>]*>", " ", svg, flags=re.DOTALL)).split()


def test_the_picture_is_as_the_program_draws_it() -> None:
    """Drawn anew by `python -m tests.docs.usage_picture`."""
    committed = PICTURE.read_text(encoding="utf-8")
    assert words(committed) == words(picture())
    assert "claude-opus-5-5" in words(committed)


def test_the_picture_fetches_nothing() -> None:
    committed = PICTURE.read_text(encoding="utf-8")
    assert "font-face" not in committed
    assert set(re.findall(r"https?://[^\s\"')]+", committed)) <= {"http://www.w3.org/2000/svg", "https://www.textualize.io"}  # fmt: skip
    assert not re.search(r"url\((?!#)|<(?:image|use|script)|href=", committed)


def test_the_page_shows_it_and_says_the_same_in_text() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert "](../images/usage.svg)" in page
    assert f"```\n{text()}\n```" in page
