"""What each client is told, by provider, credential and token."""

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
    client: str, via: str, environ: Mapping[str, str], *, token: str = "", login: bool = False, **asked: Any
) -> Connection:
    settings = settings_of(environ)
    known = client_named(client, asked.get("wanted"))
    provider = provider_named(via, providers(settings), {*ProvidersSettings.model_fields, *settings.providers.custom})
    found = credential(settings, provider.name, has_login=login)
    return connect(known, provider, origin=ORIGIN, credential=found, auth_token=token, **asked)


def told(client: str, connection: Connection, environ: Mapping[str, str] | None = None) -> dict[str, str | None]:
    variables = CLIENTS[client].variables(connection, environ or {})
    return {each.name: each.value for each in variables if "proxy" not in each.name.lower() or "CCPROXY" in each.name}


def test_claude_code_with_a_key_of_ccproxy_gets_a_dummy_and_loses_its_own_keys() -> None:
    assert told("claude", connected("claude", "claude_api", KEYS)) == {
        "ANTHROPIC_BASE_URL": f"{ORIGIN}/api",
        "ANTHROPIC_AUTH_TOKEN": "ccproxy",
        "ANTHROPIC_API_KEY": None,
        "CLAUDE_CODE_OAUTH_TOKEN": None,
    }


def test_a_stored_login_is_a_credential_of_ccproxy_too() -> None:
    assert told("claude", connected("claude", "claude_api", {}, login=True))["ANTHROPIC_AUTH_TOKEN"] == "ccproxy"


def test_without_a_credential_the_clients_own_login_is_left_alone() -> None:
    assert told("claude", connected("claude", "claude_api", {})) == {"ANTHROPIC_BASE_URL": f"{ORIGIN}/api"}


def test_ccproxys_token_goes_where_the_key_would_or_beside_it() -> None:
    with_key = told("claude", connected("claude", "claude_api", KEYS, token="tok"))
    assert with_key["ANTHROPIC_AUTH_TOKEN"] == "tok"
    assert "ANTHROPIC_CUSTOM_HEADERS" not in with_key
    beside = told("claude", connected("claude", "claude_api", {}, token="tok"))
    assert beside["ANTHROPIC_CUSTOM_HEADERS"] == "x-ccproxy-token: tok"
    assert "ANTHROPIC_AUTH_TOKEN" not in beside


def test_headers_that_the_user_has_set_stay() -> None:
    connection = connected("claude", "claude_api", {}, token="tok")
    before = {"ANTHROPIC_CUSTOM_HEADERS": "x-team: a"}
    first = told("claude", connection, before)["ANTHROPIC_CUSTOM_HEADERS"]
    assert first == "x-team: a\nx-ccproxy-token: tok"
    assert told("claude", connection, {"ANTHROPIC_CUSTOM_HEADERS": first})["ANTHROPIC_CUSTOM_HEADERS"] == first


def test_claude_code_on_a_foreign_provider_asks_for_its_model_everywhere_and_knows_its_window() -> None:
    found = told("claude", connected("claude", "codex", KEYS))
    models = {name: value for name, value in found.items() if "MODEL" in name}
    assert set(models.values()) == {DEFAULT_MODELS["codex"]}
    assert len(models) == 6
    assert found["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "272000"
    assert "CLAUDE_CODE_MAX_CONTEXT_TOKENS" not in told(
        "claude", connected("claude", "codex", KEYS), {"CLAUDE_CODE_MAX_CONTEXT_TOKENS": "400000"}
    )


def test_a_model_map_of_the_user_decides_and_no_model_is_set() -> None:
    environ = {**KEYS, "PROVIDERS__CODEX__MODELS": '{"claude-*": "gpt-6-sol"}'}
    assert "ANTHROPIC_MODEL" not in told("claude", connected("claude", "codex", environ))


def test_a_named_model_of_the_clients_own_family_leaves_its_helpers_alone() -> None:
    found = told("claude", connected("claude", "claude_api", KEYS, model="claude-opus-5-5"))
    assert found["ANTHROPIC_MODEL"] == "claude-opus-5-5"
    assert "ANTHROPIC_DEFAULT_HAIKU_MODEL" not in found
    assert "CLAUDE_CODE_MAX_CONTEXT_TOKENS" not in found


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
    assert told("codex", connection) == {"CCPROXY_KEY": "ccproxy"}


def test_codex_keeps_its_own_login_and_no_secret_stands_among_its_arguments() -> None:
    connection = connected("codex", "codex", {}, token="secret-token")
    block = overrides(connection)["model_providers.ccproxy"]
    assert block["requires_openai_auth"] is True
    assert "env_key" not in block
    assert block["env_http_headers"] == {"x-ccproxy-token": "CCPROXY_TOKEN"}
    assert "secret-token" not in " ".join(CLIENTS["codex"].arguments(connection, []))
    assert told("codex", connection) == {"CCPROXY_TOKEN": "secret-token"}


def test_codex_on_claude_gets_a_model_and_its_window() -> None:
    found = overrides(connected("codex", "claude_api", KEYS))
    assert (found["model"], found["model_context_window"]) == (DEFAULT_MODELS["anthropic"], 200_000)
    assert found["model_providers.ccproxy"]["base_url"] == f"{ORIGIN}/api/v1"


@pytest.mark.parametrize(
    ("via", "package", "model"),
    [("claude_api", "@ai-sdk/anthropic", "claude-sonnet-5-5"), ("codex", "@ai-sdk/openai", "gpt-6.1-sol")],
)
def test_opencode_gets_a_provider_that_needs_no_translation(via: str, package: str, model: str) -> None:
    connection = connected("opencode", via, KEYS, token="tok")
    inline = json.loads(told("opencode", connection)["OPENCODE_CONFIG_CONTENT"] or "")
    provider = inline["provider"]["ccproxy"]
    assert provider["npm"] == package
    assert provider["options"] == {"baseURL": connection.v1, "apiKey": "tok"}
    assert inline["model"] == inline["small_model"] == f"ccproxy/{model}"
    assert provider["models"][model]["limit"]["context"] > 100_000


def test_aider_says_how_to_ask_in_the_models_name() -> None:
    assert told("aider", connected("aider", "claude_api", KEYS))["AIDER_MODEL"] == "anthropic/claude-sonnet-5-5"
    found = told("aider", connected("aider", "codex", KEYS))
    assert found["AIDER_MODEL"] == "openai/gpt-6.1-sol"
    assert found["OPENAI_API_BASE"] == found["OPENAI_BASE_URL"] == f"{ORIGIN}/api/codex/v1"
    other = told("aider", connected("aider", "codex", KEYS, wanted="anthropic"))
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
    found = {
        each.name: each.value
        for each in CLIENTS["claude"].variables(connection, {"NO_PROXY": "corp.example,localhost"})
    }
    assert found["NO_PROXY"] == "corp.example,localhost,127.0.0.1"
    assert found["no_proxy"] == "127.0.0.1,localhost"


@pytest.mark.parametrize("client", ["claude", "opencode", "anthropic", "curl"])
def test_a_provider_of_ones_own_without_a_key_takes_a_dummy(client: str) -> None:
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
        ("claude", "claude_api", {"PROVIDERS__CLAUDE_API__AUTH": "api_key"}, "no credential for claude_api: set a key"),
        (
            "claude",
            "claude_api",
            {"PROVIDERS__CLAUDE_API__AUTH": "oauth"},
            "no credential for claude_api: run `ccproxy auth login`",
        ),
    ],
)
def test_what_cannot_work_is_said_with_the_command_that_mends_it(
    client: str, via: str, environ: dict[str, str], says: str
) -> None:
    with pytest.raises(StartError, match="no credential") as caught:
        connected(client, via, environ)
    assert says in str(caught.value)


