"""Findings about clients: versions, variables and configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from ccproxy.cli.checks import clients
from ccproxy.cli.checks.finding import Finding, Severity
from ccproxy.cli.running import Address
from ccproxy.providers.registry import providers
from ccproxy.providers.routing import Router
from ccproxy.settings import Loaded, Settings, load

HERE = Address("127.0.0.1", 8000)
OK, WARN, BROKEN, SKIPPED = Severity.OK, Severity.WARN, Severity.BROKEN, Severity.SKIPPED


def settings_of(**environ: str) -> Settings:
    return loaded_of(**environ).settings


def loaded_of(**environ: str) -> Loaded:
    return load(environ=environ, folder=Path("/nonexistent"))


ROUTER = Router(providers(settings_of()))


def complete(finding: Finding) -> None:
    """What is not well says why it matters and what mends it."""
    if finding.severity in {WARN, BROKEN}:
        assert finding.why, finding
        assert finding.fix, finding


@pytest.mark.parametrize(
    ("name", "text", "severities"),
    [
        ("claude", "2.1.330 (Claude Code)", [OK]),
        ("claude", "2.1.200 (Claude Code)", [WARN]),
        ("claude", "1.0.9", [WARN, WARN]),
        ("codex", "codex-cli 0.144.6", [WARN]),
        ("codex", "codex-cli 0.169.0", [OK]),
        ("llm", "llm, version 0.36", [OK]),
        ("llm", "no idea", [WARN]),
    ],
)
def test_versions_with_known_trouble(name: str, text: str, severities: list[Severity]) -> None:
    found = clients.installed(name, f"/bin/{name}", clients.parse_version(text))
    for finding in found:
        complete(finding)
    assert [finding.severity for finding in found] == severities


def test_a_missing_program_is_told_how_to_get() -> None:
    (found,) = clients.installed("codex", None, None)
    complete(found)
    assert "npm install -g @openai/codex" in found.fix


@pytest.mark.parametrize(
    ("name", "url", "severity", "says"),
    [
        ("ANTHROPIC_BASE_URL", "http://127.0.0.1:8000/api", OK, "leads to a route"),
        ("ANTHROPIC_BASE_URL", "http://localhost:8000/api/", OK, "leads to a route"),
        (
            "ANTHROPIC_BASE_URL",
            "http://127.0.0.1:8000/api/v1",
            BROKEN,
            "export ANTHROPIC_BASE_URL=http://127.0.0.1:8000/api",
        ),
        ("ANTHROPIC_BASE_URL", "http://127.0.0.1:8000", BROKEN, "export ANTHROPIC_BASE_URL=http://127.0.0.1:8000/api"),
        ("ANTHROPIC_BASE_URL", "http://127.0.0.1:8001/api", BROKEN, "another port"),
        ("ANTHROPIC_BASE_URL", "https://127.0.0.1:8000/api", BROKEN, "ccproxy uses plain http"),
        ("ANTHROPIC_BASE_URL", "https://api.anthropic.com", OK, "does not use ccproxy"),
        ("ANTHROPIC_BASE_URL", "http://127.0.0.1:eight/api", BROKEN, "is not a URL"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:8000/api/v1", OK, "leads to a route"),
        (
            "OPENAI_BASE_URL",
            "http://127.0.0.1:8000/api",
            BROKEN,
            "the client does not add /v1, so the URL must end with it",
        ),
        ("OPENAI_BASE_URL", "http://127.0.0.1:8000/api/codex", OK, "leads to a route"),
        (
            "OPENAI_API_BASE",
            "http://127.0.0.1:8000/claude",
            BROKEN,
            "export OPENAI_API_BASE=http://127.0.0.1:8000/claude/v1",
        ),
    ],
)
def test_base_urls(name: str, url: str, severity: Severity, says: str) -> None:
    (found,) = clients.base_urls({name: url}, HERE, ROUTER)
    complete(found)
    assert found.severity is severity
    assert says in f"{found.what} {found.why} {found.fix}"


def test_what_is_told_to_be_exported_is_right() -> None:
    """Taking the advice ends the trouble."""
    for name, url in (
        ("ANTHROPIC_BASE_URL", "http://127.0.0.1:9/claude/v1"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:8000/mock"),
    ):
        (found,) = clients.base_urls({name: url}, HERE, ROUTER)
        advised = found.fix.removeprefix(f"export {name}=")
        assert clients.base_urls({name: advised}, HERE, ROUTER)[0].severity is OK


def test_no_proxy() -> None:
    assert clients.no_proxy({}, HERE, bypassed=False) == []
    assert clients.no_proxy({"no": "x"}, HERE, bypassed=False) == []
    assert clients.no_proxy({"http": "http://proxy"}, HERE, bypassed=True)[0].severity is OK
    (found,) = clients.no_proxy({"https": "http://proxy"}, HERE, bypassed=False)
    complete(found)
    assert found.severity is BROKEN


def test_claude_variables() -> None:
    both = {"ANTHROPIC_API_KEY": "a", "ANTHROPIC_AUTH_TOKEN": "b", "ANTHROPIC_BASE_URL": "http://x"}
    found = clients.claude_variables(both, {"ANTHROPIC_BASE_URL": "http://y"})
    for finding in found:
        complete(finding)
    assert [finding.subject for finding in found] == ["claude keys", "claude settings"]
    assert clients.claude_variables({}, {})[0].fix == "ccproxy run claude"


def test_codex_configuration() -> None:
    def block(**more: object) -> dict[str, object]:
        return {"model_providers": {"mine": {"base_url": "http://127.0.0.1:8000/api/codex", **more}}}

    assert [each.severity for each in clients.codex_configuration(block(), HERE, ROUTER)] == [OK]
    old = clients.codex_configuration(block(wire_api="chat", supports_websockets=True), HERE, ROUTER)
    for finding in old:
        complete(finding)
    assert [each.severity for each in old] == [BROKEN, WARN, OK]
    assert clients.codex_configuration(block(base_url="http://127.0.0.1:8000/api"), HERE, ROUTER)[0].severity is BROKEN
    for nothing in (
        {},
        {"model_providers": "x"},
        block(base_url="https://api.openai.com/v1"),
        {"model_providers": {"mine": 1}},
    ):
        assert clients.codex_configuration(nothing, HERE, ROUTER)[0].severity is SKIPPED


def test_cursor_needs_a_public_name_a_token_and_a_tunnel() -> None:
    found = clients.cursor(settings_of())
    for finding in found:
        complete(finding)
    assert [finding.severity for finding in found] == [BROKEN, BROKEN, WARN]
    good = clients.cursor(
        settings_of(SERVER__AUTH_TOKEN="t", SERVER__ALLOWED_HOSTS="me.example", SERVER__HOST="0.0.0.0")
    )
    assert [finding.severity for finding in good] == [OK]
    assert "https://me.example/api/codex/v1" in good[0].what
