"""Who may talk to ccproxy at all: Host, Origin and token. Pure checks on a request's head.

A listener on loopback is open to every web page that the user visits (DNS rebinding, CSRF) and to every program on the machine.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mitmproxy import http

from ccproxy.errors import BadRequest, Forbidden, Unauthenticated
from ccproxy.providers.client_credentials import TOKEN_HEADER, TOKEN_HEADERS, key_of
from ccproxy.providers.header_fields import Field, is_port
from ccproxy.settings.model import LOOPBACK

_LOCAL_HOSTS = LOOPBACK - {"::1"}  # in a Host header an IPv6 address stands in brackets


@dataclass(frozen=True, slots=True)
class Guard:
    """The checks, as configured."""

    token: str = field(default="", repr=False)
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()

    def check_host(self, names: list[str], request: http.Request) -> None:
        """Refuse a Host that is not ours: a name that an attacker's DNS points at 127.0.0.1.

        Raises:
            Forbidden, BadRequest: with the setting that would allow it.

        """
        if not names and request.http_version == "HTTP/1.0":
            names = ["localhost"]
        if len(names) != 1 or not names[0]:
            raise BadRequest("a request needs exactly one Host header")
        for name in (names[0], request.authority):  # an absolute-form target names a host too
            host = _without_port(name).lower()
            if name and host not in _LOCAL_HOSTS and host not in self.hosts and name.lower() not in self.hosts:
                raise Forbidden(f"Host {host!r} is not ccproxy's: add it to server.allowed_hosts if it is")

    def check_origin(self, told: Mapping[str, str]) -> str:
        """The allowed web origin that asks, or an empty string where no browser does.

        Raises:
            Forbidden: another web page asks.

        """
        origin = told.get("origin", "")
        if origin and origin.lower() in self.origins:
            return origin
        if origin and origin.lower() != f"http://{told.get('host', '').lower()}":
            raise Forbidden(f"Origin {origin[:200]!r} may not call ccproxy: add it to server.allowed_origins if it may")
        if told.get("sec-fetch-site", "") == "cross-site":
            raise Forbidden("another web site may not call ccproxy: add its origin to server.allowed_origins if it may")
        return ""

    def check_token(self, private: Iterable[Field], also: Iterable[str] = ()) -> tuple[Field, ...]:
        """The private header fields without ccproxy's own token; `also` are further tokens that count as it.

        Raises:
            Unauthenticated: a token is needed, and none of the client's is it.

        """
        others, found = [], not self.token
        for item in private:
            name = item[0].lower()
            given = key_of(item[1]).encode("latin-1")
            accepted = (self.token, *also) if name in TOKEN_HEADERS else ()
            if any(token and hmac.compare_digest(given, token.encode()) for token in accepted):
                found = True
            elif name != TOKEN_HEADER:
                others.append(item)
        if not found:
            raise Unauthenticated(
                "ccproxy needs its token (server.auth_token) as x-ccproxy-token, Authorization: Bearer or x-api-key"
            )
        return tuple(others)


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and is_port(port) else host
