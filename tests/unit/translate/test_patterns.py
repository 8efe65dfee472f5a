"""Every pattern of the translator takes time in proportion to the text, whatever the text is."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

import ccproxy.translate
from ccproxy.providers import json_edit
from tests.fakes.scaling import assert_linear_work

BOUNDED = {
    r"<(script|style)\b.*?</\1>|<[^>]*>": "a web page is cut to 500 characters first",
}
"""Patterns that see short texts only."""


def _modules() -> list[ModuleType]:
    names = [info.name for info in pkgutil.walk_packages(ccproxy.translate.__path__, "ccproxy.translate.")]
    return [json_edit, *map(importlib.import_module, names)]


def _patterns(value: Any) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _patterns(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _patterns(item)


PATTERNS = {
    pattern.pattern: pattern
    for module in _modules()
    for value in vars(module).values()
    for pattern in _patterns(value)
    if pattern.pattern not in BOUNDED
}
PIECES = [
    *"a_0-.%\\\"'~{[:,; \n\u00e9<>/=",
    "\\u",
    "\\ud83d",
    "%4",
    "%41",
    "a.",
    "a.0.",
    "0a",
    ' {"input":"',
    '{"input"',
    "\\\\",
    "gpt-5",
    "claude-a-1",
    "o1",
    "/o",
    '"type":"',
    '"type" : ',
    "data: ",
    "data:[DONE]",
    '"error" ',
    '"finish_reason" ',
    "Unsupported parameter: '",
    "prompt is too long",
    "exceeds the maximum ",
    "anthropic-ratelimit-",
    "x-ratelimit-limit-",
]


def test_the_patterns_are_found() -> None:
    assert len(PATTERNS) > 20


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=range(len(PATTERNS)))
def test_a_pattern_is_linear(pattern: re.Pattern[Any]) -> None:
    for piece in PIECES:
        for ending in ("", "!"):

            def prepare(n: int, piece: str = piece, ending: str = ending) -> Callable[[], object]:
                text: Any = piece * (n // len(piece)) + ending
                text = text.encode() if isinstance(pattern.pattern, bytes) else text

                def work() -> None:
                    pattern.search(text)
                    pattern.match(text)
                    pattern.fullmatch(text)
                    pattern.sub(text[:0], text)

                return work

            assert_linear_work(prepare, 5000)
