"""Checks of Python, mitmproxy and the optional parts."""

from __future__ import annotations

from ccproxy.cli.checks.finding import Finding, ok, warn

NEWEST_BRANCH = (3, 12)
"""The first Python that new mitmproxy releases support."""


def versions(python: tuple[int, int, int], mitmproxy: str) -> Finding:
    """Check that this branch of mitmproxy gets security fixes. SECURITY.md has the same facts."""
    what = f"Python {'.'.join(map(str, python))}, mitmproxy {mitmproxy}"
    if python[:2] >= NEWEST_BRANCH:
        return ok("python", what)
    return warn(
        "python",
        what,
        "mitmproxy 11.1 and later need Python 3.12, so this branch lacks the fixes for CVE-2025-23217 (mitmweb without a token, but ccproxy "
        "adds one) and CVE-2026-40606 (LDAP authentication, which ccproxy does not use)",
        "install ccproxy with Python 3.12 or later: pipx install --python python3.13 .",
    )


def claude_sdk(*, enabled: bool, installed: bool) -> list[Finding]:
    """Check the requirements of `/claude`."""
    if not enabled:
        return []
    if installed:
        return [ok("claude sdk", "installed")]
    return [
        warn(
            "claude sdk",
            "not installed",
            "/claude responds with 503 without it; the other routes do not need it",
            "pipx install 'ccproxy-api[claude]', or pip install claude-agent-sdk in ccproxy's environment",
        )
    ]
