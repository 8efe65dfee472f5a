"""Free-text tools for formats that only have JSON arguments: `{"input": "<the text>"}`, wrapped and unwrapped while it streams."""

from __future__ import annotations

import re
from enum import Enum, auto
from json.decoder import scanstring  # type: ignore[attr-defined]  # typeshed leaves it out
from typing import Any

from ccproxy.translate.jsontext import Garbled, parse, quote

Json = dict[str, Any]

_OPENING = re.compile(r'\A\s*\{\s*"input"\s*:\s*"')
_OPENING_LIMIT = 1000
"""Characters before which the text has to begin; models write 10."""
_BEGUN_ESCAPE = re.compile(r"\\(?:u[0-9A-Fa-f]{0,3})?\Z")
_HIGH_SURROGATE = re.compile(r"\\u[Dd][89ABab][0-9A-Fa-f]{2}\Z")


def wrap_start() -> str:
    """The JSON before the text."""
    return '{"input":"'


def wrap_text(text: str) -> str:
    """A piece of the text, escaped for a JSON string."""
    return quote(text)[1:-1]


def wrap_end() -> str:
    """The JSON after the text."""
    return '"}'


def unwrap_object(text: str) -> Json:
    """The arguments of a call as an object; anything else is kept as text rather than lost."""
    if not text.strip():
        return {}
    try:
        value = parse(text)
    except Garbled:
        value = None
    return value if isinstance(value, dict) else {"_raw_arguments": text}


def unwrap_text(arguments: str) -> str:
    """The free text in the complete arguments of a call; the arguments themselves if the model did not follow the schema."""
    try:
        value = parse(arguments)
    except Garbled:
        return arguments
    if isinstance(value, dict) and isinstance(value.get("input"), str):
        free: str = value["input"]
        return free
    return arguments


class Unwrapper:
    """Takes the JSON in pieces, and returns the text in pieces as soon as it is certain."""

    __slots__ = ("_held", "_pieces", "_state")

    def __init__(self) -> None:
        self._held = ""  # JSON that is not decoded yet: the beginning, or an incomplete escape
        self._state = _State.OPENING
        self._pieces: list[str] = []

    @property
    def text(self) -> str:
        """All text so far."""
        return "".join(self._pieces)

    def feed(self, piece: str) -> str:
        """Take more JSON, and return the text that it adds: none before the text begins, or if the JSON is not as expected."""
        if self._state is _State.OVER:
            return ""
        json_text = self._held + piece
        if self._state is _State.OPENING:
            opening = _OPENING.match(json_text)
            if opening is None:
                self._held = json_text
                if len(json_text) > _OPENING_LIMIT:
                    self._held, self._state = "", _State.OVER
                return ""
            self._state = _State.INSIDE
            json_text = json_text[opening.end() :]
        return self._decoded(json_text)

    def close(self, arguments: str) -> str:
        """The call is complete: return the rest of the text."""
        if self._pieces:  # the rest cannot be decoded
            return ""
        text = unwrap_text(arguments)
        self._pieces.append(text)
        return text

    def _decoded(self, json_text: str) -> str:
        """The text in the JSON, up to the closing quote or an incomplete escape."""
        end = _complete(json_text)
        try:
            text, stop = scanstring(json_text[:end] + '"', 0, False)  # noqa: FBT003 - strict, by position only
        except ValueError:  # an invalid escape: the rest is uncertain
            self._held, self._state = "", _State.OVER
            return ""
        if stop <= end:
            self._held, self._state = "", _State.OVER
        elif _HIGH_SURROGATE.search(json_text, max(0, end - 6), end):  # the second half may follow
            self._held, text = json_text[end - 6 :], text[:-1]
        else:
            self._held = json_text[end:]
        if text:
            self._pieces.append(text)
        result: str = text
        return result


def _complete(json_text: str) -> int:
    """The length of the inside of a JSON string without an incomplete escape at its end."""
    escape = _BEGUN_ESCAPE.search(json_text, max(0, len(json_text) - 5))
    if escape is None:
        return len(json_text)
    before = json_text[: escape.start()]
    backslashes = len(before) - len(before.rstrip("\\"))
    return len(json_text) if backslashes % 2 else escape.start()  # if odd, this backslash is escaped itself


class _State(Enum):
    """The position in the JSON."""

    OPENING = auto()
    INSIDE = auto()
    OVER = auto()
