"""Where the credential of a provider's requests comes from, as the configuration and a stored login tell. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ccproxy.settings import Settings
from ccproxy.settings.model import HttpProviderSettings

LOGIN_COMMANDS = {"claude_api": "ccproxy auth login", "codex": "ccproxy auth login-openai"}
"""The providers that have a login, and the command that makes it."""


class CredentialState(StrEnum):
    """Where the credential comes from."""

    API_KEY = "api key"
    LOGIN = "login"
    CLIENT = "pass-through"
    """The client's own, with `auto` only where it has the provider's shape."""
    UNNEEDED = "none needed"
    """Answered inside this process, or a provider of the user's own without a key."""
    MISSING = "none"
    """Every request is answered 401."""

    @property
    def is_own(self) -> bool:
        """Whether ccproxy puts the credential on itself, so that the client needs none."""
        return self in {CredentialState.API_KEY, CredentialState.LOGIN, CredentialState.UNNEEDED}


@dataclass(frozen=True, slots=True)
class Credential:
    """A provider's state, and how to get it one of its own."""

    state: CredentialState
    auth: str = "auto"
    setting: str = ""
    """The setting that holds a key."""
    login: str | None = None
    """The command that makes a login."""

    @property
    def remedy(self) -> str:
        """What to do so that ccproxy has a credential of its own."""
        login = f"run `{self.login}` or " if self.login and self.auth != "api_key" else ""
        return f"{login}set a key: ccproxy config set {self.setting} KEY"


def credential(settings: Settings, name: str, *, has_login: bool = False) -> Credential:
    """What there is for the provider `name`; `has_login` says whether a login for it is stored."""
    own = getattr(settings.providers, name)
    if not isinstance(own, HttpProviderSettings):
        return Credential(CredentialState.UNNEEDED)
    state = _state(own, has_login=has_login, has_shape=name in LOGIN_COMMANDS)
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
