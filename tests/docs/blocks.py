"""The fenced blocks of the documentation, and what its prose says in code.

A block is run, read or compared, by its language. An invisible comment above it may say otherwise:

    <!-- not run: why -->                      the block is checked only
    <!-- not run, ccproxy auth: why -->        its lines that begin so are checked only
    <!-- file: ~/.codex/config.toml -->        it is that file's content, not ccproxy's
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


ASKS_THE_INTERNET = "ccproxy usage --update-prices"
"""Lines that begin so are never run, on whichever page."""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    page: str
    line: int
    language: str
    text: str
    kind: str = ""
    """`not run` or `file`, where a comment says so."""
    lines: str = ""
    """How the lines begin that are not run; empty: all of them."""
    why: str = ""
    """The comment's own words: a reason or a path."""
    shows: str = ""
    """The text block right below it: what it prints."""

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def script(self) -> str:
        """What is run of it."""
        left_out: tuple[str, ...] = (ASKS_THE_INTERNET,)
        if self.kind == "not run":
            left_out += (self.lines,)  # every line begins with nothing
        return "".join(line for line in self.text.splitlines(keepends=True) if not line.startswith(left_out))


def pages() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    end = 0
    for fence in _FENCE.finditer(text):
        between = text[end : fence.start()]
        said = _MARKER.search(between)
        block = Block(
            str(page.relative_to(ROOT)),
            text.count("\n", 0, fence.start()) + 1,
            fence["language"],
            re.sub(f"^{fence['indent']}", "", fence["text"], flags=re.MULTILINE),
            said["kind"] if said else "",
            (said["lines"] or "") if said else "",
            said["text"] if said else "",
        )
        if block.language == "text" and found and not between.strip():
            before = found.pop()
            block, shown = before, block.text
            block = Block(*(getattr(before, name) for name in Block.__slots__[:-1]), shows=shown)
        found.append(block)
        end = fence.end()
    return found


def all_blocks() -> list[Block]:
    return [block for page in pages() for block in blocks_of(page)]


def code_in_prose(page: Path) -> Iterator[str]:
    """What stands between backticks, blocks and comments aside."""
    text = _COMMENT.sub("", _FENCE.sub("", page.read_text(encoding="utf-8")))
    for found in _CODE.finditer(text):
        yield found[2].replace("\\|", "|")


def as_pattern(shown: str) -> re.Pattern[str]:
    """Output as a page shows it: `…` stands for anything on its line."""
    return re.compile(re.escape(shown.rstrip("\n")).replace("…", ".*"))
