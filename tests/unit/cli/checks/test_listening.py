"""The port, and Claude Code's processes."""

from __future__ import annotations

import pytest

from ccproxy.cli.checks import listening
from ccproxy.cli.checks.finding import Finding, Severity
from ccproxy.cli.running import Address, Listener, PortState

HERE = Address("127.0.0.1", 8000)

OK, WARN, BROKEN, SKIPPED = Severity.OK, Severity.WARN, Severity.BROKEN, Severity.SKIPPED


def complete(finding: Finding) -> None:
    """What is not well says why it matters and what mends it."""
    if finding.severity in {WARN, BROKEN}:
        assert finding.why, finding
        assert finding.fix, finding


@pytest.mark.parametrize(
    ("state", "severity", "fix"),
    [
        (PortState(Listener.NOTHING), WARN, "ccproxy serve"),
        (PortState(Listener.OTHER), BROKEN, "ccproxy config set server.port 8001"),
        (PortState(Listener.LOCKED), BROKEN, "SERVER__AUTH_TOKEN"),
        (PortState(Listener.CCPROXY, "0.0.9"), WARN, "ccproxy serve"),
        (PortState(Listener.CCPROXY, "1.0.0"), OK, ""),
    ],
)
def test_port(state: PortState, severity: Severity, fix: str) -> None:
    finding = listening.port(state, HERE, "1.0.0")
    complete(finding)
    assert finding.severity is severity
    assert fix in finding.fix


def test_claude_processes() -> None:
    idle = {"live": 0, "max": 8, "spare": 0, "waiting": 0}
    assert list(listening.claude_processes({"processes": idle, "sessions": []})) == []
    assert list(listening.claude_processes({})) == []
    session = {"id": "mine", "busy": True, "pid": None, "turns": 0, "idle_seconds": 0}
    facts = {"processes": {"live": 3, "max": 8, "spare": 1, "waiting": 2}, "sessions": [session]}
    assert [(finding.subject, finding.what) for finding in listening.claude_processes(facts)] == [
        ("claude processes", "3 of 8, 1 of them spare; 2 requests are waiting"),
        ("claude session mine", "busy, 0 turns, no process yet"),
    ]


def test_a_port_that_changes_cannot_be_pointed_at() -> None:
    assert listening.port(PortState(Listener.NOTHING), Address("127.0.0.1", 0), "1").severity is SKIPPED
