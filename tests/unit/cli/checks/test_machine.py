"""Python, mitmproxy and the Claude SDK."""

from __future__ import annotations

import pytest

from ccproxy.cli.checks import machine
from ccproxy.cli.checks.finding import Finding, Severity

OK, WARN, BROKEN, SKIPPED = Severity.OK, Severity.WARN, Severity.BROKEN, Severity.SKIPPED


def complete(finding: Finding) -> None:
    """What is not well says why it matters and what mends it."""
    if finding.severity in {WARN, BROKEN}:
        assert finding.why, finding
        assert finding.fix, finding


@pytest.mark.parametrize(("python", "severity"), [((3, 13, 0), OK), ((3, 12, 0), OK), ((3, 11, 7), WARN)])
def test_python(python: tuple[int, int, int], severity: Severity) -> None:
    found = machine.versions(python, "11.0.2")
    complete(found)
    assert found.severity is severity
    assert ("CVE-2025-23217" in found.why) is (severity is WARN)


def test_claude_sdk() -> None:
    assert machine.claude_sdk(enabled=False, installed=False) == []
    assert machine.claude_sdk(enabled=True, installed=True)[0].severity is OK
    assert "503" in machine.claude_sdk(enabled=True, installed=False)[0].why
