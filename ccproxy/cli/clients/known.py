"""The clients. Each variable was tried with the real program, in the version that the comment names."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ccproxy.cli.clients.connection import Connection, Dialect
from ccproxy.cli.clients.spec import Client, Setting

ANTHROPIC, OPENAI = Dialect.ANTHROPIC, Dialect.OPENAI


def _has_key(connection: Connection) -> bool:
    return connection.key is not None


def _foreign(connection: Connection) -> bool:
    return not connection.native_models


_BASE = "Base URL; the client adds /v1/messages"
_V1 = "Base URL; the client adds /chat/completions or /responses, so it ends in /v1"
_KEY = "The client requires a key; ccproxy replaces it with the real credential"
_TOKEN = "Token of ccproxy (server.auth_token), sent in addition to the client's own key"  # noqa: S105 - an explanation
_MODEL = "Model to request"

# https://docs.claude.com/en/docs/claude-code/settings#environment-variables; tried with 2.1.330
_CLAUDE_CODE = (
    Setting("ANTHROPIC_BASE_URL", "{base}", _BASE),
    Setting("ANTHROPIC_AUTH_TOKEN", "{key}", f"{_KEY}; it takes precedence over a login"),
    Setting("ANTHROPIC_API_KEY", None, "Claude Code warns if this and ANTHROPIC_AUTH_TOKEN are both set", _has_key),
    Setting("CLAUDE_CODE_OAUTH_TOKEN", None, "Not needed, because ccproxy has a credential", _has_key),
    Setting("ANTHROPIC_CUSTOM_HEADERS", "x-ccproxy-token: {token}", _TOKEN, joined_by="\n"),
    Setting("ANTHROPIC_MODEL", "{model}", _MODEL),
    *(
        Setting(name, "{model}", "Claude Code also requests this model, for aliases and smaller tasks", _foreign)
        for name in (
            "ANTHROPIC_DEFAULT_OPUS_MODEL",
            "ANTHROPIC_DEFAULT_SONNET_MODEL",
            "ANTHROPIC_DEFAULT_HAIKU_MODEL",
            "ANTHROPIC_DEFAULT_FABLE_MODEL",
            "CLAUDE_CODE_SUBAGENT_MODEL",
        )
    ),
    Setting(
        "CLAUDE_CODE_MAX_CONTEXT_TOKENS",
        "{window}",
        "Claude Code assumes a million tokens for unknown models, and would compact too late",
        yields=True,
    ),
)

# anthropic 0.125 and 2.12 read all of these
_ANTHROPIC_SDK = (
    Setting("ANTHROPIC_BASE_URL", "{base}", _BASE),
    Setting("ANTHROPIC_API_KEY", "{key}", _KEY),
    Setting("ANTHROPIC_AUTH_TOKEN", None, "The SDK would send it in addition to the key", _has_key),
    Setting("ANTHROPIC_CUSTOM_HEADERS", "x-ccproxy-token: {token}", _TOKEN, joined_by="\n"),
    Setting("ANTHROPIC_MODEL", "{model}", f"{_MODEL}; not read by the SDK itself, but by some programs"),
)

# openai 2.54 and 3.54 read all of these
_OPENAI_SDK = (
    Setting("OPENAI_BASE_URL", "{v1}", _V1),
    Setting("OPENAI_API_KEY", "{key}", _KEY),
    Setting("OPENAI_CUSTOM_HEADERS", "x-ccproxy-token: {token}", _TOKEN, joined_by="\n"),
    Setting("OPENAI_MODEL", "{model}", f"{_MODEL}; not read by the SDK itself, but by some programs"),
)

# aider 0.86 with litellm 1.81, which reads both spellings
_AIDER = {
    ANTHROPIC: (
        Setting("ANTHROPIC_API_BASE", "{base}", _BASE),
        Setting("ANTHROPIC_BASE_URL", "{base}", "Another spelling of the base URL"),
        Setting("ANTHROPIC_API_KEY", "{key}", _KEY),
        Setting("AIDER_MODEL", "anthropic/{model}", f"{_MODEL}; anthropic/ selects the API"),
        Setting("AIDER_WEAK_MODEL", "anthropic/{model}", "Aider uses this model for commit messages", _foreign),
    ),
    OPENAI: (
        Setting("OPENAI_BASE_URL", "{v1}", _V1),
        Setting("OPENAI_API_BASE", "{v1}", "Another spelling of the base URL"),
        Setting("OPENAI_API_KEY", "{key}", _KEY),
        Setting("AIDER_MODEL", "openai/{model}", f"{_MODEL}; openai/ selects the API"),
        Setting("AIDER_WEAK_MODEL", "openai/{model}", "Aider uses this model for commit messages", _foreign),
    ),
}

# llm 0.36 with llm-anthropic: both use their vendor's SDK, which reads these variables
_LLM = {
    ANTHROPIC: (*_ANTHROPIC_SDK[:-1], Setting("LLM_MODEL", "anthropic/{model}", f"{_MODEL}; llm must know its name")),
    OPENAI: (*_OPENAI_SDK[:-1], Setting("LLM_MODEL", "{model}", f"{_MODEL}; llm must know its name")),
}


def _opencode(connection: Connection) -> str:
    """Return a provider named ccproxy, which OpenCode merges over its files: https://opencode.ai/docs/config/#precedence-order."""
    package = "@ai-sdk/anthropic" if connection.dialect is ANTHROPIC else "@ai-sdk/openai"
    options: dict[str, object] = {"baseURL": connection.v1}  # Vercel's SDKs expect /v1 for both vendors
    if connection.key:
        options["apiKey"] = connection.key
    if connection.token:
        options["headers"] = {"x-ccproxy-token": connection.token}
    provider: dict[str, object] = {"npm": package, "name": "ccproxy", "options": options}
    configuration: dict[str, object] = {"provider": {"ccproxy": provider}}
    if connection.model:
        # Without limits, OpenCode never compacts the conversation of a model that it does not know.
        limit = {"limit": {"context": connection.window, "output": 32_000}} if connection.window else {}
        provider["models"] = {connection.model: limit}
        configuration |= {"model": f"ccproxy/{connection.model}", "small_model": f"ccproxy/{connection.model}"}
    return json.dumps(configuration, separators=(",", ":"))


