"""From the settings to the store and to each provider's credentials: for the server and the command line alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from ccproxy.auth.clients import CLAUDE, CODEX, OAuthClient
from ccproxy.auth.sources import Mode, ProviderAuth
from ccproxy.auth.store import Store, default_dir
from ccproxy.errors import ConfigError
from ccproxy.network import Network


class OAuthKeys(Protocol):
    """`[providers.NAME.oauth]`."""

    @property
    def client_id(self) -> str: ...
    @property
    def authorize_url(self) -> str: ...
    @property
    def token_url(self) -> str: ...
    @property
    def redirect_uri(self) -> str: ...
    @property
    def scopes(self) -> Sequence[str]: ...


class ProviderKeys(Protocol):
    """The keys of `[providers.NAME]` that credentials depend on."""

    @property
    def base_url(self) -> str: ...
    @property
    def auth(self) -> Mode: ...
    @property
    def api_key(self) -> SecretStr: ...
    @property
    def oauth(self) -> OAuthKeys: ...


class CustomKeys(ProviderKeys, Protocol):
    """A provider of the user's own."""

    @property
    def header(self) -> str: ...


class Providers(Protocol):
    """`[providers]`, as far as it has credentials."""

    @property
    def claude_api(self) -> ProviderKeys: ...
    @property
    def codex(self) -> ProviderKeys: ...
    @property
    def custom(self) -> Mapping[str, CustomKeys]: ...


def network(port: int) -> Network:
    """How requests of a ccproxy that listens on `port` leave this machine."""
    return Network(own_ports=frozenset({port}))


def store(folder: str) -> Store:
    """The store for the setting `auth.dir`; empty is the default folder. Raises `ConfigError`."""
    try:
        return Store(Path(folder).expanduser() if folder else default_dir())
    except RuntimeError:
        raise ConfigError(f"auth.dir is {folder!r}, but this user has no home folder: name a full path") from None


def providers(settings: Providers) -> tuple[ProviderAuth, ...]:
    """What `Broker` and `status` need of every provider. Raises `ConfigError`."""
    return (
        ProviderAuth(
            "claude_api",
            mode=settings.claude_api.auth,
            api_key=settings.claude_api.api_key,
            client=_configured(CLAUDE, settings.claude_api),
        ),
        ProviderAuth(
            "codex",
            mode=settings.codex.auth,
            api_key=settings.codex.api_key,
            key_header="authorization",
            client=_configured(CODEX, settings.codex),
        ),
        *(
            ProviderAuth(name, mode=custom.auth, api_key=custom.api_key, key_header=custom.header)
            for name, custom in settings.custom.items()
        ),
    )


def _configured(client: OAuthClient, keys: ProviderKeys) -> OAuthClient:
    return client.configured(
        client_id=keys.oauth.client_id,
        authorize_url=keys.oauth.authorize_url,
        token_url=keys.oauth.token_url,
        redirect_uri=keys.oauth.redirect_uri,
        scopes=keys.oauth.scopes,
        base_url=keys.base_url,
    )
