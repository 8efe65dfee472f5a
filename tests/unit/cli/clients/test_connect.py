"""The variables and arguments of each client, by provider, credential and token."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ccproxy.cli.clients import CLIENTS, Connection, Dialect
from ccproxy.cli.clients.connect import client_named, connect, provider_named
from ccproxy.cli.clients.connection import DEFAULT_MODELS
from ccproxy.errors import ConfigError, StartError
from ccproxy.providers.credentials import credential
from ccproxy.providers.registry import providers
from ccproxy.settings import Settings, load
from ccproxy.settings.model import ProvidersSettings

ORIGIN = "http://127.0.0.1:8000"
KEYS = {"PROVIDERS__CLAUDE_API__API_KEY": "k", "PROVIDERS__CODEX__API_KEY": "k"}
ZAI = {"PROVIDERS__ZAI__PREFIX": "/zai", "PROVIDERS__ZAI__BASE_URL": "http://127.0.0.1:1/anthropic"}


def settings_of(environ: Mapping[str, str]) -> Settings:
    return load(environ=environ, folder=Path("/nonexistent")).settings


def connected(
    client: str, via: str, environ: Mapping[str, str], *, token: str = "", login: bool = False, **options: Any
) -> Connection:
    settings = settings_of(environ)
    named = client_named(client, options.get("dialect"))
    provider = provider_named(via, providers(settings), {*ProvidersSettings.model_fields, *settings.providers.custom})
    stored = credential(settings, provider.name, has_login=login)
    return connect(named, provider, origin=ORIGIN, credential=stored, auth_token=token, **options)


def variables_of(
    client: str, connection: Connection, environ: Mapping[str, str] | None = None
) -> dict[str, str | None]:
    variables = CLIENTS[client].variables(connection, environ or {})
    return {each.name: each.value for each in variables if "proxy" not in each.name.lower() or "CCPROXY" in each.name}


def test_claude_code_gets_a_placeholder_and_loses_its_own_keys_if_ccproxy_has_a_key() -> None:
    assert variables_of("claude", connected("claude", "claude_api", KEYS)) == {
        "ANTHROPIC_BASE_URL": f"{ORIGIN}/api",
        "ANTHROPIC_AUTH_TOKEN": "ccproxy",
        "ANTHROPIC_API_KEY": None,
        "CLAUDE_CODE_OAUTH_TOKEN": None,
    }


def test_a_stored_login_is_a_credential_of_ccproxy_too() -> None:
    assert (
        variables_of("claude", connected("claude", "claude_api", {}, login=True))["ANTHROPIC_AUTH_TOKEN"] == "ccproxy"
    )


def test_without_a_credential_the_clients_own_login_is_left_alone() -> None:
    assert variables_of("claude", connected("claude", "claude_api", {})) == {"ANTHROPIC_BASE_URL": f"{ORIGIN}/api"}


def test_the_token_of_ccproxy_replaces_the_key_or_is_sent_in_addition() -> None:
    with_key = variables_of("claude", connected("claude", "claude_api", KEYS, token="tok"))
    assert with_key["ANTHROPIC_AUTH_TOKEN"] == "tok"
    assert "ANTHROPIC_CUSTOM_HEADERS" not in with_key
    beside = variables_of("claude", connected("claude", "claude_api", {}, token="tok"))
    assert beside["ANTHROPIC_CUSTOM_HEADERS"] == "x-ccproxy-token: tok"
    assert "ANTHROPIC_AUTH_TOKEN" not in beside


def test_headers_of_the_user_are_preserved() -> None:
    connection = connected("claude", "claude_api", {}, token="tok")
    before = {"ANTHROPIC_CUSTOM_HEADERS": "x-team: a"}
    first = variables_of("claude", connection, before)["ANTHROPIC_CUSTOM_HEADERS"]
    assert first == "x-team: a\nx-ccproxy-token: tok"
    assert variables_of("claude", connection, {"ANTHROPIC_CUSTOM_HEADERS": first})["ANTHROPIC_CUSTOM_HEADERS"] == first


def test_claude_code_on_another_vendors_provider_requests_its_model_everywhere_and_knows_its_window() -> None:
    values = variables_of("claude", connected("claude", "codex", KEYS))
    models = {name: value for name, value in values.items() if "MODEL" in name}
    assert set(models.values()) == {DEFAULT_MODELS["codex"]}
    assert len(models) == 6
    assert values["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "272000"
    assert "CLAUDE_CODE_MAX_CONTEXT_TOKENS" not in variables_of(
        "claude", connected("claude", "codex", KEYS), {"CLAUDE_CODE_MAX_CONTEXT_TOKENS": "400000"}
    )


def test_no_model_is_set_where_the_user_maps_models() -> None:
    environ = {**KEYS, "PROVIDERS__CODEX__MODELS": '{"claude-*": "gpt-6-sol"}'}
    assert "ANTHROPIC_MODEL" not in variables_of("claude", connected("claude", "codex", environ))


def test_a_model_of_the_clients_own_family_does_not_change_its_other_models() -> None:
    values = variables_of("claude", connected("claude", "claude_api", KEYS, model="claude-opus-5-5"))
    assert values["ANTHROPIC_MODEL"] == "claude-opus-5-5"
    assert "ANTHROPIC_DEFAULT_HAIKU_MODEL" not in values
    assert "CLAUDE_CODE_MAX_CONTEXT_TOKENS" not in values


def overrides(connection: Connection) -> dict[str, Any]:
    """What the Codex CLI makes of its `-c` arguments."""
    words = CLIENTS["codex"].arguments(connection, ["exec", "hi"])
    assert words[-2:] == ["exec", "hi"]
    assert set(words[:-2:2]) == {"-c"}
    return {name: tomllib.loads(f"x = {value}")["x"] for name, value in (word.split("=", 1) for word in words[1:-2:2])}


def test_codex_gets_a_provider_block_with_a_key_variable() -> None:
    connection = connected("codex", "codex", KEYS)
    assert overrides(connection) == {
        "model_provider": "ccproxy",
        "model_providers.ccproxy": {
            "name": "ccproxy",
            "base_url": f"{ORIGIN}/api/codex/v1",
            "wire_api": "responses",
            "supports_websockets": False,
            "env_key": "CCPROXY_KEY",
        },
    }
    assert variables_of("codex", connection) == {"CCPROXY_KEY": "ccproxy"}


def test_codex_keeps_its_own_login_and_its_arguments_contain_no_secret() -> None:
    connection = connected("codex", "codex", {}, token="secret-token")
    block = overrides(connection)["model_providers.ccproxy"]
    assert block["requires_openai_auth"] is True
    assert "env_key" not in block
    assert block["env_http_headers"] == {"x-ccproxy-token": "CCPROXY_TOKEN"}
    assert "secret-token" not in " ".join(CLIENTS["codex"].arguments(connection, []))
    assert variables_of("codex", connection) == {"CCPROXY_TOKEN": "secret-token"}


def test_codex_on_claude_gets_a_model_and_its_window() -> None:
    values = overrides(connected("codex", "claude_api", KEYS))
    assert (values["model"], values["model_context_window"]) == (DEFAULT_MODELS["anthropic"], 200_000)
    assert values["model_providers.ccproxy"]["base_url"] == f"{ORIGIN}/api/v1"


@pytest.mark.parametrize(
    ("via", "package", "model"),
    [("claude_api", "@ai-sdk/anthropic", "claude-sonnet-5-5"), ("codex", "@ai-sdk/openai", "gpt-6.1-sol")],
)
def test_opencode_gets_a_provider_that_needs_no_translation(via: str, package: str, model: str) -> None:
    connection = connected("opencode", via, KEYS, token="tok")
    inline = json.loads(variables_of("opencode", connection)["OPENCODE_CONFIG_CONTENT"] or "")
    provider = inline["provider"]["ccproxy"]
    assert provider["npm"] == package
    assert provider["options"] == {"baseURL": connection.v1, "apiKey": "tok"}
    assert inline["model"] == inline["small_model"] == f"ccproxy/{model}"
    assert provider["models"][model]["limit"]["context"] > 100_000


def test_aider_selects_the_api_by_the_name_of_the_model() -> None:
    assert variables_of("aider", connected("aider", "claude_api", KEYS))["AIDER_MODEL"] == "anthropic/claude-sonnet-5-5"
    values = variables_of("aider", connected("aider", "codex", KEYS))
    assert values["AIDER_MODEL"] == "openai/gpt-6.1-sol"
    assert values["OPENAI_API_BASE"] == values["OPENAI_BASE_URL"] == f"{ORIGIN}/api/codex/v1"
    other = variables_of("aider", connected("aider", "codex", KEYS, dialect="anthropic"))
    assert other["AIDER_MODEL"] == "anthropic/gpt-6.1-sol"
    assert other["ANTHROPIC_API_BASE"] == f"{ORIGIN}/api/codex"


def test_curl_gets_urls_json_and_a_header_file_instead_of_a_token_that_all_can_read() -> None:
    curl = CLIENTS["curl"]
    connection = connected("curl", "mock", {})
    assert curl.arguments(connection, ["-s", "/v1/messages", "-d", "{}", "-o", "/tmp/x"]) == [
        "-H", "content-type: application/json", "-s", f"{ORIGIN}/mock/v1/messages", "-d", "{}", "-o", "/tmp/x",
    ]  # fmt: skip
    assert curl.arguments(connection, ["/v1/models"]) == [f"{ORIGIN}/mock/v1/models"]
    assert curl.arguments(connection, ["-H", "Content-Type: text/plain", "-d", "x"])[:2] == [
        "-H",
        "Content-Type: text/plain",
    ]
    locked = connected("curl", "mock", {}, token="secret-token")
    assert locked.own_token == "secret-token"
    assert "secret-token" not in " ".join(curl.arguments(locked, ["/v1/models"]))


def test_no_proxy_is_completed_not_replaced() -> None:
    connection = connected("claude", "mock", {})
    values = {
        each.name: each.value
        for each in CLIENTS["claude"].variables(connection, {"NO_PROXY": "corp.example,localhost"})
    }
    assert values["NO_PROXY"] == "corp.example,localhost,127.0.0.1"
    assert values["no_proxy"] == "127.0.0.1,localhost"


@pytest.mark.parametrize("client", ["claude", "opencode", "anthropic", "curl"])
def test_a_custom_provider_without_a_key_gets_a_placeholder(client: str) -> None:
    connection = connected(client, "zai", ZAI, model="glm")
    assert connection.key == "ccproxy"
    assert connection.base == f"{ORIGIN}/zai"
    assert connection.dialect is Dialect.ANTHROPIC


@pytest.mark.parametrize(
    ("client", "via", "environ", "says"),
    [
        (
            "claude",
            "codex",
            {},
            "run `ccproxy auth login-openai` or set a key: ccproxy config set providers.codex.api_key KEY",
        ),
        ("codex", "claude_api", {}, "run `ccproxy auth login` or set a key"),
        (
            "claude",
            "claude_api",
            {"PROVIDERS__CLAUDE_API__AUTH": "api_key"},
            "No credential for claude_api. To add one, set a key",
        ),
        (
            "claude",
            "claude_api",
            {"PROVIDERS__CLAUDE_API__AUTH": "oauth"},
            "No credential for claude_api. To add one, run `ccproxy auth login`",
        ),
    ],
)
def test_a_missing_credential_is_an_error_that_names_the_command(
    client: str, via: str, environ: dict[str, str], says: str
) -> None:
    with pytest.raises(StartError, match="No credential") as caught:
        connected(client, via, environ)
    assert says in str(caught.value)


def test_a_client_that_cannot_carry_the_token_is_an_error() -> None:
    with pytest.raises(StartError, match="Aider cannot send ccproxy's token in addition to its own key"):
        connected("aider", "claude_api", {}, token="tok")


def test_a_client_without_a_model_of_its_own_needs_one() -> None:
    with pytest.raises(ConfigError, match="--model NAME"):
        connected("opencode", "zai", ZAI)


@pytest.mark.parametrize(
    ("name", "dialect", "says"),
    [
        ("emacs", None, "Unknown client 'emacs'. Known clients: claude, codex"),
        ("claude", "openai", "Claude Code does not support --format openai"),
        ("emacs", "grpc", "--format grpc: must be anthropic or openai"),
    ],
)
def test_wrong_clients_and_formats(name: str, dialect: str | None, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        client_named(name, dialect)
    assert says in str(caught.value)


def test_any_program_with_a_format_gets_the_sdks_variables() -> None:
    client = client_named("./agent.py", "openai")
    assert (client.program, client.via) == ("./agent.py", "codex")
    assert client.settings[Dialect.OPENAI] == CLIENTS["openai"].settings[Dialect.OPENAI]


def test_providers_by_name() -> None:
    settings = settings_of({**ZAI, "PROVIDERS__CODEX__ENABLED": "false"})
    names = {*ProvidersSettings.model_fields, *settings.providers.custom}
    enabled = providers(settings)
    assert provider_named("claude-api", enabled, names).name == "claude_api"
    assert provider_named("zai", enabled, names).prefix == "/zai"
    with pytest.raises(
        ConfigError, match=r"codex is disabled\. Enable it with: ccproxy config set providers\.codex\.enabled true"
    ):
        provider_named("codex", enabled, names)
    with pytest.raises(ConfigError, match="Enabled providers: claude_api, claude_sdk, mock, zai"):
        provider_named("gemini", enabled, names)


def test_default_models_are_ones_that_the_providers_list() -> None:
    listed = {each.family: each.catalogue.fallback for each in providers(settings_of({})) if each.catalogue}
    assert listed
    for family, names in listed.items():
        assert DEFAULT_MODELS[family] in names


def test_the_anthropic_sdk_reads_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    from anthropic import Anthropic

    for name, value in variables_of("anthropic", connected("anthropic", "claude_api", KEYS)).items():
        monkeypatch.setenv(name, value) if value is not None else monkeypatch.delenv(name, raising=False)
    with Anthropic() as client:
        assert str(client.base_url).rstrip("/") == f"{ORIGIN}/api"
        assert client.api_key == "ccproxy"


def test_the_sdks_send_the_token_in_addition_to_their_own_key(monkeypatch: pytest.MonkeyPatch) -> None:
    from anthropic import Anthropic
    from openai import OpenAI

    monkeypatch.setenv(
        "ANTHROPIC_CUSTOM_HEADERS",
        variables_of("anthropic", connected("anthropic", "claude_api", {}, token="tok"))["ANTHROPIC_CUSTOM_HEADERS"]
        or "",
    )
    monkeypatch.setenv(
        "OPENAI_CUSTOM_HEADERS",
        variables_of("openai", connected("openai", "codex", {}, token="tok"))["OPENAI_CUSTOM_HEADERS"] or "",
    )
    with Anthropic(api_key="own") as anthropic:
        assert anthropic.default_headers["x-ccproxy-token"] == "tok"
    with OpenAI(api_key="own") as openai:
        assert openai.default_headers["x-ccproxy-token"] == "tok"


def test_the_openai_sdk_reads_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    from openai import OpenAI

    for name, value in variables_of("openai", connected("openai", "codex", KEYS)).items():
        monkeypatch.setenv(name, str(value))
    with OpenAI() as client:
        assert str(client.base_url).rstrip("/") == f"{ORIGIN}/api/codex/v1"
        assert client.api_key == "ccproxy"
