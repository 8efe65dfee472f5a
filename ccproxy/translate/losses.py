"""What a translation could not carry over, by JSON path and reason."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from ccproxy.errors import BadRequest

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_:-]{0,63}")
_HEADER_LIMIT = 4096


class Loss(NamedTuple):
    """Something that was asked for and is not told to the other side. `path` is a JSON path such as `tools[0].strict`."""

    path: str
    reason: str


class Losses:
    """Collects losses; with `strict` the first one refuses the request."""

    __slots__ = ("_seen", "strict")

    def __init__(self, *, strict: bool = False) -> None:
        self._seen: dict[str, str] = {}
        self.strict = strict

    def add(self, path: str, reason: str) -> None:
        """Note a loss, once a path. Raises `BadRequest` when strict."""
        if self.strict:
            raise BadRequest(f"{path}: {reason} (translate.strict is on)", param=path)
        self._seen.setdefault(path, reason)

    def note(self, path: str, reason: str) -> None:
        """Note a loss for which nobody is refused: the client may not even have asked for what is lost."""
        self._seen.setdefault(path, reason)

    def __iter__(self) -> Iterator[Loss]:
        return (Loss(path, reason) for path, reason in self._seen.items())

    def __len__(self) -> int:
        return len(self._seen)

    def merged(self, others: Losses) -> Losses:
        """These and the others."""
        both = Losses()
        for path, reason in (*self, *others):
            both.add(path, reason)
        return both

    def header(self) -> str:
        """The paths for `x-ccproxy-loss`: comma-separated, printable ASCII, at most 4 KB; `...` ends a list that was cut."""
        out, size = [], 0
        for path in self._seen:
            shown = path if path.isascii() and path.isprintable() else json.dumps(path)[1:-1].replace("\x7f", "?")
            size += len(shown) + 2
            if size > _HEADER_LIMIT - 5:
                out.append("...")
                break
            out.append(shown)
        return ", ".join(out)


def child(path: str, key: str) -> str:
    """The path of a member of an object."""
    if not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{json.dumps(key[:64])}]"
    return f"{path}.{key}" if path else key
