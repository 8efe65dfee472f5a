r"""The shapes of secrets in bytes: needles, and the rules that decide about them. Pure.

A needle is a few literal bytes, such as `eyJ` or `token`, at or before the beginning of a secret. When one occurs, its
rule decides: no secret, a secret that begins here, or `WAIT`.

- A rule that would need bytes which have not come yet says `WAIT`, and is asked again with more. Rules look at most
  `LONGEST_UNDECIDED` bytes ahead and `CONTEXT` bytes back, at bytes as they came in.
- The work is linear: a rule that refuses a needle says from where to look again, so that no rule reads a byte more than
  a few times. Repetitions within patterns are possessive, or end at a byte that cannot begin them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from ccproxy.secret_names import SECRET_HEADERS, is_secret_query

CONTEXT: Final = 128
"""Bytes before the current position that rules may look back at."""
LONGEST_UNDECIDED: Final = 8192
"""Bytes from a needle up to where its rule must have decided. The header of a JWT is the longest such part."""
_LONGEST_NAME: Final = 64
_LONGEST_BLANK: Final = 64
_LONGEST_SEPARATOR: Final = 256
_LONGEST_USERINFO: Final = 1024

_DIGITS: Final = re.compile(rb"[0-9]")
_WORD: Final = re.compile(rb"[A-Za-z0-9_-]*")
_JWT: Final = re.compile(rb"[A-Za-z0-9_.-]*")
_ALPHANUMERIC: Final = re.compile(rb"[A-Za-z0-9]*")
_IDENTIFIER: Final = re.compile(rb"[A-Za-z0-9_]*")
_UPPER: Final = re.compile(rb"[A-Z0-9]*")
_DASHED: Final = re.compile(rb"[A-Za-z0-9-]*")
_BEARER: Final = re.compile(rb"[A-Za-z0-9._~+/=%-]*")
_BLANKS: Final = re.compile(rb"\s*")
_USER: Final = re.compile(rb"[^/?#\s\"'@:\\]*")
_USERINFO: Final = re.compile(rb"[^/?#\s\"'\\]*")
_QUERY_NAME: Final = re.compile(rb"[A-Za-z0-9_.~%-]*")
_QUERY_VALUE: Final = re.compile(rb"[^&\s\"'\\#<>]*")
_ESCAPE: Final = re.compile(rb"(?:\\[nrtbf]|\\u[0-9A-Fa-f]{4}|%[0-9A-Fa-f]{2})\Z")
"""The letter at the end of an escape does not belong to the word that follows it."""

_MEMBER_NAME: Final = re.compile(
    rb"(?:x-)?(?:access|refresh|id|session|auth|oauth|bearer|csrf|security|ccproxy|[a-z0-9_]+_(?:auth|oauth|access))[-_]?token"
    rb"|personal[-_]access[-_]token|(?:client[-_]?)?secret"
    rb"|(?:[a-z0-9]+[-_])*(?:api|secret|private|access|secret_access|subscription)[-_]?key"
    rb"|code[-_]?verifier|device[-_]?code|password|passwd|passphrase"
    rb"|(?:proxy-)?authorization|(?:set-)?cookie|chatgpt[-_]account[-_]id"
)
"""Names of JSON members and form fields whose values are secrets, in lower case; `SECRET_HEADERS` are, too."""
_MEMBER_ENDINGS: Final = (
    *(b"token", b"secret", b"key", b"verifier", b"device_code", b"device-code", b"devicecode", b"password", b"passwd"),
    *(b"passphrase", b"authorization", b"cookie", b"account_id", b"account-id"),
)
_SEPARATOR: Final = re.compile(rb"\\*([\"'])(?:\s|\\++[nrt])*+:(?:\s|\\++[nrt])*+(\\*+)(\1)")
"""From the quote after a member's name to the one before its value; JSON within JSON has backslashes before each."""
_SEPARATOR_BYTES: Final = re.compile(rb"[\\\"'\s:nrt]*")
NEEDLE_BYTES: Final = bytes(range(0x30, 0x3A)) + b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-:/\\&?;"
"""All that needles consist of."""
LONGEST_NEEDLE: Final = 16

WAIT: Final = -1
"""A rule cannot decide before more bytes have come."""


@dataclass(slots=True)
class Run:
    """The rest of a secret: a run of certain bytes."""

    of: re.Pattern[bytes]


@dataclass(slots=True)
class String:
    """The rest of a secret: a string in JSON, or within a string of JSON."""

    quote: bytes
    depth: int
    """Backslashes before the string's own quotes."""
    backslashes: int = 0
    """Those right before the current position."""


Rest = Run | String


@dataclass(slots=True)
class Secret:
    """A rule's find."""

    start: int
    """Its first byte: everything before it stays."""
    end: int
    """The end of the part that certainly belongs to it."""
    rest: Rest | None


Verdict = Secret | int
"""A secret, `WAIT`, or the position from which to look for the needle again."""


