"""Checks of the connections to upstreams and of the clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ccproxy.cli.checks.finding import Finding, broken, ok, skipped, warn

TOLERANCE = timedelta(minutes=2)
"""A smaller difference does no harm, because a login is renewed five minutes before it expires."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The result of connecting to an upstream, without any request."""

    name: str
    address: str
    via: str = ""
    """The corporate proxy in use."""
    step: str = ""
    """The step that failed: `proxy`, `connect` or `tls`; empty if the upstream is reachable."""
    error: str = ""
    date: datetime | None = None
    """The time according to a corporate proxy."""
    clock: str = ""
    """The contradiction between the dates of the certificate and this machine's clock."""


_FIXES = {
    "proxy": "check HTTPS_PROXY and NO_PROXY; if the proxy requires a login, it belongs in the URL",
    "connect": "check the network and providers.{name}.base_url; behind a corporate proxy, set HTTPS_PROXY",
    "tls": "if a corporate proxy inspects TLS, set SSL_CERT_FILE=/path/to/ca.pem to its CA",
}


def reachability(reached: Iterable[Reach]) -> list[Finding]:
    """Return one finding for each upstream."""
    findings = []
    for each in reached:
        via = f" through {each.via}" if each.via else ""
        if each.step:
            findings.append(
                broken(
                    f"upstream {each.name}",
                    f"{each.address} is not reachable{via}: {each.error}",
                    "requests to this provider fail with 502",
                    _FIXES[each.step].format(name=each.name),
                )
            )
        else:
            findings.append(ok(f"upstream {each.name}", f"{each.address} is reachable{via}"))
    return findings


def clock(reached: Iterable[Reach], now: datetime) -> Finding:
    """Compare this machine's clock with the dates that were seen."""
    reached = list(reached)
    why = "logins expire by the clock, so they are renewed too early or too late"
    fix = "synchronize the clock: timedatectl set-ntp true"
    if wrong := next((each.clock for each in reached if each.clock), None):
        return broken("clock", f"{wrong} according to this machine's clock ({now:%Y-%m-%d %H:%M} UTC)", why, fix)
    date = next((each.date for each in reached if each.date), None)
    if date is None:
        if any(not each.step and each.address.startswith("https") for each in reached):
            return ok("clock", "certificates are valid at the current time")
        return skipped("clock", "no response contained a date")
    off = now - date
    if abs(off) > TOLERANCE:
        return warn("clock", f"{abs(off).total_seconds():.0f} s {'ahead' if off > timedelta() else 'behind'}", why, fix)
    return ok("clock", f"within {abs(off).total_seconds():.0f} s")


def http_date(value: str) -> datetime | None:
    """Return the time of a `Date` header, or None if it is not valid."""
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(value).astimezone(UTC)
    except ValueError:
        return None
