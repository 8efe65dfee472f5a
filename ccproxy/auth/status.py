"""What there is to say about a provider's credential, without it: for `auth status`, `routes` and `doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from ccproxy.auth import renewal
from ccproxy.auth.credentials import Login
from ccproxy.auth.sources import ProviderAuth, Source, choose
from ccproxy.auth.store import Store
from ccproxy.errors import LoginError, Unauthenticated
from ccproxy.providers.client_credentials import KEY_SHAPES, is_access_token

Refresh = Literal["possible", "refused", "impossible"]


@dataclass(frozen=True, slots=True)
class Status:
    """One provider's credential.

    source      api_key, login, other_program (its access token is the configured key), client, or none
    refresh     of a login: would a refresh work, as far as one can tell without trying?
    problem     what has to be fixed, now or when the login ends; `command` fixes it
    """

    provider: str
    source: Literal["api_key", "login", "other_program", "client", "none"]
    why: str
    login: Login | None = None
    refresh: Refresh | None = None
    problem: str | None = None
    command: str | None = None


def status(auth: ProviderAuth, store: Store) -> Status:
    """Reads the store; never raises for what it finds there."""
    command = auth.client.command if auth.client is not None else None
    try:
        login = store.load(auth.provider, auth.client.login) if auth.client is not None else None
    except LoginError as error:
        return Status(auth.provider, "none", "the stored login cannot be read", problem=str(error), command=command)
    try:
        choice = choose(auth, has_login=login is not None)
    except Unauthenticated as error:
        return _without(auth, login, str(error), command)
    if choice.source is Source.LOGIN and login is not None:
        refresh = _refresh(login)
        problem = renewal.dead(auth.client, login) if auth.client is not None and refresh != "possible" else None
        return Status(auth.provider, "login", choice.why, login, refresh, problem, command)
    if _is_other_programs(auth):
        return Status(auth.provider, "other_program", f"{choice.why}, to another program's access token", login)
    return Status(auth.provider, "api_key", choice.why, login)


def _without(auth: ProviderAuth, login: Login | None, problem: str, command: str | None) -> Status:
    """Nothing of our own: a client's key may still do."""
    if auth.mode == "passthrough":
        return Status(auth.provider, "client", 'auth = "passthrough": the client\'s own key is passed on', login)
    if auth.mode == "auto" and auth.provider in KEY_SHAPES:
        why = "no API key is set and there is no login: only a client's own key of this provider passes"
        return Status(auth.provider, "client", why, login, None, problem, command)
    return Status(auth.provider, "none", "nothing is there", login, None, problem, command)


def _refresh(login: Login) -> Refresh:
    if login.refused:
        return "refused"
    if login.refresh_token is None:
        return "impossible"
    return "possible"


def _is_other_programs(auth: ProviderAuth) -> bool:
    key = auth.api_key.get_secret_value() if auth.api_key is not None else ""
    return is_access_token(auth.provider, key)


def in_words(span: timedelta) -> str:
    """`3 days`, `2 hours 5 minutes`, `40 seconds`: the two largest units at most, for people."""
    seconds = int(abs(span.total_seconds()))
    units = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
    parts = []
    for name, size in units:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {name}{'s' * (count != 1)}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 seconds"