@dataclass(slots=True)
class View:
    """The bytes that rules look at."""

    data: bytes
    lower: bytes
    final: bool
    """Nothing follows."""

    def open(self, at: int) -> bool:
        """Return whether a run of bytes that reaches `at` may continue in the next chunk."""
        return at == len(self.data) and not self.final


def end_of_run(run: re.Pattern[bytes], data: bytes, start: int) -> int:
    """Return the end of a run of the bytes that a pattern allows; the pattern also matches an empty run."""
    match = run.match(data, start)
    assert match
    return match.end()


# ---- rules: each gets a needle's position


def _token(prefix: int, run: re.Pattern[bytes], least: int) -> Callable[[View, int], Verdict]:
    """A token that begins with `prefix` bytes and goes on for `least` of a run or more."""

    def rule(view: View, at: int) -> Verdict:
        needed = at + prefix + least
        match = run.match(view.data, at + prefix, needed)
        assert match
        if match.end() == needed:
            return Secret(at, needed, Run(run))
        return WAIT if view.open(match.end()) else at + 1

    return rule


_sk_ant = _token(7, _WORD, 1)
_sk_other = _token(3, _WORD, 8)


def _sk(view: View, at: int) -> Verdict:
    """`sk-ant-…` anywhere, `sk-…` where a word begins."""
    data = view.data
    vendor = data[at + 3 : at + 7]
    if vendor == b"ant-":
        return _sk_ant(view, at)
    if b"ant-".startswith(vendor) and view.open(at + 3 + len(vendor)):
        return WAIT
    if at and _WORD.fullmatch(data, at - 1, at) and not _ESCAPE.search(data, max(0, at - 6), at):
        return at + 3
    return _sk_other(view, at)


def _jwt(view: View, at: int) -> Verdict:
    """`eyJ` is what base64 makes of `{"`. A dot and more must follow, else it is just data, of which there may be much."""
    data = view.data
    dot = end_of_run(_WORD, data, at + 3)
    if dot - at > LONGEST_UNDECIDED:
        return dot - LONGEST_UNDECIDED
    if view.open(dot):
        return WAIT
    if dot < at + 7 or data[dot : dot + 1] != b".":
        return dot
    second = _WORD.match(data, dot + 1, dot + 3)
    assert second
    if second.end() == dot + 3:
        return Secret(at, dot + 3, Run(_JWT))
    return WAIT if view.open(second.end()) else dot


def _slack(view: View, at: int) -> Verdict:
    """`xoxb-…` and its kin."""
    kind = view.data[at + 3 : at + 5]
    if len(kind) == 2 and kind[:1] in b"abeprs" and kind[1:] == b"-":
        return _slack_token(view, at)
    return WAIT if view.open(at + 3 + len(kind)) else at + 1


_slack_token = _token(5, _DASHED, 8)


def _bearer(view: View, at: int) -> Verdict:
    """A long word after `Bearer`, or a shorter one with a digit."""
    data = view.data
    blanks = _BLANKS.match(data, at + 6, at + 6 + _LONGEST_BLANK)
    assert blanks
    start = blanks.end()
    if view.open(start):
        return WAIT
    if start == at + 6:
        return start
    word = _BEARER.match(data, start, start + 24)
    assert word
    end = word.end()
    if end < start + 24:
        if view.open(end):
            return WAIT
        if end < start + 8 or not _DIGITS.search(data, start, end):
            return start
    return Secret(start, end, Run(_BEARER))


def _userinfo(view: View, at: int) -> Verdict:
    """The password in `scheme://user:password@host`."""
    data = view.data
    limit = at + 3 + _LONGEST_USERINFO
    user = _USER.match(data, at + 3, limit)
    assert user
    if user.end() == limit:
        return at + 3
    if view.open(user.end()):
        return WAIT
    if data[user.end() : user.end() + 1] != b":":
        return at + 3
    start = user.end() + 1
    rest = _USERINFO.match(data, start, limit)
    assert rest
    if rest.end() < limit and view.open(rest.end()):
        return WAIT
    end = data.rfind(b"@", start, rest.end())
    return Secret(start, end, None) if end > start else at + 3


def _parameter(prefix: int) -> Callable[[View, int], Verdict]:
    """A query's or form's parameter whose name follows `prefix` bytes of separator."""

    def rule(view: View, at: int) -> Verdict:
        data = view.data
        start = at + prefix
        match = _QUERY_NAME.match(data, start, start + _LONGEST_NAME)
        assert match
        end = match.end()
        if view.open(end):
            return WAIT
        if data[end : end + 1] != b"=" or not _is_secret_parameter(data[start:end].decode().lower()):
            return start
        if view.open(end + 1):
            return WAIT
        if _QUERY_VALUE.match(data, end + 1, end + 2).end() == end + 1:  # type: ignore[union-attr]  # it matches everywhere
            return start
        return Secret(end + 1, end + 2, Run(_QUERY_VALUE))

    return rule


