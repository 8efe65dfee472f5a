"""Phrases that make readers stumble stay out of names, comments, docstrings, messages and pages.

`TO_CLEAN` lists the paths that still have some. It may only shrink: an entry without a hit fails.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT

INSTEAD = {
    r"(?<!\bthere )\b(?:is|are|was|were) +no\b(?! +longer| +more| +one)": "is not a …, has no …",
    r"\bthat +(?:is|are) +none\b": "that is not one",
    r"\banew\b": "again",
    r"\bmend(?:s|ed|ing)?\b": "fix",
    r"\bbeside\b": "next to, in addition to",
    r"\btold\b": "reported, sent, shown",
    r"\bfor +ever\b": "indefinitely",
    r"\bwho(?:m|so)?ever\b": "the noun: a caller, the owner",
    r"\b(?:bear|bears|bore)\b": "have, carry",
    r"\b(?:no|some)body\b": "no caller, a user, …",
    r"\bby +itself\b": "on its own, automatically",
    r"\band +the +like\b": "and similar …",
    r"\bcompany'?s +proxy\b": "corporate proxy",
    r"\banother +than\b": "a different … from, other than",
}
"""Patterns of phrases without regard to case, with what to write instead."""

TO_CLEAN = (
    "tests/e2e", "tests/faults", "tests/traffic", "tests/unit/auth", "tests/unit/cli", "tests/unit/ledger",
    "tests/unit/permissions", "tests/unit/providers", "tests/unit/settings", "tests/unit/translate",
)  # fmt: skip
"""Files and folders with phrases that are still there."""

WRITTEN = (
    "ccproxy", "tests", "benchmarks", "docs", ".ci", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "Makefile", "pyproject.toml",
    "mkdocs.yml",
)  # fmt: skip
NEWLINE = "\n"
ANY = re.compile("|".join(f"(?:{pattern})" for pattern in INSTEAD), re.IGNORECASE)
_TEXT = {tokenize.COMMENT, tokenize.STRING} | {
    getattr(tokenize, name, -1) for name in ("FSTRING_MIDDLE", "TSTRING_MIDDLE")
}


def files() -> Iterator[Path]:
    for name in WRITTEN:
        path = ROOT / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts and file != Path(__file__):
                yield file


def texts(path: Path, content: str) -> Iterator[tuple[int, str]]:
    """What is prose in a file, each with its first line: comments, strings and names."""
    if path.suffix != ".py":
        yield 1, content
        return
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type in _TEXT or token.type == tokenize.NAME:
            yield token.start[0], token.string


def stumbles(path: Path) -> list[str]:
    """Places in a file, as `line: phrase -> what to write instead`."""
    try:
        content = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return []  # a picture
    if not ANY.search(flat(content)):
        return []
    places = []
    for line, text in texts(path, content):
        for hit in ANY.finditer(flat(text)):
            phrase = " ".join(hit[0].split())
            places.append(f"{line + text.count(NEWLINE, 0, hit.start())}: {phrase} -> {instead(phrase)}")
    return places


def flat(text: str) -> str:
    """A text without line ends and underscores, of the same length."""
    return text.replace(NEWLINE, " ").replace("_", " ")


def instead(phrase: str) -> str:
    return next(words for pattern, words in INSTEAD.items() if re.search(pattern, phrase, re.IGNORECASE))


@cache
def everything() -> dict[str, list[str]]:
    found = ((path.relative_to(ROOT).as_posix(), stumbles(path)) for path in files())
    return {name: places for name, places in found if places}


def is_below(name: str, listed: str) -> bool:
    return name == listed or name.startswith(f"{listed}/")


def test_phrases_that_make_readers_stumble() -> None:
    cleaned = {
        name: places for name, places in everything().items() if not any(is_below(name, listed) for listed in TO_CLEAN)
    }
    assert not cleaned, "\n".join(f"{name}:{place}" for name, places in cleaned.items() for place in places)


@pytest.mark.parametrize("listed", TO_CLEAN)
def test_the_paths_to_clean_only_shrink(listed: str) -> None:
    assert any(is_below(name, listed) for name in everything()), "it is clean: remove it from TO_CLEAN"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The body is no JSON.", 1), ("There is no default.", 0), ("It is no longer there; there are no more.", 0), ("Started\nanew, for\never", 2),
        ("a bearer token, besides", 0), ("Whoever bears it", 2), ("recommend, amended", 0), ("Another than loopback", 1),
    ],
)  # fmt: skip
def test_what_is_found(text: str, number: int) -> None:
    hits = ANY.findall(flat(text))
    assert len(hits) == number
    assert all(instead(hit) for hit in hits)


def test_code_is_read_by_its_words(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text('def is_no_json(told):  # nobody\n    """Start\n    anew."""\n    return f"{told} mends {1}"\n')
    assert [place.split(" -> ")[0] for place in stumbles(file)] == [
        "1: is no", "1: told", "1: nobody", "3: anew", "4: told", "4: mends",
    ]  # fmt: skip
