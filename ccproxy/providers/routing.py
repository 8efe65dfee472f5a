"""From method and path to a route. Pure: no I/O, and no client can name an upstream host."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import unquote

from ccproxy.errors import BadRequest, MethodNotAllowed, RouteNotFound
from ccproxy.providers.spec import Endpoint, Operation, Provider
from ccproxy.translate.formats import Format

ROUTE_WORDS = frozenset({"v1", "messages", "responses", "chat", "models"})
_SESSION = re.compile(r"/([A-Za-z0-9._-]{1,128})(/.*)")
# A path that an upstream could read differently from us is refused: dot segments, empty ones, encoded separators, control characters.
_UNSAFE = re.compile(r"//|/\.{1,2}(/|$)|\\|%2f|%5c|[\x00-\x1f\x7f]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes."""

    provider: Provider
    operation: Operation
    format: Format
    """What the client speaks, and so the format of every answer."""
    upstream_path: str | None
    """Path at the upstream without query; None where only a translation leads there."""
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
        """Where a client may have put a key, the names that the user chose included."""

    @property
    def providers(self) -> tuple[Provider, ...]:
        return tuple(self._providers)

    def match(self, method: str, path: str) -> Route:
        """The route of a request; `path` is as it came, without query.

        Raises:
            BadRequest: the path could mean another one to the upstream.
            RouteNotFound: nothing is there; the message names the nearest route.
            MethodNotAllowed: the path is there under another method.

        """
        if _is_ambiguous(path):
            raise BadRequest(f"the path has parts that an upstream may read differently: {path[:200]!r}")
        if provider := self._provider(path):
            return self._below(provider, method, path[len(provider.prefix) :] or "/", path)
        raise RouteNotFound(f"no route {path!r}{self._nearest(path)}")

    def knows(self, path: str) -> bool:
        """Whether the path is below an enabled provider's prefix."""
        return self._provider(path) is not None

    def _provider(self, path: str) -> Provider | None:
        for provider in self._providers:
            if path.startswith(provider.prefix) and path[len(provider.prefix) : len(provider.prefix) + 1] in {"/", ""}:
                return provider
        return None

    def _below(self, provider: Provider, method: str, rest: str, path: str) -> Route:
        if method == "HEAD":
            return Route(provider, Operation.PROBE, provider.format, None)
        if found := self._endpoint(provider, rest):
            return self._allowed(provider, found, method, path)
        session = _SESSION.fullmatch(rest) if provider.sessions else None
        if session and session[1] not in ROUTE_WORDS and (found := self._endpoint(provider, session[2])):
            return replace(self._allowed(provider, found, method, path), session_id=session[1])
        if rest.startswith("/v1/v1/"):  # it would go to the upstream, whose 404 tells nobody why
            raise RouteNotFound(
                f"no route {path!r}: the client adds /v1 itself, so its base URL must not end in it{self._nearest(path)}"
            )
        versioned = f"{rest}/".startswith("/v1/")  # not `/v1x`, which would become a neighbour of the upstream's path
        below = rest.removeprefix("/v1") if provider.strips_version and versioned else rest
        if provider.native_root is not None and rest.startswith(provider.native_root) and below.strip("/"):
            return Route(provider, Operation.NATIVE, suggested_format(rest, provider.format), below)
        raise RouteNotFound(f"no route {path!r}{self._nearest(path)}")

    @staticmethod
    def _endpoint(provider: Provider, rest: str) -> Endpoint | None:
        rest = rest.rstrip("/")
        if found := provider.endpoints.get(rest):
            return found
        folder, _, model = rest.rpartition("/")
        if model and (found := provider.endpoints.get(folder)) and found.operation is Operation.MODELS:
            return replace(
                found,
                operation=Operation.MODEL,
                upstream_path=f"{found.upstream_path}/{model}" if found.upstream_path else None,
            )
        return None

    @staticmethod
    def _allowed(provider: Provider, endpoint: Endpoint, method: str, path: str) -> Route:
        if method != endpoint.method:
            raise MethodNotAllowed(
                f"{path} takes {endpoint.method}, not {method}", headers={"allow": f"{endpoint.method}, HEAD"}
            )
        return Route(provider, endpoint.operation, endpoint.format, endpoint.upstream_path)

    def _nearest(self, path: str) -> str:
        import difflib  # only a wrong path pays for it

        known = [provider.prefix + path for provider in self._providers for path in provider.endpoints]
        near = difflib.get_close_matches(path, known, n=1, cutoff=0.4)
        return (
            f"; the nearest one is {near[0]}"
            if near
            else f"; there are {', '.join(sorted(p.prefix for p in self._providers))}"
        )


def _is_ambiguous(path: str) -> bool:
    """Whether it is unsafe as it stands or after any number of decodings: an upstream may decode more often than once."""
    while not _UNSAFE.search(path):
        if "%" not in path or (decoded := unquote(path)) == path:
            return False
        path = decoded
    return True


def suggested_format(path: str, default: Format = Format.ANTHROPIC) -> Format:
    """The format that a path without a route suggests, for its error answer."""
    if "/chat/completions" in path:
        return Format.OPENAI_CHAT
    if "/responses" in path or "/codex" in path:
        return Format.OPENAI_RESPONSES
    if "/messages" in path:
        return Format.ANTHROPIC
    return default
