"""Takes secrets out of what people may see: logs, raw HTTP files, dumps, mitmweb. Pure.

What is a secret: the header fields and the JSON, form and query names listed here, whatever has the shape of a token
(`sk-…`, JWTs, a few vendors' keys), and values that are known to be one (`server.auth_token`, configured API keys).
When in doubt the rules take too much: what they spoil is only read, never sent.

The rules work on bytes decoded as Latin-1, one character a byte, so that the same ones serve text and bodies of any
encoding. Each looks for a literal first: most data have none, and a search for a literal is a hundred times as fast as
one for a pattern.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

REDACTED = "[redacted]"

_SECRET_HEADERS = frozenset({"chatgpt-account-id", "cookie2"})
_SECRET_HEADER = re.compile(
    r"(?:.*[-_])?(?:token|secret|password|authorization|authentication|cookie|credentials?|api[-_]?key|apikey)",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"(bearer|basic|digest|negotiate)\s", re.IGNORECASE)

# Names of secret values, in lower case, and the words that they end with.
_NAMES = (
    r"(?:access|refresh|id|session|auth|oauth|bearer|csrf|security|x-ccproxy|[a-z0-9_]+_(?:auth|oauth|access))[-_]?token"
    r"|personal[-_]access[-_]token|(?:client[-_]?)?secret|(?:[a-z0-9]+[-_])*(?:api|secret|private|secret_access)[-_]?key"
    r"|code[-_]?verifier|device[-_]?code|password|passwd|passphrase"
    r"|(?:proxy-)?authorization|(?:set-)?cookie|chatgpt[-_]account[-_]id"
)
_ENDINGS = (
    *("token", "secret", "key", "verifier", "device_code", "device-code", "devicecode", "password", "passwd"),
    *("passphrase", "authorization", "cookie", "account_id", "account-id"),
)
_NAMED = re.compile(rf"(\\*[\"'])(?:{_NAMES})\Z", re.ASCII)
_VALUES = {
    '"': re.compile(r'("\s*:\s*")(?:[^"\\]|\\.)*(?:\\\Z)?', re.ASCII | re.DOTALL),
    "'": re.compile(r"('\s*:\s*')(?:[^'\\]|\\.)*(?:\\\Z)?", re.ASCII | re.DOTALL),
    # the same as text within JSON, at any depth
    "\\": re.compile(r"(\\+[\"'](?:\s|\\+[nrt])*:(?:\s|\\+[nrt])*\\+[\"'])[^\"'\\]*", re.ASCII),
}
_QUERY = rf"(?i:{_NAMES}|token|key|code|sig|signature|secret)="
_QUERY_VALUE = r"[^&\s\"'\\#<>]+"

# Where a token may begin: after nothing that belongs to a word. The letter of an escape (`\n`, `\u0020`, `%20`) is not.
_BEGINS = r"(?:(?<![A-Za-z0-9_-]{0})|(?<=\\[nrtbf]{0})|(?<=\\u[0-9A-Fa-f]{{4}}{0})|(?<=%[0-9A-Fa-f]{{2}}{0}))"

# (what must be there in lower case for the pattern to be worth a search, pattern, what stays of a match)
_PATTERNS = [
    (needle, re.compile(pattern, re.ASCII), kept + REDACTED)
    for needle, pattern, kept in (
        ("sk-", rf"sk-(?:ant-[A-Za-z0-9_-]+|{_BEGINS.format('sk-')}[A-Za-z0-9_-]{{8,}})", ""),
        ("eyj", r"eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{2,}(?:\.[A-Za-z0-9_-]*)*", ""),
        ("gh", r"gh[pousr]_[A-Za-z0-9]{16,}", ""),
        ("github_pat_", r"github_pat_[A-Za-z0-9_]{16,}", ""),
        ("aiza", r"AIza[A-Za-z0-9_-]{30,}", ""),
        ("akia", r"AKIA[A-Z0-9]{16}", ""),
        ("xox", r"xox[abeprs]-[A-Za-z0-9-]{8,}", ""),
        ("bearer", r"((?i:bearer)\s+)(?:(?=[^\s\"'\\]*[0-9])[A-Za-z0-9._~+/=-]{8,}|[A-Za-z0-9._~+/=-]{24,})", r"\1"),
        ("://", r"(://[^/\s\"'@:\\]*:)[^/\s\"'@\\]+(?=@)", r"\1"),
        ("?", rf"(\?{_QUERY}){_QUERY_VALUE}", r"\1"),
        ("&", rf"(&{_QUERY}){_QUERY_VALUE}", r"\1"),
        ("=", rf"(\A{_QUERY}){_QUERY_VALUE}", r"\1"),
    )
]

_TOKEN_END = re.compile(rb"[A-Za-z0-9._~+/=%-]{1,8192}\Z")


class Redaction:
    """The rules, and the secrets that are known by value.

        redaction = Redaction([settings.server.auth_token])
        redaction.text("Authorization: Bearer abc…")
        redaction.header("x-api-key", "…")               # "[redacted]"
        redaction.text("/callback?code=…&state=1")       # "/callback?code=[redacted]&state=1"

    Immutable, and safe to share between threads.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        """`known` are secrets of any shape; those of less than 4 characters would spoil everything and are left out."""
        forms = set()
        for secret in known:
            if len(secret) >= 4:
                escaped = (json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False))
                forms |= {secret, *escaped, quote(secret, safe=""), quote_plus(secret)}
        # The longest first: a secret may begin like another.
        self._known = sorted((form.encode().decode("latin-1") for form in forms), key=len, reverse=True)

    def text(self, text: str) -> str:
        """Any text: a log line, a URL, a JSON document, a header's value."""
        return self.data(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def data(self, data: bytes) -> bytes:
        """Any bytes: a body. What is compressed must be decoded before."""
        text = data.decode("latin-1")
        for secret in self._known:
            text = text.replace(secret, REDACTED)
        lower = text.lower()
        for needle, pattern, kept in _PATTERNS:
            if needle in lower:
                text = pattern.sub(kept, text)
        return _without_named_values(text).encode("latin-1")

    def header(self, name: str, value: str) -> str:
        """The value of a header field. The scheme of an authorization stays."""
        if name.lower() not in _SECRET_HEADERS and not _SECRET_HEADER.fullmatch(name.strip()):
            return self.text(value)
        scheme = _SCHEME.match(value)
        return f"{scheme[1]} {REDACTED}" if scheme else REDACTED

    def headers(self, fields: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        return [(name, self.header(name, value)) for name, value in fields]

    def stream(self) -> RedactedStream:
        """For a body that comes in pieces."""
        return RedactedStream(self)


class RedactedStream:
    """Redacts a body piece by piece, wherever the pieces are cut.

        stream = redaction.stream()
        out = stream.feed(chunk) + … + stream.close()

    It holds back what follows the last line end at which no secret can be cut in two: give it no more of a body than
    is fit to be held.
    """

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self._held: list[bytes] = []

    def feed(self, chunk: bytes) -> bytes:
        """The part of the body so far that is safe to be seen."""
        self._held.append(chunk)
        if b"\n" not in chunk:
            return b""
        data = b"".join(self._held)
        cut = _safe_cut(data)
        self._held = [data[cut:]]
        return self._redaction.data(data[:cut])

    def close(self, *, truncated: bool = False) -> bytes:
        """The rest. `truncated`: the body goes on, so that what looks like the beginning of a token is left out."""
        data = b"".join(self._held)
        self._held = []
        if truncated:
            data = _TOKEN_END.sub(b"", data)
        return self._redaction.data(data)


def _safe_cut(data: bytes) -> int:
    """Where to cut: after a line end, unless a name and its value may be on both sides of it."""
    end = len(data)
    for _ in range(64):
        end = data.rfind(b"\n", 0, end)
        if end < 0:
            return 0
        before = data[max(0, end - 64) : end].rstrip()
        if before and not before.endswith((b":", b'"', b"'", b"\\", b"=")) and not before.lower().endswith(b"bearer"):
            return end + 1
    return 0


def _without_named_values(text: str) -> str:
    """Replaces the values of secret names in JSON, in JSON within JSON, and as Python prints it."""
    out = []
    done = 0
    for name_end in _name_ends(text):
        if name_end < done:
            continue
        opening = _NAMED.search(text[max(0, name_end - 64) : name_end].lower())
        value = opening and _VALUES[opening[1][0]].match(text, name_end)
        if value:
            out += [text[done : value.end(1)], REDACTED]
            done = value.end()
    return "".join([*out, text[done:]]) if out else text


def _name_ends(text: str) -> Iterator[int]:
    """Where the names of secret values may end, ascending."""
    lower = text.lower()
    ends = set()
    for ending in _ENDINGS:
        at = lower.find(ending)
        while at >= 0:
            at += len(ending)
            if lower[at : at + 1] in {'"', "'", "\\"}:
                ends.add(at)
            at = lower.find(ending, at)
    return iter(sorted(ends))
