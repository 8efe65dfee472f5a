"""Changes of single top-level keys in a JSON object that preserve every other byte.

Serializing a body again would change escapes, numbers and white space, on which upstreams' caches and signatures depend.
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

_SPACE: Final = " \t\n\r"
_SPACES: Final = re.compile(r"[ \t\n\r]*+")
_MAX_MEMBERS: Final = 1000
"""Top-level keys of a body. The largest requests of any API have about sixty."""
_LENIENT: Final = JSONDecoder(parse_constant=jsontext.refuse_constant)


class _Remove:
    """The type of `REMOVE`."""


REMOVE: Final = _Remove()
"""In `edited`: remove the key."""


@dataclass(frozen=True, slots=True)
class Member:
    """One key of the object and its position in the text."""

    key: str
    value: Any
    start: int
    """Position of the key's opening quote."""
    value_start: int
    end: int
    """Position after the value."""


def loads(body: bytes) -> Any:
    """Parse a body to be translated.

    Raises:
        BadRequest: it is not valid JSON, or contains a number that could not be written again. The message has the position.

    """
    try:
        return jsontext.exact(body)
    except ValueError:
        pass  # the decoder below reads more, and explains the error
    try:
        return jsontext.decode(body)
    except (ValueError, RecursionError) as error:
        raise _invalid(error) from None


def glance(body: bytes) -> Any:
    """Parse a body that is forwarded unchanged. Numbers may lose digits.

    Raises:
        BadRequest: it is not valid JSON. The message has the position.

    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass  # the standard library also reads lone surrogates and large numbers, and finds the position of an error
    try:
        return _LENIENT.decode(body.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise _invalid(error) from None


def members(text: str) -> Iterator[Member]:
    """The top-level members of a JSON object, in order.

    Raises:
        BadRequest: the text is not a JSON object, or has too many members. The message has the position.

    """
    try:
        yield from _members(text)
    except (ValueError, RecursionError) as error:
        raise _invalid(error) from None


def _members(text: str) -> Iterator[Member]:
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        jsontext.STRICT.raw_decode(text, at)
        raise BadRequest("The request body must be a JSON object")
    at = _skip(text, at + 1)
    more = text[at : at + 1] != "}"
    count = 0
    while more:
        count += 1
        if count > _MAX_MEMBERS:
            raise BadRequest(f"The request body may have at most {_MAX_MEMBERS} top-level keys")
        start = at
        if text[at : at + 1] != '"':
            raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, at)
        key, at = scanstring(text, at + 1)
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise json.JSONDecodeError("Expecting ':' delimiter", text, at)
        value_start = _skip(text, at + 1)
        value, at = jsontext.STRICT.raw_decode(text, value_start)
        yield Member(key, value, start, value_start, at)
        at = _skip(text, at)
        more = text[at : at + 1] == ","
        if more:
            at = _skip(text, at + 1)
        elif text[at : at + 1] != "}":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
    if (end := _skip(text, at + 1)) != len(text):
        raise json.JSONDecodeError("Extra data", text, end)


def _invalid(error: ValueError | RecursionError) -> BadRequest:
    match error:
        case json.JSONDecodeError():
            where = f"{error.msg} at line {error.lineno}, column {error.colno}"
        case UnicodeDecodeError():
            where = f"byte {error.start} is not UTF-8"
        case jsontext.NotANumber():
            where = str(error)
        case RecursionError():
            where = "it is nested too deeply"
        case _:
            where = "a number has too many digits"
    return BadRequest(f"The request body is not valid JSON: {where}")


def edited(text: str, parts: list[Member], changes: Mapping[str, object]) -> str:
    """Return `text`, whose members are `parts`, with `changes` applied: keys are replaced, added at the end, or removed (`REMOVE`).

    Raises:
        BadRequest: a new value is nested too deeply.

    """
    out: list[str] = []
    position = 0
    missing = {key: value for key, value in changes.items() if value is not REMOVE}
    for index, member in enumerate(parts):
        if member.key not in changes:
            continue
        value = changes[member.key]
        missing.pop(member.key, None)
        if value is not REMOVE:
            out += (text[position : member.value_start], _dumps(value))
            position = member.end
        elif index + 1 < len(parts):
            out.append(text[position : member.start])
            position = parts[index + 1].start
        else:  # the last member: the comma before it may have to be removed too
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
    spaces = _SPACES.match(text, at)
    assert spaces is not None  # it also matches nothing
    return spaces.end()


def _dumps(value: object) -> str:
    try:
        return jsontext.dump_bytes(value).decode()  # a lone surrogate is written as an escape
    except jsontext.TooDeep:
        raise BadRequest("The request body is nested too deeply") from None
