"""The first page: the order of its sections, and its picture of `ccproxy demo`."""

from __future__ import annotations

import re

from tests.docs import terminal
from tests.docs.blocks import ROOT
from tests.docs.demo_picture import PICTURE, picture


def test_the_picture_is_the_output_of_the_program() -> None:
    """Draw it again with `python -m tests.docs.demo_picture`."""
    committed = PICTURE.read_text(encoding="utf-8")
    assert terminal.words(committed) == terminal.words(picture())
    assert terminal.fetches_nothing(committed)


def test_users_come_first_and_contributors_last() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    before, *_ = text.partition("\n## ")
    assert len(re.findall("^- ", before, re.MULTILINE)) == 3
    assert f"]({PICTURE.relative_to(ROOT)})" in before
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings == [
        "Install", "Send your first request", "Base URLs", "Clients", "Documentation", "Try it from a clone",
    ]  # fmt: skip
