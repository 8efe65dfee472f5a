"""The sign-in flows: a browser that comes back, a code to paste, a code to type elsewhere. Storing is the caller's.

Every flow returns the login, or raises a `LoginError` whose message is meant for the person in front of the terminal.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import urlsplit

from pydantic import SecretStr

from ccproxy.auth import oauth
from ccproxy.auth.callback import Callback, LoginRefused, Received, read_callback
from ccproxy.auth.clients import OAuthClient
from ccproxy.auth.credentials import Login
from ccproxy.auth.token_responses import DeviceCode, DeviceGrant, OAuthRefused, OAuthUnreachable, TokenResponse
from ccproxy.errors import LoginError
from ccproxy.network import Network
from ccproxy.settings.values import cleaned


class LoginTimeout(LoginError):
    """The sign-in was not finished in time."""


class NoBrowser(LoginError):
    """No browser could be opened; the message names the way without one."""


class Person(Protocol):
    """The person who signs in."""

    def say(self, text: str) -> None: ...

    def ask(self, question: str) -> str:
        """An answer in one line. Raises `EOFError` where standard input has ended."""
        ...

    def pasted(self) -> str | None:
        """A line that was typed meanwhile, without waiting for one."""
        ...

    def open(self, url: str) -> bool:
        """Open a browser; False when there is none. May take as long as the browser lives."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the flows wait, in seconds; tests pass in the clock and the waiting."""

    browser: float = 300
    device: float = 15 * 60  # OpenAI's device codes live that long
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def browser_login(
    client: OAuthClient, network: Network, person: Person, pace: Pace, *, open_browser: bool = True
) -> Login:
    """PKCE with a browser that comes back to a port of this machine.

    Without `open_browser` the person opens the page, perhaps on another machine, and may paste the address that the
    browser ends at instead of coming back here.
    """
    outcomes: queue.SimpleQueue[Received] = queue.SimpleQueue()
    with Callback(client.redirect_uri, client.fallback_ports, outcomes) as callback:
        begun = oauth.authorize(client, callback.redirect_uri)
        callback.expect(begun.state)
        if open_browser:
            person.say(f"Your browser opens this page to sign in at {client.title}:\n{begun.url}\n")
            _open(person, begun.url, client, outcomes)
        else:
            person.say(f"Open this page in a browser to sign in at {client.title}:\n{begun.url}\n")
            person.say(
                "A browser on this machine returns here automatically. A browser on another machine ends at an "
                "address that it cannot open: paste that address here."
            )
        received = _awaited(outcomes, person, pace, begun, callback, paste=not open_browser)
    if received.problem is not None:
        raise received.problem
    assert received.code is not None  # no problem: a code
    return _login(client, pace, lambda code: oauth.exchange(client, begun, code, network), received.code)


def manual_login(client: OAuthClient, network: Network, person: Person, pace: Pace) -> Login:
    """PKCE with the vendor's page that shows `code#state`, to be pasted."""
    begun = oauth.authorize(client, client.manual_redirect_uri)
    person.say(f"Open this page in a browser to sign in at {client.title}:\n{begun.url}\n")
    try:
        pasted = person.ask("Paste the code that the page shows")
    except EOFError:
        raise LoginRefused("No code was pasted. Nothing was stored.") from None
    received = _read_paste(pasted, begun)
    if received.problem is not None:
        raise received.problem
    assert received.code is not None  # no problem: a code
    return _login(client, pace, lambda code: oauth.exchange(client, begun, code, network), received.code)


def device_login(client: OAuthClient, network: Network, person: Person, pace: Pace) -> Login:
    """A code that the person types into a page, on any device."""
    if client.device is None:
        raise LoginRefused(f"{client.title} has no device login")
    try:
        device = oauth.device_code(client, network)
    except OAuthRefused as error:
        raise LoginRefused(f"No device login: {error}. Without it: `{client.command} --no-browser`.") from None
    person.say(
        f"Open this page on any device:  {client.device.page}\n"
        f"and type this code there:      {device.user_code}\n\n"
        "Never type a code that you got from someone else. Waiting …"
    )
    grant = _polled(client, network, pace, device)
    return _login(client, pace, lambda _: oauth.exchange_device(client, grant, network), grant.code)


def _polled(client: OAuthClient, network: Network, pace: Pace, device: DeviceCode) -> DeviceGrant:
    deadline = pace.monotonic() + pace.device
    wait, why = device.interval, "the code was not typed"
    while pace.monotonic() < deadline:
        pace.sleep(wait)
        wait, why = device.interval, "the code was not typed"
        try:
            grant = oauth.device_grant(client, device, network)
        except OAuthRefused as error:
            raise LoginRefused(f"The sign-in failed: {error}. Nothing was stored.") from None
        except OAuthUnreachable as error:  # one lost poll is not a failure; the deadline is
            wait, why = error.retry_after or device.interval, str(error)
            continue
        if grant is not None:
            return grant
    raise LoginTimeout(f"The sign-in was not finished within {_minutes(pace.device)} ({why}). Nothing was stored.")


def _login(client: OAuthClient, pace: Pace, exchange: Callable[[SecretStr], TokenResponse], code: SecretStr) -> Login:
    try:
        tokens = exchange(code)
    except OAuthRefused as error:
        raise LoginRefused(
            f"The code was not accepted: {error}. A code works once and for a few minutes only: "
            f"run `{client.command}` again."
        ) from None
    except OAuthUnreachable as error:
        raise LoginRefused(f"The sign-in could not be finished: {error}. Nothing was stored.") from None
    return client.login.from_response(tokens, pace.now(), scopes=client.scopes)


def _open(person: Person, url: str, client: OAuthClient, outcomes: queue.SimpleQueue[Received]) -> None:
    """In a thread of its own: a browser named by `BROWSER` may keep it until it is closed."""

    def opened() -> None:
        if not person.open(url):
            way = f"{client.command} --no-browser"
            outcomes.put(Received(None, NoBrowser(f"No browser could be opened here. Without one: `{way}`.")))

    threading.Thread(target=opened, daemon=True).start()


def _awaited(
    outcomes: queue.SimpleQueue[Received],
    person: Person,
    pace: Pace,
    begun: oauth.Authorization,
    callback: Callback,
    *,
    paste: bool,
) -> Received:
    deadline = pace.monotonic() + pace.browser
    while (left := deadline - pace.monotonic()) > 0:
        try:
            return outcomes.get(timeout=min(left, 0.2))  # short: Ctrl-C and a pasted line are seen in between
        except queue.Empty:
            line = person.pasted() if paste else None
        if line:
            return _read_paste(line, begun)
    count = callback.strangers
    ignored = f" ({count} answer{'s' * (count > 1)} of other sign-ins ignored)" if count else ""
    raise LoginTimeout(f"The browser did not come back within {_minutes(pace.browser)}{ignored}. Nothing was stored.")


def _read_paste(pasted: str, begun: oauth.Authorization) -> Received:
    """`code#state`, or the whole address that a browser ended at."""
    text, state = cleaned(pasted), begun.state.get_secret_value()
    if "://" in text:
        return read_callback(urlsplit(text).query, state)
    code, mark, pasted_state = text.partition("#")
    if not code or not mark:
        return Received(None, LoginRefused("That is not the whole code: it reads CODE#STATE. Nothing was stored."))
    if pasted_state != state:
        return Received(None, LoginRefused("That code belongs to another sign-in (wrong state). Nothing was stored."))
    return Received(SecretStr(code))


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
