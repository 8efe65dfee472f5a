"""Checks of the credentials for each upstream, and of Claude Code's login for `/claude`."""

from __future__ import annotations

from collections.abc import Mapping

from ccproxy.cli.checks.finding import Finding, broken, ok, skipped, warn
from ccproxy.providers.credentials import Credential, CredentialState


def credentials(by_provider: Mapping[str, Credential]) -> list[Finding]:
    """Return one finding for each provider that needs a credential."""
    return [
        _credential(name, credential)
        for name, credential in by_provider.items()
        if credential.state is not CredentialState.UNNEEDED
    ]


def _credential(name: str, credential: Credential) -> Finding:
    subject = f"login {name}"
    if credential.state is CredentialState.MISSING:
        return broken(
            subject, f"none, and auth is {credential.auth!r}", "every request fails with 401", credential.remedy
        )
    if credential.state is CredentialState.CLIENT:
        what = "ccproxy has none: a client's own key for this provider is passed through, other clients get 401"
        return ok(subject, f"{what}. To add one, {credential.remedy}")
    return ok(subject, credential.state.value)


def claude_code(path: str | None, version: str | None, logged_in: bool | None, *, has_key: bool) -> list[Finding]:
    """Check the `claude` program of `/claude`.

    `logged_in` is None if the program does not report it; `has_key` states whether `providers.claude_sdk.api_key` is set.
    """
    if path is None:
        return [
            warn(
                "claude code",
                "the program claude was not found",
                "/claude runs your own Claude Code",
                "npm install -g @anthropic-ai/claude-code, or ccproxy config set providers.claude_sdk.cli_path /path/to/claude",
            )
        ]
    if version is None:
        return [
            broken(
                "claude code",
                f"{path} does not print its version",
                "/claude cannot start it",
                f"{path} --version",
            )
        ]
    findings = [ok("claude code", f"{version} ({path})")]
    if has_key:
        return [*findings, ok("claude code login", "providers.claude_sdk.api_key")]
    if logged_in is None:
        return [*findings, skipped("claude code login", "Claude Code does not report its login", "claude auth status")]
    if not logged_in:
        why = "/claude fails with 401, because it uses Claude Code's own login"
        return [*findings, warn("claude code login", "not logged in", why, "claude auth login")]
    return [*findings, ok("claude code login", "logged in")]
