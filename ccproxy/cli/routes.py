"""`ccproxy routes`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import typer

from ccproxy.cli.console import load_settings
from ccproxy.cli.options import CONFIG_OPTION
from ccproxy.cli.tables import print_table
from ccproxy.providers.credentials import CredentialState
from ccproxy.providers.spec import Endpoint, Operation, Provider
from ccproxy.settings import Settings

FORMAT_NAMES = {
    "anthropic": "Anthropic Messages",
    "openai_chat": "OpenAI Chat Completions",
    "openai_responses": "OpenAI Responses",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One route."""

    method: str
    path: str
    provider: str
    client_format: str
    upstream: str
    """The URL at the upstream; for a translated route, that of the upstream's own endpoint."""
    handling: str
    """`native`, `translated`, or `inside` if this process makes the response."""
    credential: str
    terms: str


def routes(
    as_json: bool = typer.Option(False, "--json", help="Print JSON."), config: Path | None = CONFIG_OPTION
) -> None:
    """List every route with its provider, format and upstream.

    The last two columns show the credential and the terms of use that apply.

    Example: ccproxy routes
    """
    rows = list(all_rows(load_settings(config=config).settings))
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    headings = ("route", "client format", "provider", "how", "upstream", "credential", "terms")
    print_table(headings, [_cells(row) for row in rows])


def _cells(row: Row) -> tuple[str, ...]:
    return (
        f"{row.method} {row.path}", row.client_format, row.provider, row.handling, row.upstream, row.credential, row.terms,
    )  # fmt: skip


def all_rows(settings: Settings) -> Iterator[Row]:
    """Yield every route of the enabled providers, sorted by prefix."""
    from ccproxy.cli.logins import credential_of
    from ccproxy.providers.registry import providers

    for provider in sorted(providers(settings), key=lambda each: each.prefix):
        state = credential_of(settings, provider.name).state
        yield from rows_of(provider, state.value, terms(provider, state))


def rows_of(provider: Provider, credential: str = "", label: str = "") -> Iterator[Row]:
    """Yield every route of one provider."""
    session = "[/SESSION]" if provider.sessions else ""
    for path, endpoint in provider.endpoints.items():
        models = endpoint.operation is Operation.MODELS
        yield Row(
            method=endpoint.method,
            path=f"{provider.prefix}{session}{path}" + ("[/ID]" if models else ""),
            provider=provider.name,
            client_format="any" if models else FORMAT_NAMES[endpoint.format.value],
            upstream=_upstream(provider, endpoint.upstream_path, endpoint.operation),
            handling=_handling(provider, endpoint),
            credential=credential,
            terms=label,
        )
    if provider.native_root is not None:
        yield Row(
            method="*",
            path=f"{provider.prefix}{provider.native_root}*",
            provider=provider.name,
            client_format="the upstream's own",
            upstream=_base(provider)
            + (provider.native_root.removeprefix("/v1") if provider.strips_version else provider.native_root)
            + "*",
            handling="native",
            credential=credential,
            terms=label,
        )


def _handling(provider: Provider, endpoint: Endpoint) -> str:
    if endpoint.upstream_path is not None:
        return "native"
    estimated = endpoint.operation is Operation.COUNT_TOKENS
    return "inside" if provider.upstream is None or estimated else "translated"


def _upstream(provider: Provider, upstream_path: str | None, operation: Operation) -> str:
    if provider.upstream is None:
        return "-"
    if upstream_path is not None:
        return _base(provider) + upstream_path
    if operation is not Operation.CREATE:
        return "-"  # estimated in this process
    own = next(
        (
            each.upstream_path
            for each in provider.endpoints.values()
            if each.operation is operation and each.upstream_path is not None
        ),
        "",
    )
    return _base(provider) + own


def _base(provider: Provider) -> str:
    upstream = provider.upstream
    return f"{upstream.scheme}://{upstream.host_header}{upstream.path}" if upstream else ""


def terms(provider: Provider, state: CredentialState) -> str:
    """Return a label for the terms that apply to requests of this provider; docs/explanation/terms.md explains them."""
    return (
        provider.terms
        or {
            CredentialState.API_KEY: "your own API key",
            CredentialState.LOGIN: "stored subscription login: personal use",
            CredentialState.CLIENT: "the client's own credential",
            CredentialState.UNNEEDED: "your own server",
            CredentialState.MISSING: "-",
        }[state]
    )
