"""From method and path to a route. Pure: no I/O, and no client can name an upstream host.

Everything here runs before the client has shown a token: the work is linear in the length of the path, and error messages are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import unquote

from ccproxy.errors import BadRequest, MethodNotAllowed, RouteNotFound
from ccproxy.providers.spec import Endpoint, Operation, Provider
from ccproxy.translate.formats import Format

ROUTE_WORDS = frozenset({"v1", "messages", "responses", "chat", "models"})
_SESSION = re.compile(r"/([A-Za-z0-9._-]{1,128})(/.*)")
# A path that an upstream could read differently is refused: dot segments (with parameters too: `/..;x/`), empty ones, encoded separators,
# control characters.
_UNSAFE = re.compile(r"//|/\.{1,2}(?=[/;]|$)|\\|%2f|%5c|[\x00-\x1f\x7f]", re.IGNORECASE)

MAX_ENCODINGS: Final = 2
"""How often a part of a path may be percent-encoded. Only something hidden is encoded more often."""
MAX_SHOWN: Final = 200
"""Characters of a path that an error message repeats."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")  # https://www.rfc-editor.org/rfc/rfc9110#name-tokens
_FORWARDED: Final = _METHODS | {
    "QUERY", "SEARCH", "REPORT", "PROPFIND", "PROPPATCH", "COPY", "MOVE", "LOCK", "UNLOCK", "MKCOL", "BIND", "UNBIND", "REBIND", "LINK", "UNLINK", "PURGE",
}  # fmt: skip
"""Methods that any server can read. TRACE and its like are not among them: the response may repeat the request, credential included."""


@dataclass(frozen=True, slots=True)
class Route:
    """The destination of a request."""

    provider: Provider
    operation: Operation
    format: Format
    """The client's wire format, in which every response and error is written."""
    upstream_path: str | None
    """Path at the upstream, without the query; None if the request has to be translated."""
    session_id: str | None = None

    @property
    def is_native(self) -> bool:
        return self.upstream_path is not None

    @property
    def label(self) -> str:
        return f"{self.provider.name}/{self.format.value}"


