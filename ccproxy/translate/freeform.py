"""Free-text tools where a format knows only JSON: `{"input": "<the text>"}`, wrapped and unwrapped while it streams."""

from __future__ import annotations

import re
from enum import Enum, auto
from json.decoder import scanstring  # type: ignore[attr-defined]  # typeshed leaves it out
from typing import Any

from ccproxy.translate.jsontext import Garbled, parse, quote

Json = dict[str, Any]

_OPENING = re.compile(r'\A\s*\{\s*"input"\s*:\s*"')
_OPENING_LIMIT = 1000
"""Characters in which the opening has to come; models write 10."""
_BEGUN_ESCAPE = re.compile(r"\\(?:u[0-9A-Fa-f]{0,3})?\Z")
_HIGH_SURROGATE = re.compile(r"\\u[Dd][89ABab][0-9A-Fa-f]{2}\Z")


def wrap_start() -> str:
    """The JSON before the text."""
    return '{"input":"'


def wrap_text(text: str) -> str:
    """A piece of the text as the inside of a JSON string."""
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
    """The free text in a call's whole arguments; the arguments themselves when the model did not keep to the schema."""
    try:
        value = parse(arguments)
    except Garbled:
        return arguments
    if isinstance(value, dict) and isinstance(value.get("input"), str):
        free: str = value["input"]
        return free
    return arguments


class Unwrapper:
    """Takes the JSON in pieces and gives the text in pieces, as soon as it is sure of it."""

    __slots__ = ("_given", "_held", "_state")

    def __init__(self) -> None:
        self._held = ""  # JSON that is not decoded yet: the beginning, or an escape that is not complete
        self._state = _State.OPENING
        self._given: list[str] = []

    @property
    def text(self) -> str:
        """All text given so far."""
        return "".join(self._given)

    def feed(self, piece: str) -> str:
        """More JSON; the text that it adds. Nothing while the opening is not complete, or is not the expected one."""
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
        """The call is whole: the text that is still missing."""
        if self._given:  # what could not be decoded of it then cannot be decoded now
            return ""
        text = unwrap_text(arguments)
        self._given.append(text)
        return text

    def _decoded(self, json_text: str) -> str:
        """The text in the JSON, up to the closing quote or an escape that is not complete."""
        end = _complete(json_text)
        try:
            text, stop = scanstring(json_text[:end] + '"', 0, False)  # noqa: FBT003 - strict, by position only
        except ValueError:  # an escape that JSON does not have: nothing after it is certain
            self._held, self._state = "", _State.OVER
            return ""
        if stop <= end:
            self._held, self._state = "", _State.OVER
        elif _HIGH_SURROGATE.search(json_text, max(0, end - 6), end):  # its other half may follow
            self._held, text = json_text[end - 6 :], text[:-1]
        else:
            self._held = json_text[end:]
        if text:
            self._given.append(text)
        result: str = text
        return result


def _complete(json_text: str) -> int:
    """The length of the inside of a JSON string without an escape that is begun at its end."""
    escape = _BEGUN_ESCAPE.search(json_text, max(0, len(json_text) - 5))
    if escape is None:
        return len(json_text)
    before = json_text[: escape.start()]
    backslashes = len(before) - len(before.rstrip("\\"))
    return len(json_text) if backslashes % 2 else escape.start()  # an odd number of them escapes this one


class _State(Enum):
    """How far the JSON has been read."""

    OPENING = auto()
    INSIDE = auto()
    OVER = auto()