_OPENCODE_SETTING = Setting(
    "OPENCODE_CONFIG_CONTENT", _opencode, "A provider named ccproxy, which OpenCode merges over its configuration"
)


def _codex(connection: Connection, arguments: Sequence[str]) -> list[str]:
    """Return overrides for one run, which leave the user's config.toml unchanged: https://developers.openai.com/codex/config-reference."""
    block = {
        "name": '"ccproxy"',
        "base_url": _toml(connection.v1),
        "wire_api": '"responses"',
        "supports_websockets": "false",
    }
    if connection.key:
        block["env_key"] = '"CCPROXY_KEY"'
    else:
        block["requires_openai_auth"] = "true"  # the Codex CLI's own login
    if connection.token:
        block["env_http_headers"] = (
            '{"x-ccproxy-token"="CCPROXY_TOKEN"}'  # a variable, because all users can read arguments
        )
    table = ",".join(f"{name}={value}" for name, value in block.items())
    overrides = ["-c", 'model_provider="ccproxy"', "-c", f"model_providers.ccproxy={{{table}}}"]
    if connection.model:
        overrides += ["-c", f"model={_toml(connection.model)}"]
    if connection.window:
        overrides += ["-c", f"model_context_window={connection.window}"]
    return [*overrides, *arguments]


def _toml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a TOML basic string has the syntax of a JSON string


def _curl(connection: Connection, arguments: Sequence[str]) -> list[str]:
    """Return the arguments with `/v1/…` as URLs, and with the content type of JSON for a body unless the user sets another."""
    with_urls = [f"{connection.base}{word}" if word.startswith("/v1/") else word for word in arguments]
    needs_type = _sends_body(arguments) and not _sets_type(arguments)
    content_type = ["-H", "content-type: application/json"] if needs_type else []
    token = ["-H", f"@{connection.header_file}"] if connection.header_file else []
    return [*content_type, *token, *with_urls]


def _sends_body(arguments: Sequence[str]) -> bool:
    return any(word.startswith(("-d", "--data", "--json")) for word in arguments)


def _sets_type(arguments: Sequence[str]) -> bool:
    return any(word.lower().startswith(("content-type:", "-hcontent-type:", "--json")) for word in arguments)


def _token_for_curl(connection: Connection) -> str | None:
    return connection.own_token


_CURL = (
    Setting("CCPROXY_URL", "{base}", 'Base URL for your own use, as in "$CCPROXY_URL/v1/messages"'),
    Setting("CCPROXY_TOKEN", _token_for_curl, 'Token of ccproxy, for -H "x-ccproxy-token: $CCPROXY_TOKEN"'),
)

CLIENTS = {
    client.name: client
    for client in (
        Client(
            name="claude",
            title="Claude Code",
            program="claude",
            settings={ANTHROPIC: _CLAUDE_CODE},
            via="claude_api",
            own_family="anthropic",
        ),
        Client(
            name="codex",
            title="Codex CLI",
            program="codex",
            settings={
                OPENAI: (
                    Setting("CCPROXY_KEY", "{key}", f"{_KEY}; the provider below names this variable"),
                    Setting("CCPROXY_TOKEN", "{token}", _TOKEN),
                )
            },
            via="codex",
            own_family="codex",
            arguments=_codex,
            notes=("Codex reads no base URL from the environment. This function adds a provider to each run.",),
        ),
        Client(
            name="openai",
            title="OpenAI SDK",
            program="openai",
            settings={OPENAI: _OPENAI_SDK},
            via="codex",
            own_family="codex",
        ),
        Client(
            name="anthropic",
            title="Anthropic SDK",
            program="anthropic",
            settings={ANTHROPIC: _ANTHROPIC_SDK},
            via="claude_api",
            own_family="anthropic",
        ),
        Client(
            name="aider",
            title="Aider",
            program="aider",
            settings=_AIDER,
            via="claude_api",
            carries_token=False,
        ),
        Client(
            name="opencode",
            title="OpenCode",
            program="opencode",
            settings={ANTHROPIC: (_OPENCODE_SETTING,), OPENAI: (_OPENCODE_SETTING,)},
            via="claude_api",
        ),
        Client(
            name="llm",
            title="llm",
            program="llm",
            settings=_LLM,
            via="codex",
            notes=(
                "`llm models` lists the names that llm knows. For others: llm openai endpoint \"$OPENAI_BASE_URL\" -m MODEL 'PROMPT'.",
            ),
        ),
        Client(
            name="curl",
            title="curl",
            program="curl",
            settings={ANTHROPIC: _CURL, OPENAI: _CURL},
            via="claude_api",
            own_family="anthropic",
            arguments=_curl,
            reads_header_file=True,
        ),
    )
}


def generic(program: str, dialect: Dialect) -> Client:
    """Return a client for any program that uses one of the SDKs."""
    settings = _ANTHROPIC_SDK if dialect is ANTHROPIC else _OPENAI_SDK
    via, own = ("claude_api", "anthropic") if dialect is ANTHROPIC else ("codex", "codex")
    return Client(name=program, title=program, program=program, settings={dialect: settings}, via=via, own_family=own)
