"""`ccproxy doctor`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ccproxy import __version__
from ccproxy.cli.checks.finding import Finding, Severity, skipped
from ccproxy.cli.console import fail
from ccproxy.cli.options import CONFIG_OPTION, PORT_OPTION, complete_client
from ccproxy.errors import ConfigError
from ccproxy.settings import Loaded, Settings, load

if TYPE_CHECKING:
    from ccproxy.providers.routing import Router

Check = tuple[str, Callable[[], Iterable[Finding]]]
"""The name of a check and its function."""


def doctor(
    client: str | None = typer.Argument(
        None,
        metavar="[CLIENT]",
        help="Client to check as well: claude, codex, openai, anthropic, aider, opencode, llm, curl or cursor.",
        autocompletion=lambda incomplete: [
            *complete_client(incomplete),
            *(["cursor"] if "cursor".startswith(incomplete) else []),
        ],
    ),
    offline: bool = typer.Option(False, "--offline", help="Do not connect to upstreams."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
    port: int | None = PORT_OPTION,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Diagnose problems: what is wrong, why it matters and how to fix it.

    ccproxy connects to the upstreams, but sends them no requests. The exit code is 1 if something is broken.

    Example: ccproxy doctor claude
    """
    from ccproxy.cli.clients import CLIENTS

    if client is not None and client not in {*CLIENTS, "cursor"}:
        fail(f"Unknown client {client!r}. Known clients: {', '.join(CLIENTS)}, cursor", 2)
    findings = _all_findings(client, port, config, offline=offline, quiet=as_json)
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in findings], indent=2))
    else:
        _print(findings)
    if any(each.severity is Severity.BROKEN for each in findings):
        raise typer.Exit(1)


def _all_findings(
    client: str | None, port: int | None, config: Path | None, *, offline: bool, quiet: bool
) -> list[Finding]:
    from ccproxy.cli.checks import configuration

    try:
        loaded = load({"server": {"port": port}} if port is not None else {}, config=config)
    except ConfigError as error:
        return [*_machine(), configuration.unreadable(str(error))]
    checks = [*_checks(loaded, client, offline=offline)]
    return list(_with_progress(checks, quiet=quiet))


def _machine() -> list[Finding]:
    from importlib.metadata import version

    from ccproxy.cli.checks import machine

    return [machine.versions(sys.version_info[:3], version("mitmproxy"))]


def _checks(loaded: Loaded, client: str | None, *, offline: bool) -> Iterator[Check]:
    from ccproxy.cli.checks import configuration, probes

    settings = loaded.settings
    yield "python", _machine
    yield "configuration", lambda: configuration.sources(loaded)
    yield "files", lambda: configuration.modes(probes.private_files(loaded))
    yield "proxy", lambda: _proxy(settings)
    yield "logins", lambda: _logins(settings)
    yield "claude code", lambda: _claude_code(settings)
    yield "upstreams", lambda: _network(settings, offline=offline)
    yield "shell", lambda: _shell(settings)
    if client is not None:
        yield client, lambda: _client(client, settings)


def _with_progress(checks: list[Check], *, quiet: bool) -> Iterator[Finding]:
    """Run the checks. On a terminal, show the name of the current check on stderr."""
    if quiet or not sys.stderr.isatty():
        for _, check in checks:
            yield from check()
        return
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("") as status:
        for name, check in checks:
            status.update(f"Checking {name}")
            yield from check()


def _proxy(settings: Settings) -> Iterator[Finding]:
    from ccproxy.cli.checks import listening, mock_requests, probes
    from ccproxy.cli.running import Address, Listener, probe_port

    address, token = Address.of(settings), settings.server.auth_token.get_secret_value()
    state = probe_port(address, token)
    yield listening.port(state, address, __version__)
    yield from listening.claude_processes(state.providers.get("claude_sdk", {}))
    mock = state.providers.get("mock")
    if state.listener is not Listener.CCPROXY:
        yield skipped("requests", "ccproxy is not running", "ccproxy serve")
    elif mock is None:
        yield skipped("requests", "the mock provider is disabled", "ccproxy config set providers.mock.enabled true")
    else:
        yield from mock_requests.replies(probes.mock_replies(address, str(mock["prefix"]), token))


