"""JSON in and out, by orjson, which takes a third to a fifth of the time for a long conversation.

The standard library does what orjson reads differently (it makes floats of integers beyond 64 bits) or not at all, and what it does not write.

Reading is strict (no NaN) and turns every failure into one declared error. Writing succeeds for everything that was read and is not nested deeper than
`MAX_DEPTH`: a lone surrogate, which JSON can name but UTF-8 cannot hold, goes out as an escape.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

_ORJSON_DEPTH = 254
"""Levels of arrays and objects that orjson writes. The standard library's limit depends on the caller's own depth."""
MAX_DEPTH = 250
"""Levels that are written."""
MAX_READ_DEPTH = 200
"""Levels that are read where the value becomes part of a larger one, which must be writable too."""

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
_sorted = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), sort_keys=True, check_circular=False).encode


class Garbled(Exception):
    """The text is not JSON. Only for upstream input, where it becomes an error event."""


class NotANumber(ValueError):
    """A number that JSON does not have, or that cannot be written again."""


class TooDeep(ValueError):
    """A value is nested deeper than `MAX_DEPTH`."""


def refuse_constant(name: str) -> Any:
    """`parse_constant` for decoders: NaN and the infinities are JavaScript."""
    raise NotANumber(f"{name} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (math.inf, -math.inf):  # read as infinity, it could not be written again
        raise NotANumber(f"{digits[:20]} is too large a number")
    return value


STRICT = json.JSONDecoder(parse_constant=refuse_constant, parse_float=_finite)
"""Reads what can be written again."""
_scan = STRICT.scan_once  # type: ignore[attr-defined]  # public in CPython since 2.6, unknown to typeshed

_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_LONG = b"0" * 19
_NO_DIGIT = re.compile(rb"[^0]|\Z")
_BEFORE_NUMBERS = frozenset({b"", *(b":,[ \t\r\n-"[at : at + 1] for at in range(8))})


def exact(data: bytes) -> Any:
    """Any JSON value, read by orjson in a third of the time that the standard library takes.

    Raises ValueError for invalid JSON, and for what orjson would read differently or not at all (integers beyond 64 bits become floats there): read
    that with the standard library.
    """
    digits = data.translate(_DIGITS)  # this and `find` take a twentieth of the time that a pattern takes
    at = digits.find(_LONG)
    while at >= 0:
        if digits[at - 1 : at] in _BEFORE_NUMBERS:  # else it is the end of a name, such as an id
            raise ValueError("perhaps an integer of more than 64 bits")
        end = _NO_DIGIT.search(digits, at)
        assert end is not None  # it matches at the end, too
        at = digits.find(_LONG, end.start())
    return orjson.loads(data)


def decode(data: bytes) -> Any:
    """Any JSON value from UTF-8 (a byte order mark is skipped), read by the standard library: what `exact` does not read.

    Raises ValueError (`json.JSONDecodeError`, `UnicodeDecodeError`, `NotANumber`, or plain for an integer of thousands of digits) or RecursionError.
    """
    return STRICT.decode(data.decode("utf-8-sig"))


quote = json.encoder.encode_basestring
"""A string as a JSON literal, non-ASCII left as it is."""


def parse(text: str) -> Any:
    """Any JSON value. Raises `Garbled`."""
    try:
        value, end = _scan(text, 0)
        if end == len(text) and end <= 2 * MAX_READ_DEPTH:  # most stream events: too short to be nested too deeply
            return value
        if end != len(text):  # white space around it, or a fault: the full decoder tells which
            value = STRICT.decode(text)
    except (StopIteration, ValueError, RecursionError):
        try:
            value = STRICT.decode(text)
        except (ValueError, RecursionError) as error:
            raise Garbled(str(error)) from error
    if text.count("[") + text.count("{") > MAX_READ_DEPTH and is_deep(value):
        raise Garbled("it is nested too deeply")
    return value


def parse_bytes(data: bytes) -> Any:
    """Any JSON value from UTF-8 (a byte order mark is skipped). Raises `Garbled`."""
    try:
        value = exact(data)
    except ValueError:
        try:
            value = decode(data)
        except (ValueError, RecursionError) as error:
            raise Garbled(str(error)) from error
    if len(data) > 2 * MAX_READ_DEPTH and data.count(b"[") + data.count(b"{") > MAX_READ_DEPTH and is_deep(value):
        raise Garbled("it is nested too deeply")
    return value


def is_deep(value: Any, limit: int = MAX_READ_DEPTH) -> bool:
    """Is a value nested deeper than `limit`?"""
    wrapped = value
    for _ in range(_ORJSON_DEPTH - limit):
        wrapped = [wrapped]
    try:
        orjson.dumps(wrapped)  # it counts levels twenty times as fast as the loops below
        return False
    except TypeError:
        return _exceeds(value, limit)


def _exceeds(value: Any, limit: int) -> bool:
    """The same for values that orjson does not write. Goes level by level, because a recursion would meet the interpreter's limit first."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(limit):
        inner: list[Any] = []
        for part in level:
            for member in part.values() if part.__class__ is dict else part:
                kind = member.__class__
                if kind is dict or kind is list:
                    inner.append(member)
        if not inner:
            return False
        level = inner
    return True


def dump(value: Any) -> str:
    """Compact JSON text. Raises `TooDeep`."""
    try:
        return orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_SUBCLASS).decode()
    except TypeError:  # as below
        return _written(value)


def dump_bytes(value: Any) -> bytes:
    """Compact JSON in UTF-8. Raises `TooDeep`."""
    try:
        return orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_SUBCLASS)
    except TypeError:  # as below
        return utf8(_written(value))


def _written(value: Any) -> str:
    """What orjson does not write: integers beyond 64 bits, lone surrogates, dicts of other classes, very deep nesting."""
    if _exceeds(value, MAX_DEPTH):
        raise TooDeep("it is nested too deeply")
    return _encode(value)


def canonical(value: Any) -> bytes:
    """JSON that is equal for equal values, whatever the order of their keys."""
    return _sorted(value).encode()


def utf8(text: str) -> bytes:
    """UTF-8 of text that is JSON already. A lone surrogate, all that UTF-8 cannot hold, becomes its escape, which JSON writes in the same way."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")
