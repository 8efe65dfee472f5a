"""A credential as headers: for the copy of a request that goes out, never for the flow, which others can read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pydantic import SecretStr

from ccproxy.auth.credentials import ClaudeLogin, CodexLogin, Login
from ccproxy.auth.sources import Choice, Fields, ProviderAuth, Source
from ccproxy.auth.token_responses import mapping
from ccproxy.providers.client_credentials import TOKEN_HEADERS, is_access_token, is_claude_token, jwt_claims, key_of
from ccproxy.providers.header_fields import ACCOUNT_HEADERS

OAUTH_BETA = ("anthropic-beta", "oauth-2025-04-20")
"""Without it Anthropic's API takes no access token. It joins the client's own values, which are an open list."""


@dataclass(frozen=True, slots=True)
class RequestCredential:
    """The headers that authenticate a request.

    headers     set, in place of the client's: (name, value)
    merge       values that join a comma-separated header of the client's
    default     set only where the client sent none
    token       the access token of a stored login, to recognise it after a 401; else None
    """

    provider: str
    source: Source
    headers: tuple[tuple[str, SecretStr], ...]
    merge: tuple[tuple[str, str], ...] = ()
    default: tuple[tuple[str, str], ...] = ()
    account_id: str | None = field(default=None, repr=False)
    token: SecretStr | None = None

    def on_wire(self, fields: Iterable[tuple[bytes, bytes]]) -> Fields:
        """The header fields of the wire copy. Order and bytes of all others stay; the client's own keys go, and their account with them."""
        replaced = {name.lower().encode() for name, _ in self.headers} | TOKEN_HEADERS
        if self.source is not Source.CLIENT:
            replaced |= ACCOUNT_HEADERS
        wire = [(name, value) for name, value in fields if name.lower() not in replaced]
        for name, value in self.merge:
            wire = _merged(wire, name.encode(), value.encode())
        present = {name.lower() for name, _ in wire}
        wire += [(name.encode(), value.encode()) for name, value in self.default if name.encode() not in present]
        wire += [(name.encode(), value.get_secret_value().encode("latin-1")) for name, value in self.headers]
        return tuple(wire)


def credential(auth: ProviderAuth, choice: Choice) -> RequestCredential:
    """The headers for a choice other than a login: the client's own key, or the configured one."""
    if choice.source is Source.CLIENT:
        return _of_client(auth, choice.fields)
    assert auth.api_key is not None  # the choice says so
    return _of_key(auth, auth.api_key)


def _of_client(auth: ProviderAuth, fields: Fields) -> RequestCredential:
    """The client's own key, as the client sent it; but as a bearer token where the provider reads no other."""
    headers = tuple((name.decode("latin-1"), SecretStr(value.decode("latin-1"))) for name, value in fields)
    if auth.key_header == "authorization" and not any(name.lower() == "authorization" for name, _ in headers):
        headers = tuple(("authorization", _bearer(SecretStr(key_of(value)))) for _, value in fields[:1])
    key = key_of(fields[0][1])
    account = _account_of(key) if is_access_token(auth.provider, key) else None
    return RequestCredential(
        auth.provider, Source.CLIENT, headers, default=(("chatgpt-account-id", account),) if account else ()
    )


def of_login(provider: str, login: Login) -> RequestCredential:
    """A stored login's headers."""
    bearer = ("authorization", _bearer(login.access_token))
    if isinstance(login, CodexLogin):
        return RequestCredential(
            provider,
            Source.LOGIN,
            (bearer, *_account(login.account_id, fedramp=login.fedramp)),
            account_id=login.account_id,
            token=login.access_token,
        )
    claude = isinstance(login, ClaudeLogin)
    return RequestCredential(
        provider,
        Source.LOGIN,
        (bearer,),
        merge=(OAUTH_BETA,) if claude else (),
        account_id=login.account_id,
        token=login.access_token,
    )


def _of_key(auth: ProviderAuth, key: SecretStr) -> RequestCredential:
    """A configured key. An access token of the vendor's own program is one too: it works without being renewed here."""
    plain = key.get_secret_value()
    bearer = ("authorization", _bearer(key))
    if is_access_token(auth.provider, plain):
        if is_claude_token(plain):
            return RequestCredential(auth.provider, Source.API_KEY, (bearer,), merge=(OAUTH_BETA,))
        return RequestCredential(auth.provider, Source.API_KEY, (bearer, *_account(_account_of(plain), fedramp=False)))
    header = bearer if auth.key_header == "authorization" else (auth.key_header.lower(), key)
    return RequestCredential(auth.provider, Source.API_KEY, (header,))


def _account_of(token: str) -> str | None:
    """The ChatGPT account that a token names."""
    claims = mapping((jwt_claims(token) or {}).get("https://api.openai.com/auth"))
    account_id = claims.get("chatgpt_account_id")
    return account_id if isinstance(account_id, str) else None


def _account(account_id: str | None, *, fedramp: bool) -> tuple[tuple[str, SecretStr], ...]:
    account = (("chatgpt-account-id", SecretStr(account_id)),) if account_id else ()
    return (*account, ("x-openai-fedramp", SecretStr("true"))) if fedramp else account


def _bearer(token: SecretStr) -> SecretStr:
    return SecretStr(f"Bearer {token.get_secret_value()}")


def _merged(fields: list[tuple[bytes, bytes]], name: bytes, value: bytes) -> list[tuple[bytes, bytes]]:
    places = [place for place, (key, _) in enumerate(fields) if key.lower() == name]
    if any(value == word.strip() for place in places for word in fields[place][1].split(b",")):
        return fields
    if not places:
        return [*fields, (name, value)]
    last = places[-1]
    key, old = fields[last]
    joined = old + b"," + value if old.strip() else value
    return [*fields[:last], (key, joined), *fields[last + 1 :]]
