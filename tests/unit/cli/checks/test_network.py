"""Reachability and the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ccproxy.cli.checks import network
from ccproxy.cli.checks.finding import Finding, Severity
from ccproxy.cli.checks.network import Reach

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

OK, WARN, BROKEN, SKIPPED = Severity.OK, Severity.WARN, Severity.BROKEN, Severity.SKIPPED


def complete(finding: Finding) -> None:
    """What is not well says why it matters and what mends it."""
    if finding.severity in {WARN, BROKEN}:
        assert finding.why, finding
        assert finding.fix, finding


def test_reachability_names_the_step_that_failed() -> None:
    reached = [
        Reach("a", "https://a:443"), Reach("b", "https://b:443", step="tls", error="self-signed certificate"),
        Reach("c", "https://c:443", via="http://proxy:8080", step="proxy", error="the proxy responded with 407"),
    ]  # fmt: skip
    found = network.reachability(reached)
    for finding in found:
        complete(finding)
    assert [finding.severity for finding in found] == [OK, BROKEN, BROKEN]
    assert "SSL_CERT_FILE" in found[1].fix
    assert "HTTPS_PROXY" in found[2].fix
    assert "through http://proxy:8080" in found[2].what


@pytest.mark.parametrize(
    ("reached", "severity", "says"),
    [
        ([Reach("a", "https://a:443")], OK, "certificates are valid"),
        ([Reach("a", "http://a:80")], SKIPPED, "no response contained a date"),
        ([Reach("a", "https://a:443", date=NOW - timedelta(seconds=30))], OK, "within 30 s"),
        ([Reach("a", "https://a:443", date=NOW - timedelta(hours=1))], WARN, "3600 s ahead"),
        ([Reach("a", "https://a:443", date=NOW + timedelta(hours=1))], WARN, "3600 s behind"),
        (
            [Reach("a", "https://a:443", step="tls", clock="the certificate of a is not valid yet")],
            BROKEN,
            "not valid yet",
        ),
    ],
)
def test_clock(reached: list[Reach], severity: Severity, says: str) -> None:
    finding = network.clock(reached, NOW)
    complete(finding)
    assert finding.severity is severity
    assert says in finding.what


def test_dates() -> None:
    assert network.http_date("Sun, 22 Nov 2026 12:00:00 GMT") == NOW
    assert network.http_date("soon") is None
