"""The source of the credential for a provider's requests, from the configuration and the stored login. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ccproxy.providers.client_credentials import KEY_SHAPES
from ccproxy.settings import Settings
from ccproxy.settings.model import HttpProviderSettings

LOGIN_COMMANDS = {"claude_api": "ccproxy auth login", "codex": "ccproxy auth login-openai"}
"""The providers that have a login, and the command that signs in."""


class CredentialState(StrEnum):
    """The source of a credential."""

    API_KEY = "api key"
    LOGIN = "login"
    CLIENT = "pass-through"
    """The client's own; with `auto` only if it has the shape of the provider's keys."""
    UNNEEDED = "none needed"
    """The provider is inside this process, or user-defined without a key."""
    MISSING = "none"
    """Every request gets a 401."""

    @property
    def is_own(self) -> bool:
        """Whether ccproxy adds the credential itself, so that the client needs none."""
        return self in {CredentialState.API_KEY, CredentialState.LOGIN, CredentialState.UNNEEDED}


@dataclass(frozen=True, slots=True)
class Credential:
    """The state of a provider's credential, and how to configure one."""

    state: CredentialState
    auth: str = "auto"
    setting: str = ""
    """The setting of the API key."""
    login: str | None = None
    """The command that signs in."""

    @property
    def remedy(self) -> str:
        """What to do so that ccproxy has a credential of its own."""
        login = f"run `{self.login}` or " if self.login and self.auth != "api_key" else ""
        return f"{login}set a key: ccproxy config set {self.setting} KEY"


def credential(settings: Settings, name: str, *, has_login: bool = False) -> Credential:
    """Return the state of the provider `name`; `has_login`: a login for it is stored."""
    own = getattr(settings.providers, name)
    if not isinstance(own, HttpProviderSettings):
        return Credential(CredentialState.UNNEEDED)
    state = _state(own, has_login=has_login, has_shape=name in KEY_SHAPES)
    return Credential(state, own.auth, f"providers.{name}.api_key", LOGIN_COMMANDS.get(name))


def _state(own: HttpProviderSettings, *, has_login: bool, has_shape: bool) -> CredentialState:
    if own.api_key.get_secret_value() and own.auth in {"auto", "api_key"}:
        return CredentialState.API_KEY
    if has_login and own.auth in {"auto", "oauth"}:
        return CredentialState.LOGIN
    if own.auth == "passthrough":
        return CredentialState.CLIENT
    if own.auth == "auto":
        return CredentialState.CLIENT if has_shape else CredentialState.UNNEEDED
    return CredentialState.MISSING
