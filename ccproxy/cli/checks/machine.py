"""Python, mitmproxy, the optional parts."""

from __future__ import annotations

from ccproxy.cli.checks.finding import Finding, ok, warn

NEWEST_BRANCH = (3, 12)
"""The first Python on which mitmproxy is still developed."""


def versions(python: tuple[int, int, int], mitmproxy: str) -> Finding:
    """Whether this is the branch of mitmproxy that gets fixes; SECURITY.md says the same."""
    what = f"Python {'.'.join(map(str, python))}, mitmproxy {mitmproxy}"
    if python[:2] >= NEWEST_BRANCH:
        return ok("python", what)
    return warn(
        "python",
        what,
        "mitmproxy 11.1 and later need Python 3.12, so this branch lacks their fixes of CVE-2025-23217 (mitmweb without a token: ccproxy asks "
        "for one itself) and CVE-2026-40606 (LDAP login for a proxy, which ccproxy does not use)",
        "install ccproxy with Python 3.12 or later: pipx install --python python3.13 .",
    )


def claude_sdk(*, enabled: bool, installed: bool) -> list[Finding]:
    """Whether `/claude` can work at all."""
    if not enabled:
        return []
    if installed:
        return [ok("claude sdk", "installed")]
    return [
        warn(
            "claude sdk",
            "not installed",
            "/claude answers 503 without it; the other routes do not need it",
            "pipx install 'ccproxy-api[claude]', or pip install claude-agent-sdk into ccproxy's environment",
        )
    ]
