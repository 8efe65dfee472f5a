"""The facts that a client needs to use ccproxy: address, provider, key, model. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ccproxy.providers.credentials import CredentialState

PLACEHOLDER_KEY = "ccproxy"
"""The key for clients that require one. ccproxy removes it and adds its own credential."""

DEFAULT_MODELS = {"anthropic": "claude-sonnet-5-5", "codex": "gpt-6.1-sol", "mock": "mock-claude"}
"""The model, by the provider's family, for a client that knows none of the provider's models."""

WINDOWS = {"anthropic": 200_000, "codex": 272_000, "mock": 200_000}
"""Context size, in tokens, that every model of a family has, for clients that do not know the model."""


class Dialect(StrEnum):
    """The two families of client libraries. Anthropic's base URLs end before `/v1`, OpenAI's end with it."""

    ANTHROPIC = "anthropic"
    OPENAI = "openai"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The route of one client to one provider through ccproxy."""

    origin: str
    """`http://127.0.0.1:8000`"""
    prefix: str
    """`/api`"""
    dialect: Dialect
    key: str | None = None
    """The value of the client's key. None leaves the client's own login in place."""
    token: str | None = None
    """`server.auth_token` for a separate header, if the client's own key takes the usual one."""
    header_file: str | None = None
    """A file with ccproxy's token as a header, for a client that can read one."""
    model: str | None = None
    window: int | None = None
    """Context size, in tokens, of a model that the client does not know."""
    native_models: bool = True
    """True if the provider has the models that the client requests by default."""

    @property
    def own_token(self) -> str | None:
        """ccproxy's token, in whichever header it travels."""
        return self.token or (self.key if self.key != PLACEHOLDER_KEY else None)

    @property
    def base(self) -> str:
        """The base URL for Anthropic's SDK."""
        return f"{self.origin}{self.prefix}"

    @property
    def v1(self) -> str:
        """The base URL for OpenAI's SDK."""
        return f"{self.base}/v1"


def key_and_token(state: CredentialState, auth_token: str) -> tuple[str | None, str | None]:
    """Return the value of the client's key and the token for a separate header.

    If ccproxy has its own credential, the client's key is free to carry ccproxy's token or a placeholder. Otherwise the client keeps its own
    login, and the token travels as `x-ccproxy-token`.
    """
    if state.is_own:
        return auth_token or PLACEHOLDER_KEY, None
    return None, auth_token or None
