"""`ccproxy routes`: the table is what the router does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ccproxy.cli.routes import all_rows, routes
from ccproxy.providers.registry import providers
from ccproxy.providers.routing import Router
from ccproxy.providers.spec import Operation
from ccproxy.settings import Settings, load

ZAI = {
    "PROVIDERS__ZAI__PREFIX": "/zai",
    "PROVIDERS__ZAI__BASE_URL": "http://127.0.0.1:1/v1",
    "PROVIDERS__ZAI__FORMAT": "openai_chat",
}


def settings_of(environ: dict[str, str]) -> Settings:
    return load(environ=environ, folder=Path("/nonexistent")).settings


def test_every_row_is_a_route_and_says_how_it_is_handled() -> None:
    settings = settings_of(ZAI)
    router = Router(providers(settings))
    rows = list(all_rows(settings))
    assert {row.provider for row in rows} == {"claude_api", "codex", "claude_sdk", "mock", "zai"}
    for row in rows:
        shown = row.path.replace("[/ID]", "").replace("/*", "/anything")
        for path in {shown.replace("[/SESSION]", ""), shown.replace("[/SESSION]", "/abc")}:
            route = router.match("GET" if row.method == "*" else row.method, path)
            assert route.provider.name == row.provider
            estimated = route.operation is Operation.COUNT_TOKENS and not route.is_native
            inside = route.provider.upstream is None or estimated
            how = "inside" if inside else "native" if route.is_native else "translated"
            assert how == row.handling, path


def test_every_endpoint_is_shown() -> None:
    settings = settings_of(ZAI)
    shown = {(row.method, row.path.replace("[/SESSION]", "").replace("[/ID]", "")) for row in all_rows(settings)}
    for provider in providers(settings):
        for path, endpoint in provider.endpoints.items():
            assert (endpoint.method, provider.prefix + path) in shown


def test_upstream_urls_are_what_is_asked() -> None:
    urls = {row.path: row.upstream for row in all_rows(settings_of(ZAI))}
    assert urls["/api/v1/messages"] == "https://api.anthropic.com/v1/messages"
    assert urls["/api/v1/responses"] == "https://api.anthropic.com/v1/messages"
    assert urls["/zai/v1/chat/completions"] == "http://127.0.0.1:1/v1/chat/completions"
    assert urls["/zai/v1/*"] == "http://127.0.0.1:1/v1/*"
    assert urls["/mock/v1/messages"] == "-"


@pytest.mark.parametrize(
    ("environ", "provider", "state", "label"),
    [
        ({"PROVIDERS__CLAUDE_API__API_KEY": "very-secret"}, "claude_api", "api key", "your own API key"),
        ({}, "claude_api", "pass-through", "the client's own credential"),
        ({"PROVIDERS__CODEX__AUTH": "oauth"}, "codex", "none", "-"),
        ({}, "claude_sdk", "none needed", "your own Claude Code"),
        ({}, "mock", "none needed", "none: requests do not leave ccproxy"),
        (ZAI, "zai", "none needed", "your own server"),
    ],
)
def test_credentials_and_terms(environ: dict[str, str], provider: str, state: str, label: str) -> None:
    rows = [row for row in all_rows(settings_of(environ)) if row.provider == provider]
    assert {(row.credential, row.terms) for row in rows} == {(state, label)}
    assert "very-secret" not in str(rows)


def invoke(*arguments: str, environ: dict[str, str] | None = None) -> str:
    app = typer.Typer()
    app.command()(routes)
    result = CliRunner().invoke(app, list(arguments), env=environ)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_in_a_pipe_each_route_is_one_whole_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    lines = invoke(environ={"COLUMNS": "20", "FORCE_COLOR": "1"}).splitlines()
    rows = json.loads(invoke("--json"))
    assert len(lines) == len(rows) + 1
    assert "\x1b" not in "".join(lines)
    assert all(row["path"] in line and row["upstream"] in line for row, line in zip(rows, lines[1:], strict=True))
