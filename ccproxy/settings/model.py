"""Every setting: name, type, default, description. The reference page and the JSON Schema are generated from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextvars import ContextVar
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ccproxy.network import is_loopback
from ccproxy.settings.values import (
    AnyTable,
    Auth,
    HttpUrl,
    Key,
    LogLevel,
    OAuthUrl,
    OptionalHttpUrl,
    Prefix,
    RedirectUrl,
    Statuses,
    Table,
    Token,
    Words,
    mapping,
    sequence,
)

SECRET: JsonDict = {"writeOnly": True}
"""The mark of a secret setting whose type is not `SecretStr`, which has the same in its schema: see `secrets`."""


class Section(BaseModel):
    """A table of the configuration file. Unknown keys are errors, and so is a value of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


class ServerSettings(Section):
    """The listener, and the requests that it accepts."""

    host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address to listen on. Any address other than loopback requires `auth_token`.",
    )
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    auth_token: Token = Field(SecretStr(""), description="Token that every client must send, if set.")
    allowed_hosts: Words = Field((), description="Additional names accepted in the Host header.")
    allowed_origins: Words = Field((), description="Web origins that may call ccproxy from a browser.")
    log_level: LogLevel = Field("info", description="Log level.")
    max_body_mb: int = Field(
        64, ge=1, le=4096, description="Largest request body, in MB; a larger one is answered 413."
    )
    connect_timeout: float = Field(10, gt=0, le=600, description="Seconds that a connection to an upstream may take.")
    idle_timeout: int = Field(
        3600, ge=1, description="Seconds without any byte after which a client connection is closed."
    )
    shutdown_grace: float = Field(10, ge=0, description="Seconds that running answers get when ccproxy stops.")
    web: bool = Field(False, description="Show the raw traffic in mitmweb.")
    web_port: int = Field(8081, ge=1, le=65535, description="Port of mitmweb.")
    web_max_flows: int = Field(1000, ge=1, description="Exchanges that mitmweb keeps; the oldest go first.")

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.host)

    @model_validator(mode="after")
    def _guarded(self) -> ServerSettings:
        if not self.is_loopback and not self.auth_token.get_secret_value():
            raise ValueError(
                f"host {self.host!r} lets other machines in: set server.auth_token too (SERVER__AUTH_TOKEN or --auth-token)"
            )
        return self


class OAuthSettings(Section):
    """The OAuth endpoints of a login. Empty values mean the provider's own, which are in the code."""

    client_id: str = Field("", description="Client id at the vendor.")
    authorize_url: OAuthUrl = Field("", description="The page where you grant access.")
    token_url: OAuthUrl = Field("", description="Token endpoint; revocation and device codes move to its host.")
    redirect_uri: RedirectUrl = Field(
        "",
        description="The page that the browser returns to: loopback, or the vendor's page that shows the code for --manual.",
    )
    scopes: Words = Field((), description="Scopes of the login.")


class ProviderSettings(Section):
    """The settings of every provider."""

    enabled: bool = Field(True, description="Enable its routes.")
    prefix: Prefix = Field(description="First part of the path.")


class HttpProviderSettings(ProviderSettings):
    """A provider that is reached over HTTP."""

    base_url: HttpUrl = Field(description="The upstream, as that format's own SDK takes it.")
    auth: Auth = Field(
        "auto", description="Credential for the upstream; auto: the key, else the login, else the client's own."
    )
    api_key: Key = Field(SecretStr(""), description="API key for every request.")
    models: Table = Field({}, description="Model names (globs) mapped to the upstream's.")
    retries: Statuses = Field(
        (), description="Upstream statuses after which a request is sent again, up to twice, before the first byte."
    )
    oauth: OAuthSettings = Field(OAuthSettings(), description="OAuth endpoints.")


class ClaudeApiSettings(HttpProviderSettings):
    """The Anthropic API."""

    prefix: Prefix = Field("/api", description="First part of the path.")
    base_url: HttpUrl = Field("https://api.anthropic.com", description="The upstream.")
    identity: bool = Field(False, description="Add the Claude Code identity line where a subscription login needs it.")
    max_tokens: int = Field(32000, ge=1, description="max_tokens of translated requests without one.")
    fast: bool = Field(False, description="Let `service_tier: priority` become `speed: fast`, which costs more.")


