"""One refresh for all processes: under the store's lock, after a second look at the stored login.

Blocking; `broker` calls it in a thread. What happens to the rotated refresh token:
- the write is prepared, with its space reserved, before the old token is spent;
- the vendor's response is written at once and put in place by a rename;
- a process that ends in between leaves a complete new file, which the next one takes over (`Store.recover`);
- if writing fails all the same, the new login stays in memory, and an error says so;
- only a response that never reached this machine is lost: the vendor has then issued a token that no client received, its
  next response is `refresh_token_reused` or `invalid_grant`, and the user signs in again. No client can close that gap.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from pydantic import SecretStr

from ccproxy.auth.clients import OAuthClient
from ccproxy.auth.credentials import Login, same_secret
from ccproxy.auth.store import Stamp, Store, StoreError
from ccproxy.auth.token_responses import OAuthRefused
from ccproxy.errors import LoginError
from ccproxy.network import Network

log = logging.getLogger(__name__)


class NoLogin(LoginError):
    """There is no login, or no longer one; the message names the command that makes one."""


class LoginDead(LoginError):
    """The vendor has refused the refresh token for good; the message names the command that makes a new login."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """A login that was read or renewed, and the file's stamp at that moment."""

    login: Login
    stamp: Stamp | None
    by_vendor: bool = False
    """The vendor was asked; else another process had renewed it."""


def renew(
    store: Store,
    client: OAuthClient,
    network: Network,
    now: Callable[[], datetime],
    *,
    in_memory: Login | None = None,
    rejected: SecretStr | None = None,
) -> Renewed:
    """A login that is not due and whose access token is not `rejected`: from another process, or from the vendor.

    `in_memory` is this process's login, which is newer than the file only if the file could not be written.
    Raises `NoLogin`, `LoginDead`, `OAuthRefused`, `OAuthUnreachable`, `StoreError`, `StoreBusy`.
    """
    name = client.provider
    with store.lock(name):
        store.recover(name, client.login)
        login = _newest(store.load(name, client.login), in_memory)
        if login is None:
            raise NoLogin(f"No login for {client.title}: run `{client.command}`.")
        if not login.due(now()) and not same_secret(login.access_token, rejected):
            return Renewed(login, store.stamp(name))
        return _spend(store, client, network, now, login)


def _spend(store: Store, client: OAuthClient, network: Network, now: Callable[[], datetime], login: Login) -> Renewed:
    from ccproxy.auth import oauth

    name = client.provider
    if login.refresh_token is None or login.refused:
        raise LoginDead(dead(client, login))
    with store.draft(name) as draft:
        try:
            tokens = oauth.refresh(client, login, network)
        except OAuthRefused as error:
            if not error.permanent:
                raise
            refused = login.model_copy(update={"refused": error.code})
            draft.commit(refused)
            raise LoginDead(dead(client, refused)) from None
        renewed = login.renewed(tokens, now())
        try:
            draft.commit(renewed)
        except StoreError as error:
            log.error("%s: the new login is in memory only: %s", name, error)  # noqa: TRY400 - the message is complete
    log.info("%s: login renewed, valid until %s", name, renewed.expires_at)
    return Renewed(renewed, store.stamp(name), by_vendor=True)


def dead(client: OAuthClient, login: Login) -> str:
    """Why this login cannot be renewed, and what to run."""
    if login.refused:
        return f"The login for {client.title} has ended ({login.refused}): run `{client.command}`."
    return f"The login for {client.title} cannot be renewed (no refresh token): run `{client.command}`."


def _newest(stored: Login | None, in_memory: Login | None) -> Login | None:
    """A deleted file means a logout, whatever is in memory."""
    if stored is None or in_memory is None or in_memory.last_refresh is None or stored.last_refresh is None:
        return stored
    return in_memory if in_memory.last_refresh > stored.last_refresh else stored
