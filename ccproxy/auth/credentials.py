"""A stored login, as a value. Secrets are `SecretStr`: they show neither in `repr` nor in a traceback.

`Login.document()` is the one place that writes them out, for the store.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, SecretStr

from ccproxy.auth.token_responses import TokenResponse, mapping
from ccproxy.providers.client_credentials import jwt_claims

AHEAD = timedelta(minutes=5)
"""A token is renewed this long before it ends, as both vendors' own programs do."""
BLIND = timedelta(days=8)
"""A token that does not say when it ends is renewed this long after the last time (Codex CLI's rule)."""


class Login(BaseModel):
    """The result of a sign-in. Unknown keys of the file stay, so that an older ccproxy loses nothing."""

    model_config = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True)

    access_token: SecretStr
    refresh_token: SecretStr | None = None
    expires_at: AwareDatetime | None = None
    scopes: tuple[str, ...] = ()
    account: str | None = None  # e-mail address
    account_id: str | None = None
    plan: str | None = None
    last_refresh: AwareDatetime | None = None
    refused: str | None = None  # the vendor's code for why this refresh token is dead

    @classmethod
    def from_response(cls, tokens: TokenResponse, now: datetime, *, scopes: tuple[str, ...] = ()) -> Self:
        """A new login, for an authorization code. The response holds an access token."""
        assert tokens.access_token is not None  # `oauth` refuses responses without one
        return cls(
            access_token=tokens.access_token,
            refresh_token=tokens.refresh_token,
            expires_at=_expiry(tokens, now),
            scopes=tokens.scopes if tokens.scopes is not None else scopes,
            last_refresh=now,
            **cls._about(tokens),
        )

    def renewed(self, tokens: TokenResponse, now: datetime) -> Self:
        """The login after a refresh: what the response leaves out stays as it was."""
        return self.model_copy(
            update={
                "access_token": tokens.access_token or self.access_token,
                "refresh_token": tokens.refresh_token or self.refresh_token,
                "expires_at": _expiry(tokens, now) if tokens.access_token else self.expires_at,
                "scopes": tokens.scopes if tokens.scopes is not None else self.scopes,
                "last_refresh": now,
                "refused": None,
                **self._about(tokens),
            }
        )

    @classmethod
    def _about(cls, tokens: TokenResponse) -> dict[str, object]:
        """Whose login it is, as far as the response says."""
        raise NotImplementedError

    def document(self) -> dict[str, object]:
        """The JSON object for the file, secrets in the clear; keys without a value are left out."""
        fields = {name: _plain(getattr(self, name)) for name in type(self).model_fields}
        return {**{name: value for name, value in fields.items() if value is not None}, **(self.model_extra or {})}

    def expired(self, now: datetime) -> bool:
        return self.expires_at is not None and now >= self.expires_at

    def due(self, now: datetime) -> bool:
        """Time to renew: less than five minutes are left, or half of a shorter life."""
        if self.expires_at is None:
            return self.last_refresh is not None and now >= self.last_refresh + BLIND
        ahead = AHEAD
        if self.last_refresh is not None and self.expires_at > self.last_refresh:
            ahead = min(AHEAD, (self.expires_at - self.last_refresh) / 2)
        return now >= self.expires_at - ahead

    def __repr_args__(self) -> list[tuple[str | None, object]]:
        """Values of unknown keys may be secrets of a later version: names only."""
        fields = [(name, getattr(self, name)) for name in type(self).model_fields]
        return [*fields, ("unknown_keys", sorted(self.model_extra or {}))]


class ClaudeLogin(Login):
    """A Claude subscription or console account; the vendor names it in the token tokens."""

    organization: str | None = None
    organization_id: str | None = None

    @classmethod
    def _about(cls, tokens: TokenResponse) -> dict[str, object]:
        return _present(
            account=_text(tokens.account.get("email_address")),
            account_id=_text(tokens.account.get("uuid")),
            organization=_text(tokens.organization.get("name")),
            organization_id=_text(tokens.organization.get("uuid")),
        )


class CodexLogin(Login):
    """A ChatGPT account; the claims of its id token say whose. They are not verified: the vendor's TLS vouches."""

    id_token: SecretStr | None = None
    fedramp: bool = False

    @classmethod
    def _about(cls, tokens: TokenResponse) -> dict[str, object]:
        owner: dict[str, object] = {}
        for token in (tokens.access_token, tokens.id_token):  # the id token says more: it comes last
            if token is None:
                continue
            claims = jwt_claims(token.get_secret_value()) or {}
            auth = mapping(claims.get("https://api.openai.com/auth"))
            profile = mapping(claims.get("https://api.openai.com/profile"))
            owner |= _present(
                account=_text(claims.get("email")) or _text(profile.get("email")),
                account_id=_text(auth.get("chatgpt_account_id")),
                plan=_text(auth.get("chatgpt_plan_type")),
                fedramp=auth.get("chatgpt_account_is_fedramp") is True or None,
            )
        return owner | _present(id_token=tokens.id_token)


def _expiry(tokens: TokenResponse, now: datetime) -> datetime | None:
    """`expires_in` does not depend on this machine's clock being right; a JWT's `exp` is the second best."""
    if tokens.expires_in is not None:
        return now + timedelta(seconds=tokens.expires_in)
    claims = jwt_claims(tokens.access_token.get_secret_value()) if tokens.access_token else None
    exp = (claims or {}).get("exp")
    if isinstance(exp, bool) or not isinstance(exp, (int, float)):
        return None
    try:
        return datetime.fromtimestamp(exp, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _present(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _plain(value: object) -> object:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, tuple):
        return list(value)
    return value


def same_secret(one: SecretStr | None, other: SecretStr | None) -> bool:
    return one is not None and other is not None and one.get_secret_value() == other.get_secret_value()


__all__ = ["AHEAD", "BLIND", "ClaudeLogin", "CodexLogin", "Login", "same_secret"]
