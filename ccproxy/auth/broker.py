"""Valid credentials for requests.

A token comes from memory. Five minutes before it ends it is renewed in the background, so no request waits; a request
that finds it ended (a laptop slept) waits for one refresh that all share. The file is looked at for every request, so
a login or logout in another terminal counts at once. What went wrong is remembered: a dead login until the file
changes, a lack of network for some seconds. A token that lives is used until it ends, whatever went wrong.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from pydantic import SecretStr

from ccproxy.auth import renewal, wire
from ccproxy.auth.clients import OAuthClient
from ccproxy.auth.credentials import Login, same_secret
from ccproxy.auth.renewal import LoginDead, NoLogin, Renewed
from ccproxy.auth.sources import Choice, Fields, ProviderAuth, Source, choose
from ccproxy.auth.store import Stamp, Store, StoreBusy, StoreError, StoreOpen
from ccproxy.auth.token_responses import OAuthRefused, OAuthUnreachable
from ccproxy.auth.wire import RequestCredential
from ccproxy.errors import (
    ExchangeError,
    LoginError,
    StartError,
    Unauthenticated,
    Unavailable,
    UpstreamUnreachable,
)
from ccproxy.network import Network

log = logging.getLogger(__name__)

_FIRST_PAUSE = timedelta(seconds=2)
_LONGEST_PAUSE = timedelta(seconds=60)
_LONGEST_ASKED = timedelta(minutes=15)  # a server's Retry-After beyond this is not believed
_FORCED = 3
_FORCED_WITHIN = timedelta(minutes=1)
_TICK = 20.0


@dataclass
class _State:
    """The present state of one provider's login."""

    auth: ProviderAuth
    stamp: Stamp | None = None
    login: Login | None = None
    credential: RequestCredential | None = None
    key: RequestCredential | None = None  # of the configured API key, which stays as it is
    broken: StoreError | None = None  # the file cannot be read
    task: asyncio.Task[None] | None = None
    unending: SecretStr | None = None  # a token that arrived already ended: this machine's clock is wrong
    failure: LoginError | None = None
    failures: int = 0
    retry_at: datetime | None = None
    forced: deque[datetime] = field(default_factory=lambda: deque(maxlen=_FORCED))


class Refreshed(Protocol):
    """Counts a request for a new token, and whether the vendor gave one."""

    def __call__(self, provider: str, *, ok: bool) -> None: ...


def _uncounted(provider: str, *, ok: bool) -> None:
    del provider, ok


def _not_of_login(state: _State, choice: Choice) -> RequestCredential:
    if choice.source is not Source.API_KEY:
        return wire.credential(state.auth, choice)
    if state.key is None:
        state.key = wire.credential(state.auth, choice)
    return state.key


