"""Which URLs a rule for `WebFetch` covers.

Claude Code parses a URL as browsers do (https://url.spec.whatwg.org/#url-parsing): a backslash is a slash, tabs and line breaks vanish, user names, percent
signs, full-width letters and numbers of many forms are legal in a host. Python's `urlsplit` reads many of these differently, so it may see another host than
the one that is fetched. A pattern here reads only URLs that every parser reads alike, and reports all others as doubtful.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote

from ccproxy.permissions.globs import Glob, has_star

_URL = re.compile(
    r"(https?)://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?([/?#].*)?", re.IGNORECASE | re.ASCII | re.DOTALL
)
_HOST_PATTERN = re.compile(r"[a-z0-9_.*-]+|\[[0-9a-f:.]+\]", re.ASCII)
_URL_PATTERN = re.compile(
    r"(https?)://([^/?#:\[\]]+|\[[^/?#\]]*\])(?::([0-9]{1,5}))?(/.*)", re.IGNORECASE | re.ASCII | re.DOTALL
)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_CHANGES = re.compile(r"[\\\x00-\x20\x7f]|/(?:\.|%2e){1,2}(?=[/?#]|$)", re.IGNORECASE)
"""What a browser's parser rewrites in a path: backslashes, blanks, control characters, `.` and `..`."""
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Doubtful(ValueError):
    """Parsers may disagree on this text."""


class Address(NamedTuple):
    """A URL that every parser reads alike."""

    scheme: str
    host: str
    port: int
    rest: str
    """Path, query and fragment; begins with a slash."""


def read_url(url: str) -> Address:
    """The parts of a URL, in lower case where case does not count.

    Raises:
        Doubtful: parsers may disagree on its host.

    """
    match = _URL.fullmatch(url)
    if match is None:
        raise Doubtful(url)
    scheme, rest = match[1].lower(), match[4] or ""
    port = int(match[3]) if match[3] else _DEFAULT_PORTS[scheme]
    return Address(scheme, canonical_host(match[2]), port, rest if rest.startswith("/") else f"/{rest}")


def canonical_host(host: str) -> str:
    """A host name in lower case, or an IP address in its usual form.

    Raises:
        Doubtful: parsers may disagree on it.

    """
    host = host.lower()
    try:
        if host.startswith("["):
            address = ipaddress.IPv6Address(host[1:-1])
            return str(address.ipv4_mapped) if address.ipv4_mapped else f"[{address.compressed}]"
        labels = host.split(".")
        if "" in labels:  # a trailing dot too: the same host under another name
            raise Doubtful(host)
        # 0x7f.1 and 2130706433 are 127.0.0.1. https://url.spec.whatwg.org/#ends-in-a-number-checker
        return str(ipaddress.IPv4Address(host)) if _NUMBER.fullmatch(labels[-1]) else host
    except ipaddress.AddressValueError as error:
        raise Doubtful(host) from error


@dataclass(frozen=True, slots=True)
class UrlPattern:
    """The pattern of a `WebFetch` rule: `domain:HOST`, or a URL with a path."""

    host: Glob
    scheme: str = ""
    port: int | None = None
    path: Glob | None = None
    """None for `domain:`, which fits every path, port and scheme."""

    @classmethod
    def parse(cls, pattern: str) -> UrlPattern:
        """The pattern as a rule states it.

        Raises:
            ValueError: saying what is wrong with it.

        """
        if pattern.startswith("domain:"):
            return cls(_host_pattern(pattern.removeprefix("domain:")))
        match = _URL_PATTERN.fullmatch(pattern)
        if match is None:
            raise ValueError('expected "domain:HOST" or a URL with a path, such as "https://example.com/*"')
        scheme = match[1].lower()
        return cls(_host_pattern(match[2]), scheme, int(match[3]) if match[3] else None, Glob(match[4]))

    def covers(self, url: str) -> bool:
        """Return whether the URL certainly fits: for rules that allow."""
        try:
            address = read_url(url)
        except Doubtful:
            return False
        if not self.host.matches(address.host):
            return False
        if self.path is None:
            return True
        port = self.port or _DEFAULT_PORTS[self.scheme]
        same = (address.scheme, address.port) == (self.scheme, port)
        return same and not _CHANGES.search(address.rest) and self.path.matches(address.rest)

    def may_cover(self, url: str) -> bool:
        """Return whether the URL fits or may fit: for rules that deny or ask."""
        try:
            address = read_url(url)
        except Doubtful:
            return True
        if not self.host.matches(address.host):
            return False
        # Claude Code fetches http by https, so neither the scheme nor its port tells URLs apart.
        if self.path is None or _CHANGES.search(address.rest):
            return True
        if self.port is not None and self.port != address.port:
            return False
        return self.path.matches(address.rest) or self.path.matches(unquote(address.rest))


def _host_pattern(text: str) -> Glob:
    host = text.lower().removesuffix(".")
    if not _HOST_PATTERN.fullmatch(host) or ".." in host or host.startswith("."):
        example = "example.com, *.example.com, 192.0.2.1 or [2001:db8::1]"
        ascii_form = "" if text.isascii() else "; write an international name in its ASCII form (xn--…)"
        raise ValueError(f"the host {text!r} is not valid: expected {example}, without a port{ascii_form}")
    if has_star(host):
        return Glob(host)
    try:
        return Glob(canonical_host(host))
    except Doubtful:
        raise ValueError(f"the host {text!r} is not valid: write the IP address in its usual form") from None
