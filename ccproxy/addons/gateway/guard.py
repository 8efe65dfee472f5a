"""Who may use ccproxy at all: Host, Origin and token. Pure checks on a request's headers.

A listener on loopback can be reached by every web page that the user visits (DNS rebinding, CSRF) and by every program on the machine.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mitmproxy import http

from ccproxy.addons.exchange import Client, Exchange
from ccproxy.errors import BadRequest, Forbidden, Unauthenticated
from ccproxy.network import LOOPBACK
from ccproxy.providers.client_credentials import TOKEN_HEADER, TOKEN_HEADERS, key_of
from ccproxy.providers.header_fields import Field, is_port, public_fields, public_target, safe_value
from ccproxy.providers.routing import suggested_format

logger = logging.getLogger(__name__)

_LOCAL_HOSTS = LOOPBACK - {"::1"}  # in a Host header an IPv6 address has brackets


def read_head(flow: http.HTTPFlow, exchange: Exchange, credential_headers: frozenset[bytes]) -> tuple[Field, ...]:
    """Note what the client sent, and take its keys off the flow. Returns the header fields that hold them."""
    request = flow.request
    fields, private = public_fields(request.headers.fields, credential_headers)
    request.headers.fields = fields
    if "?" in request.path and (target := public_target(request.path)) != request.path:
        logger.debug("a query parameter that carries a key was removed")
        request.path = target
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in fields}
    exchange.client = Client(request.method, request.path.partition("?")[0], headers)
    exchange.format = suggested_format(exchange.client.path)
    return private


@dataclass(frozen=True, slots=True)
class Guard:
    """The checks, as configured."""

    token: str = field(default="", repr=False)
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()

    def check_host(self, request: http.Request) -> None:
        """Refuse a Host that is not ours: a name that an attacker's DNS points at 127.0.0.1.

        Raises:
            Forbidden, BadRequest: with the setting that would allow it.

        """
        names = [value.decode("latin-1") for name, value in request.headers.fields if name.lower() == b"host"]
        if not names and request.http_version == "HTTP/1.0":
            names = ["localhost"]
        if len(names) != 1 or not names[0]:
            raise BadRequest("A request needs exactly one Host header")
        for name in (names[0], request.authority):  # an absolute-form target names a host too
            host = _without_port(name).lower()
            if name and host not in _LOCAL_HOSTS and host not in self.hosts and name.lower() not in self.hosts:
                raise Forbidden(
                    f"Host {host[:200]!r} is not allowed: add it to server.allowed_hosts if it is ccproxy's"
                )

    def check_origin(self, headers: Mapping[str, str]) -> str:
        """The allowed web origin of the request, or an empty string where no browser sent it.

        Raises:
            Forbidden: another web page sent it.

        """
        origin = headers.get("origin", "")
        if origin and origin.lower() in self.origins:
            return origin
        if origin and origin.lower() != f"http://{headers.get('host', '').lower()}":
            raise Forbidden(f"Origin {origin[:200]!r} is not allowed: add it to server.allowed_origins to allow it")
        if headers.get("sec-fetch-site", "") == "cross-site":
            raise Forbidden(
                "Requests of other web sites are not allowed: add the site to server.allowed_origins to allow it"
            )
        return ""

    def check_token(self, private: Iterable[Field], also: Iterable[str] = ()) -> tuple[Field, ...]:
        """The private header fields without ccproxy's own token; `also` are further tokens that count as it.

        Raises:
            Unauthenticated: a token is required, and the client sent no valid one.

        """
        others, authenticated = [], not self.token
        for item in private:
            name = item[0].lower()
            key = key_of(item[1]).encode("latin-1")
            accepted = (self.token, *also) if name in TOKEN_HEADERS else ()
            if any(token and hmac.compare_digest(key, token.encode()) for token in accepted):
                authenticated = True
            elif name != TOKEN_HEADER:
                others.append(item)
        if not authenticated:
            raise Unauthenticated(
                "ccproxy requires its token (server.auth_token) as x-ccproxy-token, Authorization: Bearer or x-api-key"
            )
        return tuple(others)


def cors_fields(origin: str) -> tuple[Field, ...]:
    """What lets a page of an allowed origin read the response."""
    return (
        (b"access-control-allow-origin", safe_value(origin)),
        (b"access-control-allow-methods", b"GET, POST, HEAD, OPTIONS"),
        (
            b"access-control-allow-headers",
            b"*, authorization, x-api-key, x-ccproxy-token, content-type, anthropic-version, anthropic-beta",
        ),
        (b"access-control-expose-headers", b"*"),
        (b"vary", b"origin"),
    )


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and is_port(port) else host
