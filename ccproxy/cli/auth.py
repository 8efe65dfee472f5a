"""`ccproxy auth`: sign in, sign out, and show credentials."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import click
import typer

from ccproxy.auth import setup
from ccproxy.auth.clients import OAuthClient
from ccproxy.auth.credentials import Login
from ccproxy.auth.sources import ProviderAuth
from ccproxy.auth.status import status as status_of
from ccproxy.auth.store import Store, StoreError, StoreOpen
from ccproxy.cli import auth_status
from ccproxy.cli.terminal import Terminal
from ccproxy.errors import CcproxyError, ConfigError, LoginError
from ccproxy.network import Network

app = typer.Typer(no_args_is_help=True, help="Sign in to Claude or ChatGPT, sign out, show credentials.")

IDENTITY_KEY = "providers.claude_api.identity"
_NAMES = {"claude": "claude_api", "anthropic": "claude_api", "openai": "codex", "chatgpt": "codex"}


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """The settings that these commands use. `file` is the user's own configuration file."""

    store: Store
    providers: Mapping[str, ProviderAuth]
    identity: bool
    file: Path
    network: Network

    def client(self, provider: str) -> OAuthClient:
        client = self.providers[provider].client
        assert client is not None  # each provider with commands in this module has one
        return client


def auth_settings() -> AuthSettings:
    """Load the settings. Raises `ConfigError`."""
    from ccproxy.settings import load
    from ccproxy.settings.folders import config_dir

    settings = load().settings
    return AuthSettings(
        store=setup.store(settings.auth.dir),
        providers={auth.provider: auth for auth in setup.providers(settings.providers)},
        identity=settings.providers.claude_api.identity,
        file=config_dir() / "config.toml",
        network=setup.network(settings.server.port),
    )


@app.command()
def login(
    manual: Annotated[
        bool,
        typer.Option("--manual", "--no-browser", help="Print the page's address and ask for the code that it shows."),
    ] = False,
    identity: Annotated[
        bool | None,
        typer.Option("--identity/--no-identity", help=f"Set {IDENTITY_KEY} without a question.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing login.")] = False,
) -> None:
    """Sign in with a Claude subscription to use /api.

    Example: ccproxy auth login --manual --no-identity
    """
    with _failures():
        settings = auth_settings()
        client = settings.client("claude_api")
        if force or not _signed_in(settings, client):
            _terms(client)
            _sign_in(settings, client, manual=manual)
        _identity(settings, identity)


@app.command()
def login_openai(
    device: Annotated[
        bool, typer.Option("--device", help="Enter a code on another device, for machines without a browser.")
    ] = False,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the page's address instead of opening a browser.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing login.")] = False,
) -> None:
    """Sign in with a ChatGPT plan to use /api/codex.

    Example: ccproxy auth login-openai --device
    """
    with _failures():
        settings = auth_settings()
        client = settings.client("codex")
        if force or not _signed_in(settings, client):
            _terms(client)
            _sign_in(settings, client, device=device, open_browser=not no_browser)


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    limits: Annotated[bool, typer.Option("--limits", help="Request the usage of the plan from each vendor.")] = False,
) -> None:
    """Show the credential of each provider, without secrets.

    This includes its source, account, plan and expiry.

    Example: ccproxy auth status --limits
    """
    with _failures():
        settings = auth_settings()
        now = datetime.now(UTC)
        documents = []
        for auth in settings.providers.values():
            status = status_of(auth, settings.store)
            document = auth_status.document(status, now)
            if limits and status.source == "login":
                document |= _limits(settings, auth)
            documents.append(document)
        if as_json:
            typer.echo(json.dumps(documents, indent=2))
        else:
            typer.echo("\n\n".join(auth_status.as_text(document, now) for document in documents))


