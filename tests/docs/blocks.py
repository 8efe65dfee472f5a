"""The fenced blocks of the documentation, and the code in its text.

The language of a block determines whether it is run, loaded or compared. An invisible comment above it can change that:

    <!-- not run: why -->                      the block is only checked
    <!-- not run, ccproxy auth: why -->        its lines that begin with these words are only checked
    <!-- file: ~/.codex/config.toml -->        it is the content of that file, not ccproxy's configuration
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_MARKER = re.compile(r"<!--\s*(?P<kind>not run|file)(?:, (?P<lines>[^:]+))?:\s+(?P<text>\S.*?)\s*-->\n\n?\Z", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)")


NEEDS_THE_INTERNET = "ccproxy usage --update-prices"
"""Lines that begin with this are never run."""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    page: str
    line: int
    language: str
    text: str
    kind: str = ""
    """`not run` or `file`, if a comment says so."""
    lines: str = ""
    """The beginning of the lines that are not run; empty for all lines."""
    why: str = ""
    """The text of the comment: a reason or a path."""
    shows: str = ""
    """The text block below it: its expected output."""

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def script(self) -> str:
        """The lines that are run."""
        left_out: tuple[str, ...] = (NEEDS_THE_INTERNET,)
        if self.kind == "not run":
            left_out += (self.lines,)  # every line begins with an empty text
        return "".join(line for line in self.text.splitlines(keepends=True) if not line.startswith(left_out))


def pages() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    blocks: list[Block] = []
    end = 0
    for fence in _FENCE.finditer(text):
        between = text[end : fence.start()]
        marker = _MARKER.search(between)
        block = Block(
            str(page.relative_to(ROOT)),
            text.count("\n", 0, fence.start()) + 1,
            fence["language"],
            re.sub(f"^{fence['indent']}", "", fence["text"], flags=re.MULTILINE),
            marker["kind"] if marker else "",
            (marker["lines"] or "") if marker else "",
            marker["text"] if marker else "",
        )
        if block.language == "text" and blocks and not between.strip():
            before = blocks.pop()
            block = Block(*(getattr(before, name) for name in Block.__slots__[:-1]), shows=block.text)
        blocks.append(block)
        end = fence.end()
    return blocks


def all_blocks() -> list[Block]:
    return [block for page in pages() for block in blocks_of(page)]


def without_blocks(page: Path) -> str:
    """The text of a page without its blocks and comments."""
    return _COMMENT.sub("", _FENCE.sub("", page.read_text(encoding="utf-8")))


def code_in_prose(page: Path) -> Iterator[str]:
    """Text between backticks, outside of blocks."""
    for code in _CODE.finditer(without_blocks(page)):
        yield code[2].replace("\\|", "|")


def as_pattern(shown: str) -> re.Pattern[str]:
    """Return a pattern for output as a page shows it, where `…` matches any text on its line."""
    return re.compile(re.escape(shown.rstrip("\n")).replace("…", ".*"))
