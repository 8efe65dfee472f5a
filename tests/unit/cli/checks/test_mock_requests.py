"""Requests to the mock provider."""

from __future__ import annotations

from ccproxy.cli.checks import mock_requests
from ccproxy.cli.checks.finding import Finding, Severity
from ccproxy.cli.checks.mock_requests import QUESTION, Reply

OK, WARN, BROKEN, SKIPPED = Severity.OK, Severity.WARN, Severity.BROKEN, Severity.SKIPPED


def complete(finding: Finding) -> None:
    """What is not well says why it matters and what mends it."""
    if finding.severity in {WARN, BROKEN}:
        assert finding.why, finding
        assert finding.fix, finding


def test_answers() -> None:
    good = Reply("A", streamed=False, status=200, body=f"You said: {QUESTION}")
    received = [
        good, Reply("A", streamed=True, status=200, body=QUESTION),
        Reply("B", streamed=False, status=501, body='{"error":{"message":"not yet"}}'),
        Reply("C", streamed=True, status=200, body="something else"),
        Reply("D", streamed=False, status=0, body="connection refused"),
        Reply("E", streamed=False, status=500, body="<html>"),
    ]  # fmt: skip
    found = mock_requests.replies(received)
    for finding in found:
        complete(finding)
    assert [finding.severity for finding in found] == [OK, WARN, BROKEN, BROKEN, BROKEN]
    assert [finding.what for finding in found[1:]] == [
        "whole: 501 not yet", "streamed: 200, but not the expected answer", "whole: no response: connection refused", "whole: 500 <html>",
    ]  # fmt: skip
