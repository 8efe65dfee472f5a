"""What a fake model says, turn by turn, whatever API it says it through."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

CACHED, WRITTEN, THOUGHT = 40, 10, 7
"""Tokens of every answer: read from the cache, written to it, spent on thinking."""


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call; its id follows from its place."""

    name: str
    arguments: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Said:
    """One turn of the model: thinking, then text, then calls."""

    thinking: str = ""
    text: str = ""
    calls: tuple[Call, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """An error answer: status, body, header fields."""

    status: int
    body: Json
    fields: tuple[tuple[str, str], ...] = ()


class Refused(Exception):
    """The request breaks a rule of the API."""


def fresh(turn: int) -> int:
    """Input tokens of a turn that were neither read from the cache nor written to it."""
    return 100 * (turn + 1)


def spent(turn: int) -> int:
    """Output tokens of a turn, thinking included."""
    return 20 + turn


def pieces(text: str, count: int = 3) -> list[str]:
    size = max(1, -(-len(text) // count))
    return [text[at : at + size] for at in range(0, len(text), size)]


def slices(data: bytes, size: int = 97) -> list[bytes]:
    """Cut where it hurts: inside of lines, events and characters."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def canonical(value: Any) -> bytes:
    """What counts of a request: not the spelling of its JSON, no marks for the cache, nothing that is null."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if v is not None and k != "cache_control"}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def demand(condition: object, message: str) -> None:
    if not condition:
        raise Refused(message)


def objects(value: Any) -> Iterator[Json]:
    """Every object inside of a value."""
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from objects(item)
    elif isinstance(value, list):
        for item in value:
            yield from objects(item)


def sse(name: str, data: Json) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