class Broker:
    """Credentials for requests. One for a process, used from one event loop; the blocking work happens in threads.

    now         the wall clock, in UTC: it goes on while a laptop sleeps
    own_token   `server.auth_token`, which no upstream ever sees
    refreshed   counts, for the metrics
    """

    def __init__(
        self,
        store: Store,
        providers: Iterable[ProviderAuth],
        *,
        network: Network = Network(),  # noqa: B008 - frozen
        own_token: SecretStr | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        refreshed: Refreshed = _uncounted,
    ) -> None:
        self._store = store
        self._network = network
        self._own_token = own_token
        self._now = now
        self._refreshed = refreshed
        self._states = {auth.provider: _State(auth) for auth in providers}

    def check(self) -> None:
        """Check before the start that no other user has access to the credential files, and warn of logins that cannot be renewed.

        Raises `StartError`, naming the command to run.
        """
        try:
            self._store.check()
        except StoreOpen as error:
            raise StartError(str(error)) from None
        except StoreError as error:
            log.warning("%s", error)
            return
        for state in self._states.values():
            if state.auth.wants_login and self._store.stamp(state.auth.provider) is not None:
                try:
                    self._store.try_write(state.auth.provider, _client(state).login)
                except StoreError as error:
                    log.warning("%s: the login cannot be renewed when it ends: %s", state.auth.provider, error)

    async def headers(self, provider: str, sent: Fields = ()) -> RequestCredential:
        """The credential for a request whose client `sent` these header fields (those of `client_credentials.TOKEN_HEADERS`).

        Raises `Unauthenticated`, which names the command to run, and `UpstreamUnreachable` when the login has
        ended and its server cannot be reached now.
        """
        state = self._states[provider]
        if state.auth.wants_login:
            await self._look(state)
        choice = choose(state.auth, has_login=state.login is not None, sent=sent, own_token=self._own_token)
        if choice.source is Source.LOGIN:
            return await self._valid(state)
        return _not_of_login(state, choice)

    def at_once(self, provider: str, sent: Fields = ()) -> RequestCredential | None:
        """The same, where nothing has to be read, renewed or waited for; else None: ask `headers`. Raises `Unauthenticated`."""
        state = self._states[provider]
        login = state.login
        if state.auth.wants_login and (state.broken is not None or self._store.stamp(provider) != state.stamp):
            return None
        choice = choose(state.auth, has_login=login is not None, sent=sent, own_token=self._own_token)
        if choice.source is not Source.LOGIN:
            return _not_of_login(state, choice)
        if login is None or login.expired(self._now()):
            return None
        self._renew_ahead(state)
        return state.credential

    async def refresh_after_401(self, provider: str, used: RequestCredential) -> RequestCredential | None:
        """A credential to replay a request with, after the upstream refused the one it `used`.

        Requests in parallel share one refresh. None: nothing can be renewed, the upstream's 401 goes to the client as
        it is. Raises as `headers` does.
        """
        state = self._states[provider]
        if used.source is not Source.LOGIN:
            return None
        await self._look(state)
        if state.login is None:
            raise Unauthenticated(f"The login for {provider} is gone: run `{_client(state).command}`.")
        for _ in range(2):  # the first refresh to wait for may have begun before, for another reason
            if not same_secret(state.login.access_token, used.token):
                return await self._valid(state)
            self._refuse_dead(state)
            if state.task is None and not self._may_force(state):
                log.warning("%s: the upstream refuses even renewed tokens; not renewing again at once", provider)
                return None
            await self._renewed(state, used.token)
        return None if same_secret(state.login.access_token, used.token) else await self._valid(state)

    def login_now(self, provider: str) -> Login:
        """A valid login, blocking: for the command line. Raises `LoginError`."""
        client, now = _client(self._states[provider]), self._now()
        login = self._store.load(provider, client.login)
        if login is None:
            raise NoLogin(f"No login for {client.title}: run `{client.command}`.")
        if not login.due(now):
            return login
        with ThreadPoolExecutor(1) as pool:  # Ctrl-C waits for the answer: it holds a token that exists once
            try:
                return pool.submit(self._renew, client, None, None).result().login
            except LoginError:
                if login.expired(now):
                    raise
                return login

    async def tick(self) -> None:
        """Renew in the background what is due."""
        for state in self._states.values():
            if state.auth.wants_login:
                with suppress(ExchangeError):  # the next request gets the error
                    await self._look(state)
                    self._renew_ahead(state)

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """`tick` until cancelled. The pauses are short because timers stand still while a laptop sleeps."""
        while True:
            await self.tick()
            await sleep(_TICK)

    async def aclose(self) -> None:
        """Let a running refresh finish: its answer holds a token that exists once."""
        running = [state.task for state in self._states.values() if state.task is not None]
        await asyncio.gather(*running, return_exceptions=True)

    async def _look(self, state: _State) -> None:
        """Read the login from disk, if it changed."""
        name, client = state.auth.provider, _client(state)
        stamp = self._store.stamp(name)
        if stamp == state.stamp and state.broken is None:
            return
        seen = state.login
        try:
            login = await asyncio.to_thread(self._store.load, name, client.login)
        except StoreError as error:
            state.broken = error
            raise Unauthenticated(str(error)) from None
        if state.login is seen:  # else a refresh was quicker, and knows better
            self._take(state, login, stamp)

    def _take(self, state: _State, login: Login | None, stamp: Stamp | None) -> None:
        state.stamp, state.broken, state.login = stamp, None, login
        state.credential = wire.of_login(state.auth.provider, login) if login is not None else None
        state.failure, state.failures, state.retry_at = None, 0, None

    async def _valid(self, state: _State) -> RequestCredential:
        login, credential, now = state.login, state.credential, self._now()
        if login is None or credential is None:
            raise Unauthenticated(f"The login for {state.auth.provider} is gone: run `{_client(state).command}`.")
        if login.expired(now) and not same_secret(login.access_token, state.unending):
            self._refuse_dead(state)
            await self._renewed(state)
            return state.credential or credential
        self._renew_ahead(state)
        return credential

    def _refuse_dead(self, state: _State) -> None:
        """Do not ask the vendor again after a final refusal."""
        login = state.login
        if login is not None and (login.refused or login.refresh_token is None):
            raise Unauthenticated(renewal.dead(_client(state), login))

    def _renew_ahead(self, state: _State) -> None:
        login, now = state.login, self._now()
        if login is None or login.refused or login.refresh_token is None or not login.due(now):
            return
        if same_secret(login.access_token, state.unending) or self._pausing(state, now):
            return
        self._start(state, None)  # type: ignore[unused-awaitable]  # `state.task` keeps it; the next request may wait

    async def _renewed(self, state: _State, rejected: SecretStr | None = None) -> None:
        """Wait for the one refresh. A request that is cancelled does not end it for the others."""
        if state.task is None and state.failure is not None and self._pausing(state, self._now()):
            raise self._as_response(state, state.failure)
        try:
            await asyncio.shield(self._start(state, rejected))
        except LoginError as error:
            raise self._as_response(state, error) from None

    def _start(self, state: _State, rejected: SecretStr | None) -> asyncio.Task[None]:
        if state.task is None:
            state.task = asyncio.get_running_loop().create_task(self._refresh(state, rejected))
            state.task.add_done_callback(_seen)
        return state.task

    async def _refresh(self, state: _State, rejected: SecretStr | None) -> None:
        client = _client(state)
        try:
            renewed = await asyncio.to_thread(self._renew, client, state.login, rejected)
        except LoginError as error:
            if isinstance(error, (OAuthRefused, OAuthUnreachable)) or isinstance(error.__context__, OAuthRefused):
                self._refreshed(client.provider, ok=False)  # others end before the vendor is asked
            self._remember(state, error)
            raise
        finally:
            state.task = None
        if renewed.by_vendor:
            self._refreshed(client.provider, ok=True)
        self._take(state, renewed.login, renewed.stamp)
        if renewed.login.expired(self._now()):
            state.unending = renewed.login.access_token
            log.warning("%s: a new token has already ended; is this machine's clock right?", client.provider)

    def _renew(self, client: OAuthClient, in_memory: Login | None, rejected: SecretStr | None) -> Renewed:
        return renewal.renew(self._store, client, self._network, self._now, in_memory=in_memory, rejected=rejected)

    def _remember(self, state: _State, error: LoginError) -> None:
        log.warning("%s: the login could not be renewed: %s", state.auth.provider, error)
        if isinstance(error, (LoginDead, NoLogin)):
            state.stamp = None  # the file says so now: read it again
            return
        pause = min(_FIRST_PAUSE * 2**state.failures, _LONGEST_PAUSE) if state.failures < 6 else _LONGEST_PAUSE
        if isinstance(error, OAuthUnreachable) and error.retry_after is not None:
            pause = min(max(pause, timedelta(seconds=error.retry_after)), _LONGEST_ASKED)
        state.failure, state.failures, state.retry_at = error, state.failures + 1, self._now() + pause

    def _pausing(self, state: _State, now: datetime) -> bool:
        return state.retry_at is not None and now < state.retry_at

    def _may_force(self, state: _State) -> bool:
        """Three refreshes a minute for 401s: an upstream that refuses everything must not cost token after token."""
        now = self._now()
        if len(state.forced) == _FORCED and now - state.forced[0] < _FORCED_WITHIN:
            return False
        state.forced.append(now)
        return True

    def _as_response(self, state: _State, error: LoginError) -> ExchangeError:
        """A failed refresh as the error for a request: 401 where signing in again helps, else one that says when to try again."""
        if isinstance(error, StoreBusy):
            return Unavailable(str(error))
        if isinstance(error, (OAuthRefused, OAuthUnreachable)):
            wait = (state.retry_at or self._now()) - self._now()
            seconds = str(max(math.ceil(wait.total_seconds()), 1))
            return UpstreamUnreachable(
                f"The stored login has to be renewed, which failed: {error}.", headers={"retry-after": seconds}
            )
        return Unauthenticated(str(error))


def _client(state: _State) -> OAuthClient:
    assert state.auth.client is not None  # `wants_login` says so
    return state.auth.client


def _seen(task: asyncio.Task[None]) -> None:
    """No request may have waited. A failed refresh is logged by `_remember`; anything else is a defect."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, LoginError):
        log.error("renewing a login broke", exc_info=error)
