"""The page of routes, generated from the routing table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ccproxy.addons.gateway.endpoints import READ
from ccproxy.cli.reference.markdown import code, table
from ccproxy.cli.routes import Row, rows_of
from ccproxy.providers.registry import providers
from ccproxy.providers.routing import ROUTE_WORDS
from ccproxy.settings import Settings

_INTRODUCTION = """\
# Routes

This page lists every path that ccproxy serves with the default settings. It is generated from the routing table. `ccproxy routes` prints the routes
of your configuration with the credential of each. The prefixes are settings (`providers.*.prefix`).

Each route is handled in one of three ways:

- **native**: the upstream uses the client's format, and bytes pass through unchanged.
- **translated**: see [translation](translation.md).
- **inside**: ccproxy makes the response in its own process.

Notation and common rules:

- `[/SESSION]` is an optional session id of your choice: up to 128 characters of `[A-Za-z0-9._-]`, but none of WORDS.
- `[/ID]` is one model instead of the list.
- `*` is any other path and method of the upstream's own API, forwarded unchanged.
- If the upstream has no `count_tokens`, ccproxy estimates the number and adds the header `x-ccproxy-estimate: 1`.
- `HEAD` on any path below a prefix responds with 200.
- `Upgrade: websocket` responds with 426, and clients continue over HTTP.
- Any other path responds with a 404 that names the nearest route, and a wrong method with a 405 and `allow`.
"""

_OWN: Final = {
    "/": "same as `/health`",
    "/health": "version, process id and the state of each provider as JSON",
    "/health/live": '`{"status": "ok"}` for supervisors; needs no token',
    "/health/ready": "same as `/health/live`",
    "/metrics": "metrics for Prometheus",
    "/usage": "tokens and cost as JSON: `?by=model|provider|session|client|day&since=7d`; always needs a token",
    "/permissions": "requests that wait for a decision, as JSON; always needs a token",
    "/permissions/stream": "the same, live as SSE; always needs a token",
}

_HEADERS: Final = {
    "x-ccproxy-flow": ("all responses", "id of the exchange in the log, the ledger, mitmweb and the raw HTTP log"),
    "x-ccproxy-loss": ("translated responses", "JSON paths that translation could not carry over"),
    "x-ccproxy-cost-usd": ("whole responses", "list price in US dollars, if known"),
    "x-ccproxy-estimate": ("`count_tokens`", "`1`: estimated by ccproxy"),
    "x-ccproxy-token": ("requests", "ccproxy's own token; never sent upstream"),
}


def routes() -> str:
    """Return the page."""
    return "\n".join([_INTRODUCTION.replace("WORDS", ", ".join(sorted(map(code, ROUTE_WORDS)))), *_sections()])


def _sections() -> Iterator[str]:
    for provider in sorted(providers(Settings()), key=lambda each: each.prefix):
        yield f"## {provider.prefix}\n"
        yield f"Provider `{provider.name}`.\n"
        yield table(("route", "client format", "handling", "upstream"), map(_cells, rows_of(provider)))
    yield "## ccproxy's own\n"
    if missing := READ ^ _OWN.keys():
        raise ValueError(f"ccproxy's endpoints and this page differ: {missing}")
    yield table(("route", "response"), [(code(f"GET {path}"), text) for path, text in _OWN.items()])
    yield (
        '`POST /permissions/{id}` with `{"decision": "allow"|"deny"}` decides about a request, and always needs a token. See\n'
        "[permissions](../user-guide/permissions.md).\n\n"
        "The token is `server.auth_token`, or a new token that each start writes to a file that only you can read. `ccproxy usage` and\n"
        "`ccproxy permissions` read that file.\n"
    )
    yield "## Headers\n"
    yield table(("header", "used in", "content"), [(code(name), *cells) for name, cells in _HEADERS.items()])
    yield (
        "`x-ccproxy-loss` lists the parts of the request that the upstream does not support, separated by commas. Whole responses also list the parts\n"
        "of the response that the client's format does not support.\n\n"
        "Use `x-ccproxy-token` if `authorization` and `x-api-key` are needed for the client's own key.\n"
    )


def _cells(row: Row) -> tuple[str, ...]:
    method = "any" if row.method == "*" else row.method
    upstream = code(row.upstream) if row.upstream != "-" else ""
    return code(f"{method} {row.path}"), row.client_format, row.handling, upstream
