"""Tables and code in Markdown."""

from __future__ import annotations

from collections.abc import Iterable


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table that ends with a newline."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def code(text: str) -> str:
    """Return inline code, or an empty string for an empty text."""
    return f"`{text}`" if text else ""


def sentence(docstring: str | None) -> str:
    """Return the first sentence of a docstring on one line, without its full stop."""
    first = " ".join((docstring or "").strip().partition("\n\n")[0].split())
    return first.partition(". ")[0].removesuffix(".")
