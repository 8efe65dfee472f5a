"""What the checks of `ccproxy doctor` say of facts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ccproxy.cli.checks import clients, configuration, listening, logins, machine, mock_requests, network
from ccproxy.cli.checks.configuration import File
from ccproxy.cli.checks.finding import Finding, Severity
from ccproxy.cli.checks.mock_requests import QUESTION, Reply
from ccproxy.cli.checks.network import Reach
from ccproxy.cli.running import Address, Listener, PortState
from ccproxy.providers.credentials import credential
from ccproxy.providers.registry import providers
from ccproxy.providers.routing import Router
from ccproxy.settings import Loaded, Settings, load

HERE = Address("127.0.0.1", 8000)
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
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


def test_configuration_names_what_is_set_and_where_but_no_value() -> None:
    found = configuration.sources(loaded_of(SERVER__PORT="9000", PROVIDERS__CLAUDE_API__API_KEY="very-secret"))
    assert "server.port (environment SERVER__PORT)" in found[0].what
    assert "providers.claude_api.api_key (environment PROVIDERS__CLAUDE_API__API_KEY)" in found[0].what
    assert "very-secret" not in str(found)
    assert "every setting has its default" in configuration.sources(loaded_of())[0].what


def test_an_untrusted_file_is_told_of(tmp_path: Path) -> None:
    (tmp_path / ".ccproxy.toml").write_text('[providers.claude_api]\nbase_url = "http://127.0.0.1:1"\n')
    found = configuration.sources(load(environ={}, folder=tmp_path))
    assert found[1].severity is WARN
    assert "ccproxy config trust" in found[1].fix


def test_modes() -> None:
    files = [
        File(Path("/x/key file"), 0o644), File(Path("/x"), 0o755, is_folder=True), File(Path("/t"), 0o644, is_secret=False),
        File(Path("/u"), 0o666, is_secret=False),
    ]  # fmt: skip
    assert [finding.fix for finding in configuration.modes(files)] == [
        "chmod 600 '/x/key file'",
        "chmod 700 /x",
        "chmod 600 /u",
    ]
    assert configuration.modes([File(Path("/x"), 0o600)])[0].severity is OK


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
