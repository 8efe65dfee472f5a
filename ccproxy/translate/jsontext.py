"""Reading and writing JSON with orjson, which takes a third to a fifth of the time of the standard library for a long conversation.

The standard library handles the rest: integers beyond 64 bits, which orjson reads as floats, and lone surrogates.

Reading is strict: NaN and numbers beyond the range of a float are errors. Writing succeeds for everything that was read and is not nested deeper than
`MAX_DEPTH`. A lone surrogate is written as an escape, because UTF-8 cannot represent it.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

_ORJSON_DEPTH = 254
"""Levels of arrays and objects that orjson writes. The limit of the standard library depends on the depth of the stack."""
MAX_DEPTH = 250
"""Levels that are written."""
MAX_READ_DEPTH = 200
"""Levels of values that become part of larger ones, which must be writable too."""

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
_sorted = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), sort_keys=True, check_circular=False).encode


class Garbled(Exception):
    """The text is not valid JSON. Only for input from an upstream, which then ends in an error."""


class NotANumber(ValueError):
    """A number that is not valid JSON, or that could not be written again."""


class TooDeep(ValueError):
    """A value is nested deeper than `MAX_DEPTH`."""


def refuse_constant(name: str) -> Any:
    """`parse_constant` for decoders: refuse NaN and infinities."""
    raise NotANumber(f"{name} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (math.inf, -math.inf):  # read as infinity, it could not be written again
        raise NotANumber(f"{digits[:20]} is too large a number")
    return value


STRICT = json.JSONDecoder(parse_constant=refuse_constant, parse_float=_finite)
"""Reads only values that can be written again."""
_scan = STRICT.scan_once  # type: ignore[attr-defined]  # public in CPython since 2.6, unknown to typeshed

_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_LONG = b"0" * 19
_NO_DIGIT = re.compile(rb"[^0]|\Z")
_BEFORE_NUMBERS = frozenset({b"", *(b":,[ \t\r\n-"[at : at + 1] for at in range(8))})


def exact(data: bytes) -> Any:
    """Any JSON value, read by orjson in a third of the time of the standard library.

    Raises ValueError for invalid JSON, and for values that orjson does not read exactly, such as integers beyond 64 bits: use `decode` for those.
    """
    digits = data.translate(_DIGITS)  # this and `find` take a twentieth of the time of a pattern
    at = digits.find(_LONG)
    while at >= 0:
        if digits[at - 1 : at] in _BEFORE_NUMBERS:  # else it is the end of a name, for example an id
            raise ValueError("perhaps an integer of more than 64 bits")
        end = _NO_DIGIT.search(digits, at)
        assert end is not None  # it also matches at the end
        at = digits.find(_LONG, end.start())
    return orjson.loads(data)


def decode(data: bytes) -> Any:
    """Any JSON value from UTF-8 (a byte order mark is skipped), read by the standard library.

    Raises ValueError (`json.JSONDecodeError`, `UnicodeDecodeError`, `NotANumber`, or plain for an integer of thousands of digits) or RecursionError.
    """
    return STRICT.decode(data.decode("utf-8-sig"))


quote = json.encoder.encode_basestring
"""A string as a JSON literal. Non-ASCII characters are not escaped."""


def parse(text: str) -> Any:
    """Any JSON value. Raises `Garbled`."""
    try:
        value, end = _scan(text, 0)
        if end == len(text) and end <= 2 * MAX_READ_DEPTH:  # most stream events: too short to be nested too deeply
            return value
        if end != len(text):  # white space or an error, which the full decoder distinguishes
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
    """The same for values that orjson does not write. Iterates level by level: a recursion would reach the interpreter's limit."""
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
    """JSON text of values that orjson does not write: integers beyond 64 bits, lone surrogates, other dict classes, deep nesting."""
    if _exceeds(value, MAX_DEPTH):
        raise TooDeep("it is nested too deeply")
    return _encode(value)


def canonical(value: Any) -> bytes:
    """JSON that is equal for equal values, in any order of keys."""
    return _sorted(value).encode()


def utf8(text: str) -> bytes:
    """JSON text as UTF-8. Only lone surrogates cannot be encoded, and JSON has the same escape for them."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")
