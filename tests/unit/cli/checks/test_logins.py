"""Credentials of providers."""

from __future__ import annotations

from pathlib import Path

import pytest

from ccproxy.cli.checks import logins
from ccproxy.cli.checks.finding import Finding, Severity
from ccproxy.providers.credentials import credential
from ccproxy.settings import Loaded, Settings, load

OK, WARN, BROKEN, SKIPPED = Severity.OK, Severity.WARN, Severity.BROKEN, Severity.SKIPPED


def settings_of(**environ: str) -> Settings:
    return loaded_of(**environ).settings


def loaded_of(**environ: str) -> Loaded:
    return load(environ=environ, folder=Path("/nonexistent"))


def complete(finding: Finding) -> None:
    """What is not well says why it matters and what mends it."""
    if finding.severity in {WARN, BROKEN}:
        assert finding.why, finding
        assert finding.fix, finding


@pytest.mark.parametrize(
    ("environ", "login", "severity", "says"),
    [
        ({"PROVIDERS__CODEX__API_KEY": "k"}, False, OK, "api key"),
        ({}, True, OK, "login"),
        ({}, False, OK, "passed through"),
        ({"PROVIDERS__CODEX__AUTH": "oauth"}, False, BROKEN, "none"),
        ({"PROVIDERS__CODEX__AUTH": "api_key"}, True, BROKEN, "none"),
    ],
)
def test_logins(environ: dict[str, str], login: bool, severity: Severity, says: str) -> None:
    (found,) = logins.credentials({"codex": credential(settings_of(**environ), "codex", has_login=login)})
    complete(found)
    assert found.severity is severity
    assert says in found.what


def test_a_provider_that_needs_no_credential_is_not_asked_for_one() -> None:
    assert logins.credentials({"mock": credential(settings_of(), "mock")}) == []


@pytest.mark.parametrize(
    ("path", "version", "logged_in", "has_key", "severities"),
    [
        (None, None, None, False, [WARN]),
        ("/c", None, None, False, [BROKEN]),
        ("/c", "2.1.330", True, False, [OK, OK]),
        ("/c", "2.1.330", False, False, [OK, WARN]),
        ("/c", "2.1.330", None, False, [OK, SKIPPED]),
        ("/c", "2.1.330", False, True, [OK, OK]),
    ],
)
def test_claude_code(
    path: str | None, version: str | None, logged_in: bool | None, has_key: bool, severities: list[Severity]
) -> None:
    found = logins.claude_code(path, version, logged_in, has_key=has_key)
    for finding in found:
        complete(finding)
    assert [finding.severity for finding in found] == severities
