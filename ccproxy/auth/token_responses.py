"""Responses of a vendor's OAuth server: tokens, device codes, limits, refusals.

Kept apart from `oauth`, which imports the HTTP stack, so that catching an error costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import SecretStr

from ccproxy.errors import LoginError

PERMANENT = frozenset(
    {
        "invalid_grant",
        "invalid_client",
        "unauthorized_client",
        "refresh_token_reused",
        "refresh_token_expired",
        "refresh_token_invalidated",
    }
)
"""Codes after which a refresh token cannot work again: RFC 6749 section 5.2, and OpenAI's own three."""


class OAuthRefused(LoginError):
    """The server responded with an error. `code` is its machine-readable word, `""` where it sent none."""

    def __init__(self, message: str, *, status: int, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    @property
    def permanent(self) -> bool:
        """Trying again cannot help: the user has to sign in again."""
        return self.code in PERMANENT


class OAuthUnreachable(LoginError):
    """No usable response: no network, time-out, overload. `retry_after` is in seconds, as the server sent it."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """The token endpoint's response. A refresh may leave out any of the three tokens: the old one stays valid then."""

    access_token: SecretStr | None
    refresh_token: SecretStr | None = None
    id_token: SecretStr | None = None
    expires_in: float | None = None  # seconds from now
    scopes: tuple[str, ...] | None = None
    account: Mapping[str, object] = field(default_factory=dict)  # Anthropic: {uuid, email_address}
    organization: Mapping[str, object] = field(default_factory=dict)  # Anthropic: {uuid, name}

    @classmethod
    def from_json(cls, body: Mapping[str, object]) -> TokenResponse:
        scope = body.get("scope")
        return cls(
            access_token=_secret(body.get("access_token")),
            refresh_token=_secret(body.get("refresh_token")),
            id_token=_secret(body.get("id_token")),
            expires_in=_seconds(body.get("expires_in")),
            scopes=tuple(scope.split()) if isinstance(scope, str) and scope.strip() else None,
            account=mapping(body.get("account")),
            organization=mapping(body.get("organization")),
        )


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """A running device login: what the person types, and how often to ask (seconds)."""

    device_auth_id: SecretStr
    user_code: str
    interval: float


@dataclass(frozen=True, slots=True)
class DeviceGrant:
    """A device login that the person has allowed; here the verifier is the server's."""

    code: SecretStr
    code_verifier: SecretStr


@dataclass(frozen=True, slots=True)
class Window:
    """One rate-limit window of a subscription: `used` in percent, with the reset time if the vendor sends one."""

    name: str
    used: float
    resets_at: datetime | None = None


def mapping(value: object) -> Mapping[str, object]:
    """`value` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def _secret(value: object) -> SecretStr | None:
    return SecretStr(value) if isinstance(value, str) and value else None


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds < 1e10 else None  # NaN and infinity fail both comparisons
