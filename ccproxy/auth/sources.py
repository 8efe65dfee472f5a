"""Which credential a request gets, and why: a pure function over the settings, the store and what the client sent.

A client's own key never reaches an upstream unless `auth = "passthrough"` says so, or it has the provider's own shape
and nothing else is there. `server.auth_token` is ccproxy's and never goes anywhere.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pydantic import SecretStr

from ccproxy.auth.clients import OAuthClient
from ccproxy.errors import Unauthenticated
from ccproxy.providers.client_credentials import KEY_HEADERS, KEY_SHAPES, key_of

Mode = Literal["auto", "oauth", "api_key", "passthrough"]
Fields = tuple[tuple[bytes, bytes], ...]
"""Raw header fields, names in any case."""


class Source(StrEnum):
    """Where a request's credential comes from."""

    API_KEY = "api_key"
    LOGIN = "login"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class ProviderAuth:
    """What the settings say about one provider's credentials. `client` is None where there is nothing to sign in to."""

    provider: str
    mode: Mode = "auto"
    api_key: SecretStr | None = None
    key_header: str = "x-api-key"  # "authorization" makes it a bearer token
    client: OAuthClient | None = None

    @property
    def wants_login(self) -> bool:
        """Whether a stored login can be what a request gets."""
        return self.client is not None and (self.mode == "oauth" or (self.mode == "auto" and not _given(self.api_key)))


@dataclass(frozen=True, slots=True)
class Choice:
    """The source, the reason in words, and for `Source.CLIENT` the header fields that may pass."""

    source: Source
    why: str
    fields: Fields = ()


def choose(auth: ProviderAuth, *, has_login: bool, sent: Fields = (), own_token: SecretStr | None = None) -> Choice:
    """Return the credential for a request with the credentials `sent`. Raises `Unauthenticated` with the command to run."""
    if auth.mode == "api_key" or (auth.mode == "auto" and _given(auth.api_key)):
        if not _given(auth.api_key):
            raise Unauthenticated(
                f'No API key for {auth.provider}: set providers.{auth.provider}.api_key, or auth = "auto".'
            )
        return Choice(Source.API_KEY, f"providers.{auth.provider}.api_key is set")
    if auth.wants_login and has_login:
        why = 'auth = "oauth"' if auth.mode == "oauth" else "no API key is set"
        return Choice(Source.LOGIN, f"{why}, and there is a login")
    if auth.mode == "oauth":
        raise Unauthenticated(_no_login(auth))
    fields = _passing(auth, sent, own_token)
    if fields:
        why = 'auth = "passthrough"' if auth.mode == "passthrough" else "no API key is set and there is no login"
        return Choice(Source.CLIENT, why, fields)
    if auth.mode == "passthrough":
        raise Unauthenticated(f'{auth.provider} passes on the client\'s own key (auth = "passthrough"), but none came.')
    raise Unauthenticated(_no_login(auth))


def _no_login(auth: ProviderAuth) -> str:
    key = f"set providers.{auth.provider}.api_key"
    if auth.client is None:
        return f"No credential for {auth.provider}: {key}."
    return f"No credential for {auth.provider}: run `{auth.client.command}`, or {key}."


def _passing(auth: ProviderAuth, sent: Fields, own_token: SecretStr | None) -> Fields:
    own = own_token.get_secret_value() if own_token else ""
    fitting = KEY_SHAPES.get(auth.provider, _nothing) if auth.mode == "auto" else _anything
    return tuple(
        (name, value)
        for name, value in sent
        if name.lower() in KEY_HEADERS | {auth.key_header.encode()}
        and not _is_own(value, own)
        and fitting(key_of(value))
    )


def _is_own(value: bytes, own: str) -> bool:
    if not own:
        return False
    return any(
        hmac.compare_digest(candidate.encode("latin-1"), own.encode())
        for candidate in (key_of(value), value.decode("latin-1"))
    )


def _anything(key: str) -> bool:
    return bool(key)


def _nothing(_: str) -> bool:
    return False


def _given(key: SecretStr | None) -> bool:
    return key is not None and bool(key.get_secret_value())
