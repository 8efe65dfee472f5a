"""Keep, describe and end logins, and query their limits. Blocking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from pydantic import SecretStr

from ccproxy.auth import oauth, wire
from ccproxy.auth.clients import OAuthClient
from ccproxy.auth.credentials import CodexLogin, Login, same_secret
from ccproxy.auth.store import Store
from ccproxy.auth.token_responses import Window, mapping
from ccproxy.errors import LoginError
from ccproxy.network import Network

_QUICK = 5.0  # seconds, for what is only a courtesy


def keep(store: Store, client: OAuthClient, network: Network, login: Login) -> Login:
    """Store a new login and end the one that it replaces. Raises `StoreError`, `StoreBusy`."""
    with store.lock(client.provider):
        old = _readable(store, client)
        store.save(client.provider, login)
    if old is not None and not same_secret(old.refresh_token, login.refresh_token):
        end(client, network, old)
    return _with_plan(store, client, network, login)


def forget(store: Store, client: OAuthClient, network: Network) -> tuple[bool, str | None]:
    """Delete the stored login and end it at the vendor; return whether there was one, and why it could not be ended there."""
    if store.stamp(client.provider) is None:
        return False, None
    with store.lock(client.provider):
        store.recover(client.provider, client.login)
        login = _readable(store, client)
        deleted = store.delete(client.provider)
    return deleted, end(client, network, login) if login is not None else None


def end(client: OAuthClient, network: Network, login: Login) -> str | None:
    """Revoke a login at the vendor, if it offers that; return the reason if that failed."""
    if not client.revoke_url:
        return f"{client.title} does not offer that"
    try:
        oauth.revoke(client, login, replace(network, connect_timeout=_QUICK, read_timeout=_QUICK))
    except LoginError as error:
        return str(error)
    return None


def limits(client: OAuthClient, network: Network, login: Login) -> tuple[Window, ...]:
    """The subscription's rate-limit windows, from the vendor's usage endpoint. Raises `LoginError`."""
    if not client.limits_allowed:
        raise LoginError(f"{client.title} has no address for limits")
    body = oauth.query(client, client.limits_url, _headers(client, login), network)
    return codex_windows(body) if isinstance(login, CodexLogin) else claude_windows(body)


def claude_windows(body: Mapping[str, object]) -> tuple[Window, ...]:
    """`{"five_hour": {"utilization": 0-100, "resets_at": ISO}, "seven_day": …, "seven_day_opus": …}`."""
    names = {"five_hour": "5 hours", "seven_day": "7 days"}
    windows = []
    for key, value in body.items():
        window = mapping(value)
        used = window.get("utilization")
        if isinstance(used, (int, float)) and key.startswith(tuple(names)):
            base = next(base for base in names if key.startswith(base))
            special = key.removeprefix(base).strip("_").replace("_", " ")
            name = f"{names[base]} ({special})" if special else names[base]
            windows.append(Window(name, float(used), _iso(window.get("resets_at"))))
    return tuple(windows)


def codex_windows(body: Mapping[str, object]) -> tuple[Window, ...]:
    """`{"rate_limit": {"primary_window": {"used_percent", "limit_window_seconds", "reset_at"}, …}}`."""
    windows = []
    for key in ("primary_window", "secondary_window"):
        window = mapping(mapping(body.get("rate_limit")).get(key))
        used, seconds = window.get("used_percent"), window.get("limit_window_seconds")
        if isinstance(used, (int, float)) and isinstance(seconds, (int, float)):
            name = f"{seconds / 3600:g} hours" if seconds < 86_400 else f"{seconds / 86_400:g} days"
            windows.append(Window(name, float(used), _unix(window.get("reset_at"))))
    return tuple(windows)


def _with_plan(store: Store, client: OAuthClient, network: Network, login: Login) -> Login:
    """Add the plan from the vendor's profile where the token response has none. A failure leaves it out."""
    if login.plan or not client.profile_url or not client.limits_allowed or "user:profile" not in login.scopes:
        return login
    try:
        body = oauth.query(
            client,
            client.profile_url,
            _headers(client, login),
            replace(network, connect_timeout=_QUICK, read_timeout=_QUICK),
        )
        kind = mapping(body.get("organization")).get("organization_type")
        if not isinstance(kind, str):
            return login
        described = login.model_copy(update={"plan": kind.removeprefix("claude_")})
        with store.lock(client.provider):
            stored = store.load(client.provider, client.login)
            if stored is not None and same_secret(stored.access_token, login.access_token):
                store.save(client.provider, described)
    except LoginError:
        return login
    return described


def _headers(client: OAuthClient, login: Login) -> Mapping[str, SecretStr]:
    credential = wire.of_login(client.provider, login)
    extra = {name: SecretStr(value) for name, value in (*credential.merge, *credential.default)}
    return {**extra, **dict(credential.headers)}


def _readable(store: Store, client: OAuthClient) -> Login | None:
    """The stored login, None for a broken file, which may be replaced or deleted."""
    try:
        return store.load(client.provider, client.login)
    except LoginError:
        return None


def _iso(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment is not None and moment.tzinfo is not None else None


def _unix(value: object) -> datetime | None:
    try:
        return datetime.fromtimestamp(value, UTC) if isinstance(value, (int, float)) else None
    except (ValueError, OverflowError, OSError):
        return None
