"""Removes secrets from everything that is stored or shown: logs, raw HTTP files, recordings, mitmweb. Pure.

A secret is the value of a header field, JSON member, form field or query parameter whose name says so
(`ccproxy.secret_names`), anything that has the shape of a token (`sk-…`, JWTs, a few vendors' keys), and every value that
is known to be one (`server.auth_token`, configured API keys). When in doubt the rules remove too much: their output is
only read, never sent.

The work is linear in the size of the input, whatever the input is, and the result does not depend on how a body is cut
into chunks: `Redaction.data` is a stream that is fed once. A stream keeps at most `CARRY_OVER` bytes back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, quote_plus

from ccproxy.redaction.rules import CONTEXT, LONGEST_UNDECIDED, has_no_secret
from ccproxy.redaction.scanner import BLOCK, Scanner
from ccproxy.secret_names import is_secret_header

REDACTED: Final = "[redacted]"
SHORTEST_KNOWN: Final = 4
"""Characters of a known secret; shorter ones occur everywhere."""
CARRY_OVER: Final = CONTEXT + BLOCK + 2 * LONGEST_UNDECIDED
"""Bytes that a stream may keep back, besides the length of the longest known secret."""

_SCHEME: Final = re.compile(r"(bearer|basic|digest|negotiate)\s", re.IGNORECASE)


class Redaction:
    """The rules, and the secrets that are known by value.

        redaction = Redaction([settings.server.auth_token])
        redaction.text("Authorization: Bearer abc…")
        redaction.header("x-api-key", "…")               # "[redacted]"
        redaction.text("/callback?code=…&state=1")       # "/callback?code=[redacted]&state=1"

    Immutable, and safe to share between threads.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        """`known` are secrets of any shape; those of less than `SHORTEST_KNOWN` characters are ignored."""
        forms = set()
        for secret in known:
            if len(secret) >= SHORTEST_KNOWN:
                escaped = (json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False))
                forms |= {secret, *escaped, quote(secret, safe=""), quote_plus(secret)}
        # The longest first: one secret may begin like another.
        self._known = tuple(sorted((form.encode() for form in forms), key=len, reverse=True))
        self._pattern = re.compile(b"|".join(map(re.escape, self._known)))

    def text(self, text: str) -> str:
        """Redact any text: a log line, a URL, a JSON document, a header's value."""
        return self.data(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def data(self, data: bytes) -> bytes:
        """Redact any bytes: a body. Compressed bodies must be decoded first."""
        if has_no_secret(data) and not self._has_known(data):
            return data
        return self.stream().feed(data, final=True)

    def _has_known(self, data: bytes) -> bool:
        return any(form in data for form in self._known)

    def header(self, name: str, value: str) -> str:
        """Redact the value of a header field. The scheme of an authorization stays."""
        if not is_secret_header(name.encode("utf-8", "replace")):
            return self.text(value)
        scheme = _SCHEME.match(value)
        return f"{scheme[1]} {REDACTED}" if scheme else REDACTED

    def headers(self, fields: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        return [(name, self.header(name, value)) for name, value in fields]

    def stream(self) -> RedactedStream:
        """Redact a body that comes in chunks."""
        return RedactedStream(self._known, self._pattern)


class RedactedStream:
    """Redacts a body chunk by chunk, with the same result wherever the chunks begin and end.

    stream = redaction.stream()
    out = stream.feed(chunk) + … + stream.close()
    """

    __slots__ = ("_forms", "_held", "_longest", "_pattern", "_scanner")

    def __init__(self, forms: tuple[bytes, ...] = (), pattern: re.Pattern[bytes] | None = None) -> None:
        """`forms` are the known secrets, the longest first, `pattern` matches any of them."""
        self._forms = forms
        self._pattern = pattern
        self._longest = len(forms[0]) if forms else 0
        self._held = b""  # may be the beginning of a known secret
        self._scanner = Scanner(REDACTED.encode())

    @property
    def held(self) -> int:
        """Bytes that are held back until it is decided whether they are a secret's."""
        return len(self._held) + self._scanner.held

    def feed(self, chunk: bytes, *, final: bool = False) -> bytes:
        """Return as much of the body as is decided; all of it if nothing follows."""
        if self._forms:
            chunk = self._without_known(chunk, final=final)
        return self._scanner.feed(chunk, final=final)

    def close(self, *, truncated: bool = False) -> bytes:
        """Return the rest. `truncated`: the body goes on, so what may be the beginning of a secret is left out."""
        if not truncated:
            return self.feed(b"", final=True)
        self._held = b""
        return self._scanner.cut()

    def _without_known(self, chunk: bytes, *, final: bool) -> bytes:
        """Replace known secrets; hold back the end of the data where it may be the beginning of one."""
        assert self._pattern
        data = self._held + chunk
        end = len(data)
        partial = end if final else self._partial(data, 0)
        out: list[bytes] = []
        done = 0
        if any(form in data for form in self._forms):  # a hundred times as fast as a search for alternatives
            for match in self._pattern.finditer(data):
                if match.start() >= partial:
                    break
                out += [data[done : match.start()], REDACTED.encode()]
                done = match.end()
                if done > partial:
                    partial = self._partial(data, done)
        self._held = data[partial:]
        out.append(data[done:partial])
        return b"".join(out)

    def _partial(self, data: bytes, start: int) -> int:
        """The first position from which the data may be the beginning of a known secret; else the data's length."""
        end = len(data)
        first = end
        for form in self._forms:
            at = data.find(form[:1], max(start, end - len(form) + 1))
            while 0 <= at < first:
                if form.startswith(data[at:]):
                    first = at
                    break
                at = data.find(form[:1], at + 1)
        return first
