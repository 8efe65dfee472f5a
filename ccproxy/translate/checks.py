"""Checks of values in a client's request: each returns the value, or raises `BadRequest` with the JSON path."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set as AbstractSet
from typing import Any, TypeVar

from ccproxy.errors import BadRequest
from ccproxy.translate.jsontext import MAX_READ_DEPTH
from ccproxy.translate.losses import Losses, child, printable

Json = dict[str, Any]
_T = TypeVar("_T")

UNKNOWN_FIELD = "unknown field"
_SHOWN = 64
"""Characters of a client's text that an error quotes."""
_SHOWN_LEVELS = 16
"""Levels of the path in an error about depth."""


def bad(path: str, message: str, code: str | None = None) -> BadRequest:
    """The error for a value that is not accepted."""
    path = printable(path)
    return BadRequest(f"{path}: {message}", param=path, code=code)


def quoted(value: object) -> str:
    """A value for an error message: text in quotes, or the type of anything else."""
    if isinstance(value, str):
        return repr(value if len(value) <= _SHOWN else value[:_SHOWN] + "...")
    return {dict: "an object", list: "an array", bool: "a boolean", type(None): "null"}.get(type(value), "a number")


def too_deep(body: Json) -> BadRequest:
    """The error for a request that is nested deeper than `jsontext.MAX_READ_DEPTH`, with the beginning of the path to the deepest value."""
    path = ""
    for key in _deepest(body)[:_SHOWN_LEVELS]:
        path = child(path, key) if isinstance(key, str) else f"{path}[{key}]"
    return bad(path or "the request body", f"is nested too deeply: at most {MAX_READ_DEPTH} levels are accepted")


def _deepest(value: object) -> list[str | int]:
    """The keys that lead to a value that is nested too deeply."""
    keys: list[str | int] = []
    members: list[Iterator[tuple[str | int, object]]] = [_members(value)]
    while members and len(keys) <= MAX_READ_DEPTH:
        key, inner = next(members[-1], (None, None))
        if key is None:
            members.pop()
            if keys:
                keys.pop()
        else:
            keys.append(key)
            members.append(_members(inner))
    return keys


def _members(value: object) -> Iterator[tuple[str | int, object]]:
    if isinstance(value, dict):
        return iter(value.items())
    return iter(enumerate(value)) if isinstance(value, list) else iter(())


def an_object(value: object, path: str) -> Json:
    if isinstance(value, dict):
        return value
    raise bad(path, "must be an object")


def a_list(value: object, path: str) -> list[Any]:
    if isinstance(value, list):
        return value
    raise bad(path, "must be an array")


def text(value: object, path: str) -> str:
    if isinstance(value, str):
        return value
    raise bad(path, "must be a string")


def _optional(value: object, path: str, kind: type[_T] | tuple[type, ...], name: str) -> Any:
    if value is None:
        return None
    if isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool):
        return value
    raise bad(path, f"must be {name}")


def optional_text(value: object, path: str) -> str:
    return _optional(value, path, str, "a string") or ""


def optional_int(value: object, path: str) -> int | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    number: int | None = _optional(value, path, int, "an integer")
    return number


def optional_number(value: object, path: str) -> float | None:
    number: float | None = _optional(value, path, (int, float), "a number")
    return number


def optional_bool(value: object, path: str) -> bool | None:
    switch: bool | None = _optional(value, path, bool, "true or false")
    return switch


def optional_object(value: object, path: str) -> Json:
    members: Json | None = _optional(value, path, dict, "an object")
    return members if members is not None else {}


def optional_list(value: object, path: str) -> list[Any]:
    items: list[Any] | None = _optional(value, path, list, "an array")
    return items if items is not None else []


def texts(value: object, path: str) -> list[str]:
    """A list of strings, which may be missing."""
    return [text(item, f"{path}[{i}]") for i, item in enumerate(optional_list(value, path))]


def note_unknown(value: Json, expected: AbstractSet[str], path: str, losses: Losses) -> None:
    """Note a loss for each member that the translator does not read, unless it is null."""
    if value.keys() <= expected:
        return
    for key, member in value.items():
        if key not in expected and member is not None:
            losses.add(child(path, str(key)), UNKNOWN_FIELD)


def pick(table: dict[str, Callable[..., _T]], kind: object, path: str, what: str) -> Callable[..., _T]:
    """The reader for an object of this `type`. Raises `BadRequest` for an unknown one."""
    if isinstance(kind, str) and kind in table:
        return table[kind]
    raise bad(path, f"unknown {what} {quoted(kind)}" if isinstance(kind, str) else f"{what} must be a string")