class CodexSettings(HttpProviderSettings):
    """OpenAI's Codex backend."""

    prefix: Prefix = Field("/api/codex", description="First part of the path.")
    base_url: HttpUrl = Field("https://chatgpt.com/backend-api/codex", description="The upstream.")


class ClaudeSdkSettings(ProviderSettings):
    """Claude through the local Claude Code SDK."""

    prefix: Prefix = Field("/claude", description="First part of the path.")
    mode: Literal["plain", "agent"] = Field(
        "plain", description="plain: a model. agent: your own Claude Code with its tools."
    )
    cli_path: str = Field("", description="The `claude` program; empty means the one in the SDK.")
    cwd: str = Field("", description="Working folder of agent mode; empty is a private empty one.")
    setting_sources: Words = Field(
        (), description="Claude Code settings that agent mode loads: user, project, local; empty: all."
    )
    tools: Words = Field((), description="Built-in tools of agent mode; empty means all.")
    mcp_servers: AnyTable = Field({}, json_schema_extra=SECRET, description="MCP servers that agent mode starts.")
    permission_mode: str = Field("default", description="Claude Code's permission mode in agent mode.")
    show_tools: Literal["hide", "text", "blocks"] = Field("text", description="How agent mode shows tool calls.")
    env: Table = Field({}, json_schema_extra=SECRET, description="Additional environment of the Claude Code process.")
    api_key: Key = Field(SecretStr(""), description="API key for Claude Code; empty uses its login.")
    base_url: OptionalHttpUrl = Field("", description="Upstream for Claude Code; empty means its own.")
    max_processes: int = Field(8, ge=1, le=256, description="Claude Code processes at once.")
    queue: int = Field(16, ge=0, description="Requests that may wait for a process; more get 429.")
    prewarm: int = Field(0, ge=0, description="Spare processes kept ready after the first request.")
    session_ttl: int = Field(900, ge=1, description="Seconds that an idle session, or a spare, keeps its process.")
    session_busy: Literal["wait", "reject"] = Field(
        "wait", description="A second request of a session waits or gets 409."
    )


class MockSettings(ProviderSettings):
    """The built-in provider for trying things out."""

    prefix: Prefix = Field("/mock", description="First part of the path.")


class CustomProviderSettings(HttpProviderSettings):
    """A provider of your own: `[providers.NAME]`."""

    format: Literal["anthropic", "openai_chat", "openai_responses"] = Field(
        "anthropic", description="Format of the upstream."
    )
    header: str = Field(
        "x-api-key",
        pattern=r"^[A-Za-z0-9-]+$",
        description="Header that the key goes into; authorization takes it as a bearer token.",
    )

    @field_validator("header")
    @classmethod
    def _lower(cls, value: str) -> str:
        return value.lower()


