"""What ccproxy has to show each upstream, and the login of Claude Code for `/claude`."""

from __future__ import annotations

from collections.abc import Mapping

from ccproxy.cli.checks.finding import Finding, broken, ok, skipped, warn
from ccproxy.providers.credentials import Credential, CredentialState


def credentials(found: Mapping[str, Credential]) -> list[Finding]:
    """One finding for each provider that asks for a credential, by the provider's name."""
    return [
        _credential(name, credential)
        for name, credential in found.items()
        if credential.state is not CredentialState.UNNEEDED
    ]


def _credential(name: str, credential: Credential) -> Finding:
    subject = f"login {name}"
    if credential.state is CredentialState.MISSING:
        return broken(
            subject, f"none, and auth is {credential.auth!r}", "every request is answered 401", credential.remedy
        )
    if credential.state is CredentialState.CLIENT:
        what = "ccproxy has none: a client's own key of this provider is passed through, any other client gets 401"
        return ok(subject, f"{what}. To change that: {credential.remedy}")
    return ok(subject, credential.state.value)


def claude_code(path: str | None, version: str | None, logged_in: bool | None, *, has_key: bool) -> list[Finding]:
    """The `claude` program that `/claude` runs. `logged_in` None: it did not say; `has_key`: providers.claude_sdk.api_key is set."""
    if path is None:
        return [
            warn(
                "claude code",
                "no claude program found",
                "/claude runs the user's own Claude Code",
                "npm install -g @anthropic-ai/claude-code, or ccproxy config set providers.claude_sdk.cli_path /path/to/claude",
            )
        ]
    if version is None:
        return [
            broken(
                "claude code",
                f"{path} does not tell its version",
                "/claude cannot start it",
                f"try it: {path} --version",
            )
        ]
    found = [ok("claude code", f"{version} ({path})")]
    if has_key:
        return [*found, ok("claude code login", "providers.claude_sdk.api_key")]
    if logged_in is None:
        return [*found, skipped("claude code login", "it does not say whether it is logged in", "claude auth status")]
    if not logged_in:
        why = "/claude answers 401: it uses Claude Code's own login"
        return [*found, warn("claude code login", "not logged in", why, "claude auth login")]
    return [*found, ok("claude code login", "logged in")]
