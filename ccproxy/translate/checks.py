"""Shape checks for what a client sent: the value, or a `BadRequest` that names the JSON path."""

from __future__ import annotations

from collections.abc import Callable, Set as AbstractSet
from typing import Any, TypeVar

from ccproxy.errors import BadRequest
from ccproxy.translate.losses import Losses, child

Json = dict[str, Any]
_T = TypeVar("_T")

UNKNOWN_FIELD = "unknown field"


def bad(path: str, message: str, code: str | None = None) -> BadRequest:
    """The error for a value that cannot be."""
    return BadRequest(f"{path}: {message}", param=path, code=code)


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
    found: int | None = _optional(value, path, int, "an integer")
    return found


def optional_number(value: object, path: str) -> float | None:
    found: float | None = _optional(value, path, (int, float), "a number")
    return found


def optional_bool(value: object, path: str) -> bool | None:
    found: bool | None = _optional(value, path, bool, "true or false")
    return found


def optional_object(value: object, path: str) -> Json:
    found: Json | None = _optional(value, path, dict, "an object")
    return found if found is not None else {}


def optional_list(value: object, path: str) -> list[Any]:
    found: list[Any] | None = _optional(value, path, list, "an array")
    return found if found is not None else []


def texts(value: object, path: str) -> list[str]:
    """A list of strings, or nothing."""
    return [text(item, f"{path}[{i}]") for i, item in enumerate(optional_list(value, path))]


def note_unknown(value: Json, known: AbstractSet[str], path: str, losses: Losses) -> None:
    """Report the members of an object that nobody reads. A null says nothing and is not missed."""
    for key in value.keys() - known:
        if value[key] is not None:
            losses.add(child(path, str(key)), UNKNOWN_FIELD)


def pick(table: dict[str, Callable[..., _T]], kind: object, path: str, what: str) -> Callable[..., _T]:
    """The reader for an object of this `type`; a 400 names an unknown one."""
    if isinstance(kind, str) and kind in table:
        return table[kind]
    raise bad(path, f"unknown {what} {kind!r}" if isinstance(kind, str) else f"{what} must be a string")