def _logins(settings: Settings) -> list[Finding]:
    from ccproxy.cli.checks import logins
    from ccproxy.cli.logins import credential_of
    from ccproxy.providers.registry import providers

    names = sorted(provider.name for provider in providers(settings))
    return logins.credentials({name: credential_of(settings, name) for name in names})


def _claude_code(settings: Settings) -> list[Finding]:
    from importlib.util import find_spec

    from ccproxy.cli.checks import logins, machine, probes

    own = settings.providers.claude_sdk
    has_sdk = find_spec("claude_agent_sdk") is not None
    findings = machine.claude_sdk(enabled=own.enabled, installed=has_sdk)
    if not own.enabled or not has_sdk:
        return findings
    path = probes.claude_program(own.cli_path)
    version = (probes.output_of(path, "--version") or "").strip() or None if path else None
    logged_in = probes.claude_logged_in(path) if path and version else None
    return [*findings, *logins.claude_code(path, version, logged_in, has_key=bool(own.api_key.get_secret_value()))]


def _network(settings: Settings, *, offline: bool) -> list[Finding]:
    from concurrent.futures import ThreadPoolExecutor

    from ccproxy.cli.checks import network, probes
    from ccproxy.providers.registry import providers

    if offline:
        return [
            skipped("upstreams", "not checked because of --offline"),
            skipped("clock", "not checked because of --offline"),
        ]
    remote = [provider for provider in providers(settings) if provider.upstream is not None]
    if not remote:
        return []
    with ThreadPoolExecutor(len(remote)) as pool:
        reached = list(pool.map(lambda each: probes.reach(each, settings.server.connect_timeout), remote))
    return [*network.reachability(reached), network.clock(reached, datetime.now(UTC))]


def _shell(settings: Settings) -> list[Finding]:
    from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]  # not in typeshed

    from ccproxy.cli.checks import clients
    from ccproxy.cli.running import Address

    address = Address.of(settings)
    proxies = getproxies_environment()
    bypassed = bool(proxy_bypass_environment(f"{address.host}:{address.port}", proxies))
    return [
        *clients.base_urls(os.environ, address, _router(settings)),
        *clients.no_proxy(proxies, address, bypassed=bypassed),
    ]


def _router(settings: Settings) -> Router:
    from ccproxy.providers.registry import providers
    from ccproxy.providers.routing import Router

    return Router(providers(settings))


def _client(name: str, settings: Settings) -> Iterator[Finding]:
    from ccproxy.cli.checks import clients, probes
    from ccproxy.cli.clients import CLIENTS
    from ccproxy.cli.running import Address

    if name == "cursor":
        yield from clients.cursor(settings)
        return
    if name not in {"openai", "anthropic"}:  # libraries without a program
        program = CLIENTS[name].program
        path = probes.program(program)
        version = clients.parse_version(probes.output_of(path, "--version") or "") if path else None
        yield from clients.installed(program, path, version)
    if name == "claude":
        yield from clients.claude_variables(os.environ, probes.settings_env_of_claude(os.environ))
    elif name == "codex":
        yield from clients.codex_configuration(
            probes.config_of_codex(os.environ), Address.of(settings), _router(settings)
        )
    elif name in {"openai", "llm"} and not os.environ.get("OPENAI_BASE_URL"):
        yield clients.not_configured(name, "OPENAI_BASE_URL is not set in this shell")
    elif name == "anthropic" and not os.environ.get("ANTHROPIC_BASE_URL"):
        yield clients.not_configured(name, "ANTHROPIC_BASE_URL is not set in this shell")


_COLOURS = {Severity.OK: "green", Severity.WARN: "yellow", Severity.BROKEN: "bold red", Severity.SKIPPED: "dim"}


def _print(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False, markup=False)
    width = max(len(each.subject) for each in findings)
    for each in findings:
        console.print(
            Text.assemble(
                (f"{each.severity.value:<8}", _COLOURS[each.severity]), f"{each.subject:<{width}}  {each.what}"
            )
        )
        if each.why:
            console.print(f"{'':8}{'':{width}}  why: {each.why}")
        if each.fix:
            console.print(f"{'':8}{'':{width}}  fix: {each.fix}")
    counts = {severity: sum(each.severity is severity for each in findings) for severity in Severity}
    console.print("\n" + ", ".join(f"{count} {severity.value}" for severity, count in counts.items() if count))
