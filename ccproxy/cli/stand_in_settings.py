"""A stand-in for `ccproxy.settings`: reads what the login commands need from the environment alone."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import platformdirs
from pydantic import SecretStr

from ccproxy.auth.setup import CustomKeys
from ccproxy.auth.sources import Mode


def _get(name: str, default: str = "") -> str:
    return os.environ.get(name.upper(), default)


@dataclass(frozen=True)
class OAuth:
    """[providers.NAME.oauth]."""

    client_id: str
    authorize_url: str
    token_url: str
    redirect_uri: str
    scopes: tuple[str, ...]


@dataclass(frozen=True)
class Provider:
    """[providers.NAME]."""

    base_url: str
    auth: Mode
    api_key: SecretStr
    oauth: OAuth
    identity: bool


@dataclass(frozen=True)
class Providers:
    """[providers]."""

    claude_api: Provider
    codex: Provider
    custom: dict[str, CustomKeys] = field(default_factory=dict)


@dataclass(frozen=True)
class Auth:
    """[auth]."""

    dir: str


@dataclass(frozen=True)
class Settings:
    """The whole."""

    auth: Auth
    providers: Providers


def load() -> Settings:
    return Settings(
        auth=Auth(_get("AUTH__DIR")),
        providers=Providers(
            claude_api=_provider("claude_api", "https://api.anthropic.com"),
            codex=_provider("codex", "https://chatgpt.com/backend-api/codex"),
        ),
    )


def own_file() -> Path:
    return platformdirs.user_config_path("ccproxy", appauthor=False) / "config.toml"


def _provider(name: str, base_url: str) -> Provider:
    prefix = f"PROVIDERS__{name}__"
    return Provider(
        base_url=_get(prefix + "BASE_URL", base_url),
        auth=cast("Mode", _get(prefix + "AUTH", "auto")),
        api_key=SecretStr(_get(prefix + "API_KEY")),
        oauth=OAuth(
            client_id=_get(prefix + "OAUTH__CLIENT_ID"),
            authorize_url=_get(prefix + "OAUTH__AUTHORIZE_URL"),
            token_url=_get(prefix + "OAUTH__TOKEN_URL"),
            redirect_uri=_get(prefix + "OAUTH__REDIRECT_URI"),
            scopes=tuple(_get(prefix + "OAUTH__SCOPES").split()),
        ),
        identity=_get(prefix + "IDENTITY").lower() == "true",
    )
