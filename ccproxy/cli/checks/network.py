"""Whether upstreams can be reached, and whether this machine's clock is right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ccproxy.cli.checks.finding import Finding, broken, ok, skipped, warn

TOLERANCE = timedelta(minutes=2)
"""A login is renewed five minutes before it ends: a clock that is off by less than this does no harm."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a connection to an upstream came. Nothing was asked of it."""

    name: str
    address: str
    via: str = ""
    """The company's proxy."""
    step: str = ""
    """Where it failed: `proxy`, `connect` or `tls`; empty: it is reached."""
    error: str = ""
    date: datetime | None = None
    """What a proxy on the way takes for now."""
    clock: str = ""
    """What the certificate's dates say of our clock, where they contradict it."""


_FIXES = {
    "proxy": "check HTTPS_PROXY and NO_PROXY, with the login in the URL if the proxy wants one",
    "connect": "check the network and providers.{name}.base_url; behind a company's proxy set HTTPS_PROXY",
    "tls": "if a company's proxy opens TLS, name its CA: SSL_CERT_FILE=/path/to/ca.pem",
}


def reachability(reached: Iterable[Reach]) -> list[Finding]:
    """One finding an upstream."""
    found = []
    for each in reached:
        via = f" through {each.via}" if each.via else ""
        if each.step:
            found.append(
                broken(
                    f"upstream {each.name}",
                    f"{each.address} is not reached{via}: {each.error}",
                    "requests of this provider are answered 502",
                    _FIXES[each.step].format(name=each.name),
                )
            )
        else:
            found.append(ok(f"upstream {each.name}", f"{each.address} is reached{via}"))
    return found


def clock(reached: Iterable[Reach], now: datetime) -> Finding:
    """From the dates that were seen on the way; without any there is nothing to compare."""
    reached = list(reached)
    why = "logins end by the clock: they look expired too early, or are used too late"
    fix = "let the system set its clock: timedatectl set-ntp true"
    if wrong := next((each.clock for each in reached if each.clock), None):
        return broken("clock", f"{wrong}, says {now:%Y-%m-%d %H:%M} here", why, fix)
    seen = next((each.date for each in reached if each.date), None)
    if seen is None:
        if any(not each.step and each.address.startswith("https") for each in reached):
            return ok("clock", "certificates are valid at this machine's time")
        return skipped("clock", "nobody on the way told the time")
    off = now - seen
    if abs(off) > TOLERANCE:
        return warn("clock", f"{abs(off).total_seconds():.0f} s {'ahead' if off > timedelta() else 'behind'}", why, fix)
    return ok("clock", f"within {abs(off).total_seconds():.0f} s")


def http_date(value: str) -> datetime | None:
    """A `Date` header's time."""
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(value).astimezone(UTC)
    except ValueError:
        return None
