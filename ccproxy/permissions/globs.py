r"""Patterns in which `*` stands for any characters and `\*` for a star."""

from __future__ import annotations

import re

_STAR = re.compile(r"(?<!\\)\*")


class Glob:
    """A compiled pattern. Matching takes linear time, however many stars it has; a regular expression would not."""

    __slots__ = ("_first", "_last", "_middle")

    def __init__(self, pattern: str) -> None:
        first, *rest = (part.replace(r"\*", "*") for part in _STAR.split(pattern))
        self._first = first
        self._middle = rest[:-1]
        self._last = rest[-1] if rest else None

    def matches(self, text: str) -> bool:
        """Return whether the whole text fits."""
        if self._last is None:
            return text == self._first
        start, end = len(self._first), len(text) - len(self._last)
        if start > end or not text.startswith(self._first) or not text.endswith(self._last):
            return False
        for part in self._middle:
            start = text.find(part, start, end)
            if start < 0:
                return False
            start += len(part)
        return True


def has_star(pattern: str) -> bool:
    """Return whether the pattern fits more than one text."""
    return _STAR.search(pattern) is not None


def literal(text: str) -> str:
    """The pattern that fits this text alone."""
    return text.replace("*", r"\*")