@app.command()
def logout(
    provider: Annotated[
        str | None, typer.Argument(help="claude_api or codex; both by default.", show_default=False)
    ] = None,
) -> None:
    """Delete a login and revoke it at the vendor.

    Example: ccproxy auth logout codex
    """
    with _failures():
        settings = auth_settings()
        names = [auth.provider for auth in settings.providers.values() if auth.client is not None]
        if provider is not None:
            provider = _NAMES.get(provider, provider)
            if provider not in names:
                _fail(f"{provider!r} is not a provider with a login. Use {' or '.join(names)}", 2)
            names = [provider]
        from ccproxy.auth import account

        for name in names:
            client = settings.client(name)
            deleted, problem = account.forget(settings.store, client, settings.network)
            typer.echo(f"{client.title}: {'signed out' if deleted else 'there was no login'}")
            if problem:
                typer.echo(
                    f"{client.title}: The login is deleted here, but not revoked at the vendor: {problem}", err=True
                )


def _signed_in(settings: AuthSettings, client: OAuthClient) -> bool:
    """Return whether there is a login that works or can be renewed, and print a message if so."""
    try:
        stored = settings.store.load(client.provider, client.login)
    except StoreOpen:
        raise
    except StoreError:
        return False  # signing in replaces a broken file
    if stored is None or stored.refused or (stored.refresh_token is None and stored.expired(datetime.now(UTC))):
        return False
    typer.echo(
        f"Already signed in to {client.title}{_account(stored)}. To sign in again, run: {client.command} --force"
    )
    return True


def _sign_in(
    settings: AuthSettings,
    client: OAuthClient,
    *,
    manual: bool = False,
    device: bool = False,
    open_browser: bool = True,
) -> None:
    from ccproxy.auth import account, login as flows

    network, terminal, pace = settings.network, Terminal(), flows.Pace()
    try:
        if manual:
            login = flows.manual_login(client, network, terminal, pace)
        elif device:
            login = flows.device_login(client, network, terminal, pace)
        else:
            login = flows.browser_login(client, network, terminal, pace, open_browser=open_browser)
    except KeyboardInterrupt:
        _fail("\nStopped. Nothing was stored", 1)
    login = account.keep(settings.store, client, network, login)
    path = settings.store.path(client.provider)
    typer.echo(f"Signed in to {client.title}{_account(login)}. The login is stored in {path}")


def _account(login: Login) -> str:
    plan = f" ({login.plan})" if login.plan else ""
    return f" as {login.account}{plan}" if login.account else plan


def _terms(client: OAuthClient) -> None:
    for line in client.terms:
        typer.echo(line)
    typer.echo()


def _identity(settings: AuthSettings, enabled: bool | None) -> None:
    """Set `providers.claude_api.identity`. If `enabled` is None, ask at a terminal and otherwise leave it unchanged."""
    if enabled is None:
        if not sys.stdin.isatty():
            return
        typer.echo(
            "\nWith a subscription login, Anthropic serves most models only if the system prompt begins with the first\n"
            "line of Claude Code's own. ccproxy can add that line to requests without it; the model reads it as well."
        )
        try:
            enabled = typer.confirm("Add that line?", default=settings.identity)
        except click.Abort:
            typer.echo("\nThe setting is unchanged.")
            return
    from ccproxy.settings import toml_edit

    if toml_edit.set_key(settings.file, IDENTITY_KEY, enabled):
        typer.echo(f"Set {IDENTITY_KEY} = {str(enabled).lower()} in {settings.file}")


def _limits(settings: AuthSettings, auth: ProviderAuth) -> dict[str, Any]:
    from ccproxy.auth import account
    from ccproxy.auth.broker import Broker

    client = settings.client(auth.provider)
    try:
        current = Broker(settings.store, [auth], network=settings.network).login_now(auth.provider)
        return {"limits": [auth_status.window(each) for each in account.limits(client, settings.network, current)]}
    except LoginError as error:
        return {"limits": None, "limits_problem": str(error)}


@contextmanager
def _failures() -> Iterator[None]:
    """Turn errors into one message and an exit code."""
    try:
        yield
    except ConfigError as error:
        _fail(str(error), 2)
    except CcproxyError as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        _fail("Stopped", 1)


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code) from None
