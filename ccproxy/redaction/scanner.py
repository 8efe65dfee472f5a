"""Finds secrets in a stream of bytes and replaces them, chunk by chunk. Pure.

The scanner is in one of two states. It *looks* for needles and lets their rules decide (`ccproxy.redaction.rules`), or it
*skips* the rest of a secret that has been replaced already, up to the first byte that cannot belong to it. So a secret of
any length needs no memory, and what is held back is bounded by `LONGEST_UNDECIDED`. The result does not depend on how
the stream is cut into chunks.
"""

from __future__ import annotations

import re
from typing import Final

from ccproxy.redaction.rules import (
    CONTEXT,
    LONGEST_NEEDLE,
    NEEDLE_BYTES,
    WAIT,
    Rest,
    Run,
    Secret,
    String,
    View,
    end_of_run,
    first_finds,
    first_parameter,
)

BLOCK: Final = 64 * 1024
"""Bytes that are scanned at a time: they fit into a processor's cache, and other threads get their turn in between."""

_STRINGS: Final = {
    b'"': re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL),
    b"'": re.compile(rb"(?:[^'\\]++|\\.)*+", re.DOTALL),
}
_NESTED: Final = {
    b'"': re.compile(rb'([^"\\]*+)(\\*+)("?)'),
    b"'": re.compile(rb"([^'\\]*+)(\\*+)('?)"),
}


class Scanner:
    """Replaces secrets in a stream of bytes; see the module.

    scanner = Scanner(b"[redacted]")
    out = scanner.feed(chunk) + … + scanner.feed(b"", final=True)
    """

    __slots__ = ("_at", "_data", "_enough", "_later", "_replacement", "_rest", "_started")

    def __init__(self, replacement: bytes) -> None:
        self._replacement = replacement
        self._data = b""  # context, then what is not decided
        self._at = 0  # where the latter begins
        self._rest: Rest | None = None  # of a secret that was replaced
        self._started = False  # the first bytes are decided
        self._later: list[bytes] = []  # chunks that came while a rule waits
        self._enough = 0  # how many bytes have to come before it is asked again; 0: none waits

    @property
    def held(self) -> int:
        """Bytes that are kept, context included."""
        return len(self._data) + sum(map(len, self._later))

    def feed(self, chunk: bytes, *, final: bool = False) -> bytes:
        """Return as much as is decided; all of it if nothing follows."""
        if not chunk and not final:
            return b""
        if self._enough > len(chunk) and not final:
            # Chunks may be single bytes: asking each time would be quadratic.
            self._later.append(chunk)
            self._enough -= len(chunk)
            return b""
        if self._later:
            chunk = b"".join([*self._later, chunk])
            self._later = []
        if len(chunk) <= BLOCK:
            return self._scan(chunk, final=final)
        blocks = [chunk[at : at + BLOCK] for at in range(0, len(chunk), BLOCK)]
        last = blocks.pop()
        return b"".join([*(self._scan(block, final=False) for block in blocks), self._scan(last, final=final)])

    def cut(self) -> bytes:
        """Return the rest of a body that goes on: what may be the beginning of a secret is left out."""
        self._started = True
        out = self._scan(b"".join(self._later), final=False)
        return out if self._rest or self._enough else out + self._data[self._at :]

    def _scan(self, block: bytes, *, final: bool) -> bytes:
        view = View(self._data + block, b"", final)
        out: list[bytes] = []
        self._enough = 0
        at = self._skip(view.data, self._at, out) if self._rest else self._at
        if self._rest is None and at < len(view.data):
            view.lower = view.data.lower()
            at = self._look(view, at, out)
        start = max(0, at - CONTEXT)
        self._data = view.data[start:]
        self._at = at - start
        return b"".join(out)

    def _look(self, view: View, at: int, out: list[bytes]) -> int:
        """Find secrets and replace them. Return the position up to which all is decided."""
        data = view.data
        if not self._started:
            verdict = first_parameter(view, at)
            if verdict == WAIT:
                return self._wait(view, at, at, out)
            self._started = True
            if isinstance(verdict, Secret):
                at = self._replace(view, verdict, at, out)
        finds = first_finds(view, at)
        while finds and self._rest is None:
            find = min(finds)
            position, number, needle = find
            start = at
            if position >= at:
                verdict = needle.rule(view, position)
                if verdict == WAIT:
                    return self._wait(view, position, at, out)
                if isinstance(verdict, Secret):
                    start = at = self._replace(view, verdict, at, out)
                else:
                    start = verdict
            finds.remove(find)
            if (position := needle.find(view, start)) >= 0:
                finds.append((position, number, needle))
        if self._rest:
            return at
        end = len(data)
        if not view.final:  # it may end with the beginning of a needle
            tail = data[max(at, end - LONGEST_NEEDLE) :]
            end -= len(tail) - len(tail.rstrip(NEEDLE_BYTES))
        out.append(data[at:end])
        return end

    def _replace(self, view: View, secret: Secret, at: int, out: list[bytes]) -> int:
        out += [view.data[at : secret.start], self._replacement]
        self._rest = secret.rest
        return self._skip(view.data, secret.end, out)

    def _wait(self, view: View, position: int, at: int, out: list[bytes]) -> int:
        out.append(view.data[at:position])
        self._enough = max(1, (len(view.data) - position) // 4)
        return position

    def _skip(self, data: bytes, at: int, out: list[bytes]) -> int:
        """Go to the end of a secret, or as far as there are bytes of it."""
        rest = self._rest
        if isinstance(rest, Run):
            at = end_of_run(rest.of, data, at)
            if at < len(data):
                self._rest = None
        elif isinstance(rest, String):
            if rest.depth == 0:
                at = end_of_run(_STRINGS[rest.quote], data, at)
                if data[at : at + 1] == rest.quote:
                    self._rest = None
            else:
                at = self._skip_nested(rest, data, at, out)
        return at

    def _skip_nested(self, rest: String, data: bytes, at: int, out: list[bytes]) -> int:
        """Go to the closing quote: the one with as many backslashes as the opening one, or fewer if an outer string ends.

        Within JSON that is `d` strings deep, a quote has `2**d - 1` backslashes, a backslash of the value is `2**d` of them.
        """
        depth = rest.depth
        while at < len(data):
            match = _NESTED[rest.quote].match(data, at)
            assert match
            if match.end(1) > at:
                rest.backslashes = 0
            rest.backslashes += len(match[2])
            at = match.end()
            if match[3]:
                surplus = rest.backslashes - depth
                if surplus < 0 or surplus // (depth + 1) % 2 == 0:
                    out.append(b"\\" * min(rest.backslashes, depth))
                    self._rest = None
                    return at - 1
                rest.backslashes = 0
        return at