class Router:
    """All routes of the enabled providers."""

    def __init__(self, providers: Iterable[Provider]) -> None:
        self._providers = sorted(
            providers, key=lambda provider: len(provider.prefix), reverse=True
        )  # the longest prefix wins
        self.credential_headers = frozenset(p.key_header.encode() for p in self._providers)
        """The headers of the upstreams' keys, user-defined names included: a client may have sent a key in any of them."""

    @property
    def providers(self) -> tuple[Provider, ...]:
        return tuple(self._providers)

    def match(self, method: str, path: str) -> Route:
        """Return the route of a request; `path` is as received, without the query.

        Raises:
            BadRequest: the method is not a token, or an upstream could read the path differently.
            RouteNotFound: no route has this path; the message names the nearest one.
            MethodNotAllowed: the path exists under another method.

        """
        if method not in _METHODS and not _TOKEN.fullmatch(method):
            raise BadRequest("The request method is not valid")
        if problem := _ambiguity(path):
            raise BadRequest(f"The path {_shown(path)} {problem}, which an upstream may read differently")
        if provider := self._provider(path):
            return self._below(provider, method, path[len(provider.prefix) :] or "/", path)
        raise RouteNotFound(f"No route {_shown(path)}{self._nearest(path)}")

    def knows(self, path: str) -> bool:
        """Return whether the path is below an enabled provider's prefix."""
        return self._provider(path) is not None

    def _provider(self, path: str) -> Provider | None:
        for provider in self._providers:
            if path.startswith(provider.prefix) and path[len(provider.prefix) : len(provider.prefix) + 1] in {"/", ""}:
                return provider
        return None

    def _below(self, provider: Provider, method: str, rest: str, path: str) -> Route:
        if method == "HEAD":
            return Route(provider, Operation.PROBE, provider.format, None)
        if endpoint := self._endpoint(provider, rest):
            return self._allowed(provider, endpoint, method, path)
        session = _SESSION.fullmatch(rest) if provider.sessions else None
        if session and session[1] not in ROUTE_WORDS and (endpoint := self._endpoint(provider, session[2])):
            return replace(self._allowed(provider, endpoint, method, path), session_id=session[1])
        if rest.startswith("/v1/v1/"):  # forwarded, it would get a 404 from the upstream that does not name the cause
            raise RouteNotFound(
                f"No route {_shown(path)}: the client adds /v1 itself, so its base URL must not end in it{self._nearest(path)}"
            )
        versioned = f"{rest}/".startswith("/v1/")  # not `/v1x`, which would become a neighbour of the upstream's path
        below = rest.removeprefix("/v1") if provider.strips_version and versioned else rest
        if provider.native_root is not None and rest.startswith(provider.native_root) and below.strip("/"):
            if method not in _FORWARDED:
                raise MethodNotAllowed(
                    f"ccproxy does not forward the method {method}", headers={"allow": ", ".join(sorted(_METHODS))}
                )
            return Route(provider, Operation.NATIVE, suggested_format(rest, provider.format), below)
        raise RouteNotFound(f"No route {_shown(path)}{self._nearest(path)}")

    @staticmethod
    def _endpoint(provider: Provider, rest: str) -> Endpoint | None:
        rest = rest.rstrip("/")
        if endpoint := provider.endpoints.get(rest):
            return endpoint
        folder, _, model = rest.rpartition("/")
        if model and (endpoint := provider.endpoints.get(folder)) and endpoint.operation is Operation.MODELS:
            return replace(
                endpoint,
                operation=Operation.MODEL,
                upstream_path=f"{endpoint.upstream_path}/{model}" if endpoint.upstream_path else None,
            )
        return None

    @staticmethod
    def _allowed(provider: Provider, endpoint: Endpoint, method: str, path: str) -> Route:
        if method != endpoint.method:
            raise MethodNotAllowed(
                f"{_shown(path)} takes {endpoint.method}, not {method}", headers={"allow": f"{endpoint.method}, HEAD"}
            )
        return Route(provider, endpoint.operation, endpoint.format, endpoint.upstream_path)

    def _nearest(self, path: str) -> str:
        import difflib  # only a wrong path pays for it

        routes = [provider.prefix + path for provider in self._providers for path in provider.endpoints]
        # A longer path resembles none of them; to compare it takes a time that grows with its length.
        near = difflib.get_close_matches(path, routes, n=1, cutoff=0.4) if len(path) <= MAX_SHOWN else []
        return (
            f"; the nearest one is {near[0]}"
            if near
            else f"; routes begin with {', '.join(sorted(p.prefix for p in self._providers))}"
        )


def _shown(path: str) -> str:
    """A path as an error message repeats it: quoted, its end left out where it is long."""
    return repr(path) if len(path) <= MAX_SHOWN else f"{path[:MAX_SHOWN]!r}…"


def _ambiguity(path: str) -> str:
    """Return why a path is unsafe as it is or after being decoded, as an upstream may do more than once; empty if it is not.

    A path that is encoded more than `MAX_ENCODINGS` times is refused as well: following each level of `%252525…` would take quadratic time.
    """
    for _ in range(MAX_ENCODINGS + 1):
        if _UNSAFE.search(path):
            return "has dot segments, empty segments, encoded separators or control characters"
        if "%" not in path:
            return ""
        encoded, path = path, unquote(path)
        if path == encoded:
            return ""
    return "is percent-encoded more than twice"


def suggested_format(path: str, default: Format = Format.ANTHROPIC) -> Format:
    """Return the format that a path without a route suggests, for its error response."""
    if "/chat/completions" in path:
        return Format.OPENAI_CHAT
    if "/responses" in path or "/codex" in path:
        return Format.OPENAI_RESPONSES
    if "/messages" in path:
        return Format.ANTHROPIC
    return default