def test_a_client_that_cannot_carry_the_token_is_told_of() -> None:
    with pytest.raises(StartError, match="Aider cannot send ccproxy's token beside its own key"):
        connected("aider", "claude_api", {}, token="tok")


def test_a_client_without_a_model_of_its_own_has_to_be_told_one() -> None:
    with pytest.raises(ConfigError, match="--model NAME"):
        connected("opencode", "zai", ZAI)


@pytest.mark.parametrize(
    ("name", "wanted", "says"),
    [
        ("emacs", None, "unknown client 'emacs': known are claude, codex"),
        ("claude", "openai", "Claude Code does not speak openai"),
        ("emacs", "grpc", "--format grpc: must be anthropic or openai"),
    ],
)
def test_wrong_clients_and_formats(name: str, wanted: str | None, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        client_named(name, wanted)
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
    with pytest.raises(ConfigError, match=r"codex is switched off: ccproxy config set providers\.codex\.enabled true"):
        provider_named("codex", enabled, names)
    with pytest.raises(ConfigError, match="there are claude_api, claude_sdk, mock, zai"):
        provider_named("gemini", enabled, names)


def test_default_models_are_ones_that_the_providers_list() -> None:
    listed = {each.family: each.catalogue.fallback for each in providers(settings_of({})) if each.catalogue}
    assert listed
    for family, names in listed.items():
        assert DEFAULT_MODELS[family] in names


def test_the_anthropic_sdk_takes_what_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from anthropic import Anthropic

    for name, value in told("anthropic", connected("anthropic", "claude_api", KEYS)).items():
        monkeypatch.setenv(name, value) if value is not None else monkeypatch.delenv(name, raising=False)
    with Anthropic() as client:
        assert str(client.base_url).rstrip("/") == f"{ORIGIN}/api"
        assert client.api_key == "ccproxy"


def test_the_sdks_send_the_token_beside_their_own_key(monkeypatch: pytest.MonkeyPatch) -> None:
    from anthropic import Anthropic
    from openai import OpenAI

    monkeypatch.setenv(
        "ANTHROPIC_CUSTOM_HEADERS",
        told("anthropic", connected("anthropic", "claude_api", {}, token="tok"))["ANTHROPIC_CUSTOM_HEADERS"] or "",
    )
    monkeypatch.setenv(
        "OPENAI_CUSTOM_HEADERS",
        told("openai", connected("openai", "codex", {}, token="tok"))["OPENAI_CUSTOM_HEADERS"] or "",
    )
    with Anthropic(api_key="own") as anthropic:
        assert anthropic.default_headers["x-ccproxy-token"] == "tok"
    with OpenAI(api_key="own") as openai:
        assert openai.default_headers["x-ccproxy-token"] == "tok"


def test_the_openai_sdk_takes_what_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from openai import OpenAI

    for name, value in told("openai", connected("openai", "codex", KEYS)).items():
        monkeypatch.setenv(name, str(value))
    with OpenAI() as client:
        assert str(client.base_url).rstrip("/") == f"{ORIGIN}/api/codex/v1"
        assert client.api_key == "ccproxy"
