"""Losses of a translation, by JSON path and reason."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ccproxy.errors import BadRequest

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_:-]{0,63}")
_KEY_LIMIT = 64
MAX_PATH = 1000
"""Characters of a JSON path in a loss or an error."""
HEADER_LIMIT = 4096
_MORE = "..."


class Loss(NamedTuple):
    """A part of a request or answer that was left out. `path` is a JSON path such as `tools[0].strict`, in printable ASCII."""

    path: str
    reason: str


class Losses:
    """Collects losses. With `strict`, the first one refuses the request."""

    __slots__ = ("_reasons", "strict")

    def __init__(self, *, strict: bool = False) -> None:
        self._reasons: dict[str, str] = {}
        self.strict = strict

    def add(self, path: str, reason: str) -> None:
        """Note a loss, once per path. Raises `BadRequest` if `strict`."""
        path = printable(path)
        if self.strict:
            raise BadRequest(f"{path}: {reason} (translate.strict is on)", param=path)
        self._reasons.setdefault(path, reason)

    def note(self, path: str, reason: str) -> None:
        """Note a loss that never refuses a request, because the client may not have asked for what is lost."""
        self._reasons.setdefault(printable(path), reason)

    def __iter__(self) -> Iterator[Loss]:
        return (Loss(path, reason) for path, reason in self._reasons.items())

    def merged(self, others: Losses) -> Losses:
        """These and the others."""
        both = Losses()
        for path, reason in (*self, *others):
            both.add(path, reason)
        return both

    def header(self) -> str:
        """The value of `x-ccproxy-loss`, see `loss_header`."""
        return loss_header(self._reasons)


def loss_header(paths: Iterable[str]) -> str:
    """The value of `x-ccproxy-loss`: comma-separated paths in printable ASCII, at most 4 KB. A shortened list ends in `...`."""
    shown: list[str] = []
    size = 0
    for path in paths:
        text = printable(path)
        size += len(text) + 2
        if size > HEADER_LIMIT - len(_MORE):
            shown.append(_MORE)
            break
        shown.append(text)
    return ", ".join(shown)


def printable(path: str) -> str:
    """A path of at most `MAX_PATH` characters in printable ASCII without commas; other characters are escaped as in JSON.

    The keys in it come from the client, and it becomes part of a header.
    """
    if len(path) <= MAX_PATH and path.isascii() and path.isprintable() and "," not in path:
        return path
    text = json.dumps(path[:MAX_PATH])[1:-1] if not (path.isascii() and path.isprintable()) else path
    text = text.replace("\x7f", "\\u007f").replace(",", "\\u002c")
    return text if len(text) <= MAX_PATH and len(path) <= MAX_PATH else text[: MAX_PATH - len(_MORE)] + _MORE


def child(path: str, key: str) -> str:
    """The path of a member of an object."""
    if not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{json.dumps(key[:_KEY_LIMIT])}]"
    return f"{path}.{key}" if path else key