def _member(view: View, at: int, ending: bytes) -> Verdict:
    """The value of a secret's name in JSON, in JSON within JSON, and as Python prints it."""
    data = view.data
    end = at + len(ending)
    if view.open(end):
        return WAIT
    if data[end : end + 1] not in {b'"', b"'", b"\\"}:
        return end
    earliest = max(0, end - _LONGEST_NAME - 1)
    quote = max(data.rfind(b'"', earliest, end), data.rfind(b"'", earliest, end))
    if quote < 0 or not _is_secret_member(view.lower[quote + 1 : end]):
        return end
    limit = end + _LONGEST_SEPARATOR
    separator = _SEPARATOR.match(data, end, limit)
    if separator:
        return Secret(separator.end(), separator.end(), String(separator[3], len(separator[2])))
    possible = _SEPARATOR_BYTES.match(data, end, limit)
    assert possible
    return WAIT if possible.end() < limit and view.open(possible.end()) else end


def _is_secret_member(name: bytes) -> bool:
    return name in SECRET_HEADERS or _MEMBER_NAME.fullmatch(name) is not None


def _is_secret_parameter(name: str) -> bool:
    if "%" in name:
        name = unquote(name)
    return is_secret_query(name) or _is_secret_member(name.encode("utf-8", "replace"))


# ---- needles


@dataclass(frozen=True, slots=True)
class Needle:
    """A few literal bytes and what decides about them."""

    literal: bytes
    rule: Callable[[View, int], Verdict]
    any_case: bool = False
    pattern: re.Pattern[bytes] | None = None
    """Finds it in place of the literal."""

    def find(self, view: View, start: int) -> int:
        """Its first position from `start` on; negative without one."""
        if self.pattern:
            match = self.pattern.search(view.data, start)
            return match.start() if match else -1
        return (view.lower if self.any_case else view.data).find(self.literal, start)


def _ending(literal: bytes) -> Needle:
    return Needle(literal, lambda view, at: _member(view, at, literal), any_case=True)


first_parameter = _parameter(0)
_PARAMETERS: Final = re.compile(rb"[?&](?:[A-Za-z0-9_.~%-]{1,64}=|[A-Za-z0-9_.~%-]{0,64}\Z)")

NEEDLES: Final[tuple[tuple[bytes, bytes, tuple[Needle, ...]], ...]] = (
    (b"-", b"-", (Needle(b"sk-", _sk),)),
    (b"_", b"_", tuple(Needle(b"gh%c_" % kind, _token(4, _ALPHANUMERIC, 16)) for kind in b"pousr")),
    (b"_", b"_", (Needle(b"github_pat_", _token(11, _IDENTIFIER, 16)),)),
    (b"J", b"J", (Needle(b"eyJ", _jwt),)),
    (b"A", b"A", (Needle(b"AIza", _token(4, _WORD, 30)), Needle(b"AKIA", _token(4, _UPPER, 16)))),
    (b"x", b"x", (Needle(b"xox", _slack),)),
    (b"b", b"B", (Needle(b"bearer", _bearer, any_case=True),)),
    (b":", b":", (Needle(b"://", _userinfo),)),
    (b"?", b"&", (Needle(b"?", _parameter(1), pattern=_PARAMETERS), Needle(b"&amp;", _parameter(5)))),
    (b"\\", b"\\", (Needle(b"\\u0026", _parameter(6)),)),
    (b'"', b"'", tuple(map(_ending, _MEMBER_ENDINGS))),
)
"""Each group by two bytes, one of which must be there: looking for one byte is twenty times as fast."""
ANY_NEEDLE: Final = re.compile(
    rb"s(?:k-|ecret)|g(?:h[pousr]_|ithub_pat_)|eyj|a(?:iza|kia|uthorization|ccount[_-]id)|xox|bearer|://|[?&\\]"
    rb"|token|key|verifier|device[_-]?code|pass(?:w|phrase)|cookie"
)
"""In lower case. Alternatives with different first letters are what makes it fast."""
_SMALL: Final = 160
"""Bytes up to which one search for any needle is faster than one for each."""


def has_no_secret(data: bytes) -> bool:
    """Return True where a quick look at a few bytes shows that there is no secret in them."""
    return len(data) <= _SMALL and b"=" not in data and not ANY_NEEDLE.search(data.lower())


def first_finds(view: View, at: int) -> list[tuple[int, int, Needle]]:
    """The first find of every needle that there is: position, a number to compare by, needle."""
    data, lower = view.data, view.lower
    finds: list[tuple[int, int, Needle]] = []
    if len(data) - at <= _SMALL and not ANY_NEEDLE.search(lower, at):
        return finds
    for one, other, group in NEEDLES:
        if one in data or other in data:
            for needle in group:
                if (position := needle.find(view, at)) >= 0:
                    finds.append((position, len(finds), needle))
    return finds
