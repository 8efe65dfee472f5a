"""One list of secret settings, for everything that shows settings or hands them on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from ccproxy.cli.app import build
from ccproxy.settings import Settings, load
from ccproxy.settings.keys import all_keys
from ccproxy.settings.secrets import has_secret, is_secret, is_secret_variable, secret_keys, secrets_of, shown

SECRETS = {
    ("server", "auth_token"): "hush-token",
    ("providers", "claude_api", "api_key"): "hush-claude",
    ("providers", "codex", "api_key"): "hush-codex",
    ("providers", "claude_sdk", "api_key"): "hush-sdk",
    ("providers", "claude_sdk", "env"): {"API_TOKEN": "hush-env"},
    ("providers", "claude_sdk", "mcp_servers"): {"one": {"command": "mcp", "env": {"KEY_SECRET": "hush-mcp"}}},
    ("providers", "zai", "api_key"): "hush-zai",
    ("ledger", "url"): "postgresql://jane:hush-ledger@db.test/x",
}


def nested() -> dict[str, Any]:
    values: dict[str, Any] = {"providers": {"zai": {"prefix": "/zai", "base_url": "http://z.test"}}}
    for path, value in SECRETS.items():
        table = values
        for part in path[:-1]:
            table = table.setdefault(part, {})
        table[path[-1]] = value
    return values


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(nested(), environ={}, folder=tmp_path).settings


def test_the_list_is_derived_from_the_model() -> None:
    assert secret_keys() == {tuple("*" if part == "zai" else part for part in path) for path in SECRETS}
    assert all(key.path in secret_keys() for key in all_keys() if key.field.annotation is SecretStr)


def test_every_name_that_sounds_secret_is() -> None:
    """A new key, token or password cannot be forgotten."""
    words = ("key", "secret", "password", "credential")
    named = {key.path for key in all_keys() if key.path[-1].endswith((*words, "token"))}
    assert named <= secret_keys()


@pytest.mark.parametrize("path", SECRETS)
def test_secret_paths(path: tuple[str, ...]) -> None:
    assert is_secret(path)
    assert is_secret((*path, "x", "y"))


@pytest.mark.parametrize(
    "name",
    [
        "SERVER__AUTH_TOKEN", "server__auth_token", "Providers__Codex__Api_Key", "PROVIDERS__ZAI__API_KEY", "PROVIDERS__CLAUDE_SDK__ENV",
        "PROVIDERS__CLAUDE_SDK__ENV__ANY_NAME", "PROVIDERS__CLAUDE_SDK__MCP_SERVERS", "PROVIDERS__CLAUDE_SDK__MCP_SERVERS__ONE__ENV__KEY", "LEDGER__URL",
        "PROVIDERS__ZAI", "PROVIDERS__CODEX",
    ],
)  # fmt: skip
def test_secret_variables(name: str) -> None:
    assert is_secret_variable(name)


@pytest.mark.parametrize(
    "name", ["SERVER__PORT", "PROVIDERS__CODEX__BASE_URL", "PROVIDERS__ZAI__MODELS", "API_KEY", "AUTH_TOKEN", "OTHER__API_KEY", "SERVER", "LEDGER__ENABLED"]
)  # fmt: skip
def test_other_variables(name: str) -> None:
    assert not is_secret_variable(name)


def test_redaction_knows_the_values(settings: Settings) -> None:
    values = {"hush-token", "hush-claude", "hush-codex", "hush-sdk", "hush-env", "hush-mcp", "hush-zai", "hush-ledger"}
    assert values <= set(secrets_of(settings))


@pytest.mark.parametrize(
    ("server", "secret"),
    [
        ({"headers": {"Authorization": "Bearer hush-hush"}}, "hush-hush"),
        ({"args": ["--token", "hush-hush"]}, "hush-hush"),
        ({"args": ["run", "--api-key=hush-hush"]}, "hush-hush"),
        ({"url": "https://jane:hush%40hush@mcp.test/sse"}, "hush@hush"),
        ({"url": "https://jane:hush%40hush@mcp.test/sse"}, "hush%40hush"),
        ({"env": {"deep": {"password": ["hush-hush"]}}}, "hush-hush"),
    ],
)
def test_redaction_knows_secrets_of_mcp_servers(server: dict[str, Any], secret: str) -> None:
    settings = Settings(providers={"claude_sdk": {"mcp_servers": {"one": server}}})  # type: ignore[arg-type]
    assert secret in secrets_of(settings)
    assert "run" not in secrets_of(settings)


def test_shown_settings_have_no_secret(settings: Settings) -> None:
    rows = {".".join(path): value for path, value in shown(settings)}
    assert "hush" not in json.dumps(rows, default=str)
    assert rows["server.auth_token"] == rows["ledger.url"] == rows["providers.zai.api_key"] == "********"
    assert rows["providers.claude_sdk.env"] == {"API_TOKEN": "********"}
    assert rows["providers.claude_sdk.mcp_servers"] == {"one": "********"}
    empty = {".".join(path): value for path, value in shown(Settings())}
    assert (empty["server.auth_token"], empty["ledger.url"], empty["providers.claude_sdk.env"]) == ("", "", {})
    assert len(empty) == len([key for key in all_keys() if "*" not in key.path])


def test_an_sqlite_file_is_not_a_secret() -> None:
    rows = dict(shown(Settings(ledger={"url": "sqlite:////var/x.db"})))  # type: ignore[arg-type]
    assert rows["ledger", "url"] == "sqlite:////var/x.db"


@pytest.mark.parametrize("command", [["config", "show"], ["config", "show", "--json"]])
def test_config_show(run: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    for path, value in SECRETS.items():
        monkeypatch.setenv("__".join(path).upper(), value if isinstance(value, str) else json.dumps(value))
    monkeypatch.setenv("PROVIDERS__ZAI__PREFIX", "/zai")
    monkeypatch.setenv("PROVIDERS__ZAI__BASE_URL", "http://z.test")
    result = run.invoke(build(("config",)), command)
    assert result.exit_code == 0
    assert "hush" not in result.output
    assert "providers.zai.api_key" in result.output


def test_the_schema_marks_every_secret() -> None:
    schema = Settings.model_json_schema()
    tables = schema["$defs"]
    marked = {(name, key) for name, table in tables.items() for key, one in table.get("properties", {}).items() if one.get("writeOnly")}  # fmt: skip
    assert len(marked) >= len(secret_keys()) - 1  # a shared definition counts once
    assert ("LedgerSettings", "url") in marked
    assert ("ClaudeSdkSettings", "mcp_servers") in marked
    assert ("ServerSettings", "auth_token") in marked


@pytest.mark.parametrize("path", SECRETS)
def test_doctor_knows_which_files_hold_secrets(path: tuple[str, ...]) -> None:
    value: Any = SECRETS[path]
    for part in reversed(path):
        value = {part: value}
    assert has_secret(value)


@pytest.mark.parametrize(
    "values", [{}, {"server": {"port": 1}}, {"server": {"auth_token": ""}}, {"providers": {"zai": {"prefix": "/x"}}}, {"providers": 1}, {"ledger": {"url": ""}}]
)  # fmt: skip
def test_and_which_do_not(values: dict[str, Any]) -> None:
    assert not has_secret(values)