class ProvidersSettings(BaseModel):
    """The providers. Every other name is a provider of your own."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)
    __pydantic_extra__: dict[str, CustomProviderSettings] = Field(init=False)

    claude_api: ClaudeApiSettings = ClaudeApiSettings()
    codex: CodexSettings = CodexSettings()
    claude_sdk: ClaudeSdkSettings = ClaudeSdkSettings()
    mock: MockSettings = MockSettings()

    @property
    def custom(self) -> dict[str, CustomProviderSettings]:
        return self.__pydantic_extra__ or {}

    @model_validator(mode="after")
    def _distinct(self) -> ProvidersSettings:
        seen: dict[str, str] = {}
        own = {"/health": "ccproxy", "/metrics": "ccproxy", "/usage": "ccproxy", "/permissions": "ccproxy"}
        for name, provider in [*((n, getattr(self, n)) for n in type(self).model_fields), *self.custom.items()]:
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                raise ValueError(f"provider name {name!r}: use lower-case letters, digits and '_'")
            for taken in own:
                if provider.prefix == taken or provider.prefix.startswith(taken + "/"):
                    raise ValueError(f"providers.{name}.prefix {provider.prefix!r} is ccproxy's own: choose another")
            if provider.enabled and (other := seen.setdefault(provider.prefix, name)) != name:
                raise ValueError(
                    f"providers.{name}.prefix {provider.prefix!r} belongs to providers.{other}: choose another"
                )
        return self


class TranslateSettings(Section):
    """Translation between formats."""

    strict: bool = Field(
        False, description="Refuse a request that would lose something instead of listing the loss in x-ccproxy-loss."
    )
    replay_cache_mb: int = Field(
        64, ge=0, description="Memory for thinking blocks that clients do not send back; 0 is off."
    )
    auto_cache_control: bool = Field(True, description="Ask Anthropic to cache prompts of OpenAI clients.")


class PricingSettings(Section):
    """Prices of your own, in USD per million tokens."""

    overrides: Annotated[dict[str, dict[str, Decimal]], BeforeValidator(mapping)] = Field(
        {}, description="Model name, or provider/name, with * and ?, to input, output, cache_read and further prices."
    )


class LedgerSettings(Section):
    """The record of exchanges: tokens, cost and times, never prompts."""

    enabled: bool = Field(True, description="Record exchanges.")
    url: str = Field(
        "", json_schema_extra=SECRET, description="SQLAlchemy URL; empty is an SQLite file in ccproxy's data folder."
    )
    retention_days: int = Field(365, ge=1, description="Days after which rows are deleted.")


class RawLogSettings(Section):
    """The raw HTTP log, for debugging. It contains prompts and answers, but no secrets."""

    enabled: bool = Field(False, description="Write whole exchanges to files.")
    dir: str = Field("", description="Folder; empty is `raw` in ccproxy's data folder.")
    max_body_kb: int = Field(1024, ge=1, description="Largest part of each body that is written.")
    max_total_mb: int = Field(500, ge=1, description="Size of all files together; the oldest are deleted.")


class PermissionRule(Section):
    """One rule: `{tool="Bash(git *)", decision="allow"}`."""

    tool: str = Field(min_length=1, description="The tool, or `Tool(pattern)`; * stands for anything.")
    decision: Literal["allow", "deny", "ask"] = Field(description="The decision about a call that matches.")


class PermissionsSettings(Section):
    """Decisions about the tools of agent mode."""

    mode: Literal["ask", "allow", "deny"] = Field("ask", description="The decision where no rule matches.")
    rules: Annotated[tuple[PermissionRule, ...], BeforeValidator(sequence)] = Field((), description="First match wins.")
    timeout: float = Field(300, gt=0, description="Seconds after which a request without a decision is denied.")


class AuthSettings(Section):
    """The store of logins."""

    dir: str = Field("", description="Folder; empty is `auth` in ccproxy's data folder.")
    store: Literal["file"] = Field("file", description="The kind of store.")


class Settings(BaseSettings):
    """The whole configuration. Made by `ccproxy.settings.load`, which decides the precedence of its sources."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    server: ServerSettings = ServerSettings()
    providers: ProvidersSettings = ProvidersSettings()
    translate: TranslateSettings = TranslateSettings()
    pricing: PricingSettings = PricingSettings()
    ledger: LedgerSettings = LedgerSettings()
    raw_log: RawLogSettings = RawLogSettings()
    permissions: PermissionsSettings = PermissionsSettings()
    auth: AuthSettings = AuthSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use the layers of `load` only: the library's own sources would read names of other programs."""
        del env_settings, dotenv_settings, file_secret_settings
        return (init_settings, *(LayerSource(settings_cls, layer) for layer in LAYERS.get()))


class LayerSource(PydanticBaseSettingsSource):
    """One layer of the configuration, as pydantic-settings merges it: earlier layers win, key by key."""

    def __init__(self, settings_cls: type[BaseSettings], layer: Mapping[str, Any]) -> None:
        super().__init__(settings_cls)
        self._layer = layer

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        del field
        return self._layer.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return dict(self._layer)


LAYERS: ContextVar[tuple[Mapping[str, Any], ...]] = ContextVar("LAYERS", default=())
"""The layers of the `load` under way, the strongest first. Empty means defaults only."""
