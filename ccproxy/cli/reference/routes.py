"""The page of routes, written from the routing table."""

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

Every path that ccproxy answers with the default settings; prefixes are settings (`providers.*.prefix`). This page is generated from the routing table.
`ccproxy routes` prints yours, with the credential that each uses.

- **native**: the upstream speaks the client's format; bytes pass as they are. **translated**: see [translation](translation.md).
  **inside**: answered in this process.
- `[/SESSION]`: with or without an id of your own (`[A-Za-z0-9._-]`, at most 128 characters, none of WORDS).
- `[/ID]`: one model instead of the list. `*`: any further path and method of the upstream's own API, unchanged.
- `count_tokens` without an upstream is estimated; the answer has `x-ccproxy-estimate: 1`.
- `HEAD` on any path below a prefix answers 200. `Upgrade: websocket` answers 426; clients go on over HTTP.
- Any other path is a 404 that names the nearest route, another method a 405 with `allow`.
"""

_OWN: Final = {
    "/": "as `/health`",
    "/health": "version, process id, and the state of each provider; JSON",
    "/health/live": '`{"status": "ok"}`, without a token, for supervisors',
    "/health/ready": "the same",
    "/metrics": "Prometheus",
    "/usage": "tokens and cost, `?by=model|provider|session|client|day&since=7d`; JSON; needs the token",
    "/permissions": "what waits for a decision; JSON; needs the token",
    "/permissions/stream": "the same as it comes; SSE; needs the token",
}

_FIELDS: Final = {
    "x-ccproxy-flow": ("every answer", "the exchange's id, as in the log, the ledger, mitmweb and the raw HTTP log"),
    "x-ccproxy-loss": (
        "translated answers",
        "what the upstream could not be told, as JSON paths, comma-separated; on whole answers also what the client could not be told",
    ),
    "x-ccproxy-cost-usd": ("whole answers", "dollars by list price, where the price is known"),
    "x-ccproxy-estimate": ("`count_tokens`", "`1`: counted here, not by the upstream"),
    "x-ccproxy-token": (
        "requests",
        "ccproxy's own token, where `authorization` or `x-api-key` are needed for something else; it never goes upstream",
    ),
}


def routes() -> str:
    """The whole page."""
    return "\n".join([_INTRODUCTION.replace("WORDS", ", ".join(sorted(map(code, ROUTE_WORDS)))), *_sections()])


def _sections() -> Iterator[str]:
    for provider in sorted(providers(Settings()), key=lambda each: each.prefix):
        yield f"## {provider.prefix}\n"
        yield f"Provider `{provider.name}`.\n"
        yield table(("route", "client speaks", "how", "upstream"), map(_cells, rows_of(provider)))
    yield "## ccproxy's own\n"
    if missing := READ ^ _OWN.keys():
        raise ValueError(f"own endpoints and this page differ in {missing}")
    yield table(("route", "answer"), [(code(f"GET {path}"), text) for path, text in _OWN.items()])
    yield (
        '`POST /permissions/{id}` decides: `{"decision": "allow"|"deny"}`, see [permissions](../user-guide/permissions.md); needs the token.\n\n'
        "The token is `server.auth_token`, or the one that each start mints into a file that only you can read, and that `ccproxy usage` and\n"
        "`ccproxy permissions` take from there.\n"
    )
    yield "## Header fields\n"
    yield table(("field", "on", "says"), [(code(name), *cells) for name, cells in _FIELDS.items()])


def _cells(row: Row) -> tuple[str, ...]:
    method = "any" if row.method == "*" else row.method
    upstream = code(row.upstream) if row.upstream != "-" else ""
    return code(f"{method} {row.path}"), row.client_format, row.handling, upstream
