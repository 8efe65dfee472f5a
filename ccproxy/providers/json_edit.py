"""Changes to single top-level keys of a JSON object that leave every other byte as it was.

Re-printing a body would change escapes, number spellings and white space, on which upstreams' caches and signatures hang.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from json.decoder import JSONDecoder, scanstring  # type: ignore[attr-defined]  # typeshed leaves scanstring out
from typing import Any, Final

import orjson

from ccproxy.errors import BadRequest
from ccproxy.translate import jsontext

_DECODER: Final = JSONDecoder()
_SPACE: Final = " \t\n\r"
_HALF_PAIR: Final = re.compile("[\ud800-\udfff]")


class _Remove:
    """The type of `REMOVE`."""


REMOVE: Final = _Remove()
"""In `edited`: take the key out."""


@dataclass(frozen=True, slots=True)
class Member:
    """One key of the object and where it stands in the text."""

    key: str
    value: Any
    start: int
    """Where the key's quote is."""
    value_start: int
    end: int
    """Behind the value."""


def loads(body: bytes) -> Any:
    """Parse a body.

    Raises:
        BadRequest: it is no JSON; the message says where.

    """
    try:
        return jsontext.exact(body)
    except ValueError:
        pass
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _no_json(error) from None


def glance(body: bytes) -> Any:
    """What a body says, for looking at only: integers beyond 64 bits come as floats.

    Raises:
        BadRequest: it is no JSON; the message says where.

    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return loads(body)  # which says where, and reads what orjson does not, such as lone surrogates


def members(text: str) -> Iterator[Member]:
    """The top-level members of a JSON object, in order.

    Raises:
        BadRequest: the text is no JSON object; the message says where.

    """
    try:
        yield from _members(text)
    except (ValueError, RecursionError) as error:
        raise _no_json(error) from None


def _members(text: str) -> Iterator[Member]:
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        _DECODER.raw_decode(text, at)
        raise BadRequest("the body must be a JSON object")
    at = _skip(text, at + 1)
    more = text[at : at + 1] != "}"
    while more:
        start = at
        if text[at : at + 1] != '"':
            raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, at)
        key, at = scanstring(text, at + 1)
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise json.JSONDecodeError("Expecting ':' delimiter", text, at)
        value_start = _skip(text, at + 1)
        value, at = _DECODER.raw_decode(text, value_start)
        yield Member(key, value, start, value_start, at)
        at = _skip(text, at)
        more = text[at : at + 1] == ","
        if more:
            at = _skip(text, at + 1)
        elif text[at : at + 1] != "}":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
    if (end := _skip(text, at + 1)) != len(text):
        raise json.JSONDecodeError("Extra data", text, end)


def _no_json(error: ValueError | RecursionError) -> BadRequest:
    match error:
        case json.JSONDecodeError():
            where = f"{error.msg} at line {error.lineno}, column {error.colno}"
        case UnicodeDecodeError():
            where = f"byte {error.start} is no UTF-8"
        case _:
            where = "it is nested too deep, or has a number of too many digits"
    return BadRequest(f"the body is no JSON: {where}")


def edited(text: str, found: list[Member], changes: Mapping[str, object]) -> str:
    """`text` with the keys of `changes` set, added at the end, or removed (`REMOVE`); all else as it was."""
    out: list[str] = []
    position = 0
    missing = {key: value for key, value in changes.items() if value is not REMOVE}
    for index, member in enumerate(found):
        if member.key not in changes:
            continue
        value = changes[member.key]
        missing.pop(member.key, None)
        if value is not REMOVE:
            out += (text[position : member.value_start], _dumps(value))
            position = member.end
        elif index + 1 < len(found):
            out.append(text[position : member.start])
            position = found[index + 1].start
        else:  # the last member goes together with the comma before it, if one of those before stays
            out.append(text[position : member.start])
            position = member.end
    close = text.rindex("}")
    head = "".join(out) + text[position:close]
    tail = text[close:]
    if REMOVE in changes.values():
        head = _without_last_comma(head)
    for key, value in missing.items():
        stripped = head.rstrip(_SPACE)
        head = head + ("" if stripped.endswith("{") else ",") + f"{_dumps(key)}:{_dumps(value)}"
    return head + tail


def _without_last_comma(head: str) -> str:
    stripped = head.rstrip(_SPACE)
    return stripped[:-1] if stripped.endswith(",") else head


def _skip(text: str, at: int) -> int:
    while text[at : at + 1] and text[at] in _SPACE:
        at += 1
    return at


def _dumps(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # Half a surrogate pair is fine as an escape and cannot be written otherwise.
    return text if text.isascii() or not _HALF_PAIR.search(text) else json.dumps(value, separators=(",", ":"))
