"""Free-text tools where a format knows only JSON: `{"input": "<the text>"}`, wrapped and unwrapped while it streams."""

from __future__ import annotations

import json
import re
from typing import Any

from ccproxy.translate.jsontext import Garbled, parse, quote

Json = dict[str, Any]

_OPENING = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_ESCAPE_LENGTHS = {"u": 6}


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
    """The arguments of a call as an object; what is none is kept as text rather than lost."""
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
        found: str = value["input"]
        return found
    return arguments


class Unwrapper:
    """Takes the JSON in pieces and gives the text in pieces, as soon as it is sure of it."""

    __slots__ = ("_held", "_open", "given")

    def __init__(self) -> None:
        self._held = ""
        self._open = False
        self.given = ""
        """All text given so far."""

    def feed(self, piece: str) -> str:
        """More JSON; the text that it adds. Nothing while the opening is not complete, or is not the expected one."""
        self._held += piece
        if not self._open:
            found = _OPENING.match(self._held)
            if found is None:
                return ""
            self._open = True
            self._held = self._held[found.end() :]
        text = self._take()
        self.given += text
        return text

    def close(self, arguments: str) -> str:
        """The call is whole: the text that is still missing."""
        whole = unwrap_text(arguments)
        missing = whole[len(self.given) :] if whole.startswith(self.given) else ""
        self.given += missing
        return missing

    def _take(self) -> str:
        """The decoded part of what is held, up to the closing quote or an escape that is not complete."""
        end, length = 0, len(self._held)
        while end < length:
            char = self._held[end]
            if char == '"':
                break
            if char == "\\":
                step = _ESCAPE_LENGTHS.get(self._held[end + 1 : end + 2], 2)
                if end + step > length or self._splits_pair(end, step, length):
                    break
                end += step
            else:
                end += 1
        taken, self._held = self._held[:end], self._held[end:]
        try:
            text: str = json.loads(f'"{taken}"', strict=False)
        except ValueError:
            return ""
        return text

    def _splits_pair(self, end: int, step: int, length: int) -> bool:
        """Would the first half of a surrogate pair be decoded alone?"""
        escape = self._held[end : end + step]
        return step == 6 and escape[2:4].lower() in ("d8", "d9", "da", "db") and end + 12 > length
