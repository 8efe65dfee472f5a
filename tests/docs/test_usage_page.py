"""The picture and the table on the page about usage are the output of `ccproxy usage`."""

from __future__ import annotations

from pathlib import Path

from tests.docs import terminal
from tests.docs.usage_picture import PICTURE, picture, text

PAGE = Path(__file__).parents[2] / "docs" / "user-guide" / "usage.md"


def test_the_picture_is_the_output_of_the_program() -> None:
    """Draw it again with `python -m tests.docs.usage_picture`."""
    committed = PICTURE.read_text(encoding="utf-8")
    assert terminal.words(committed) == terminal.words(picture())
    assert "claude-opus-5-5" in terminal.words(committed)
    assert terminal.fetches_nothing(committed)


def test_the_page_shows_the_picture_and_the_same_as_text() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert "](../images/usage.svg)" in page
    assert f"```\n{text()}\n```" in page
