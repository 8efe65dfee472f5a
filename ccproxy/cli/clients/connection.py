"""What a client has to be told: where ccproxy is, which provider, whose key, which model. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ccproxy.providers.credentials import CredentialState
from ccproxy.providers.spec import Provider

KEY_NOT_USED = "ccproxy"
"""What stands where a client insists on a key: ccproxy takes it off and puts its own credential on."""

DEFAULT_MODELS = {"anthropic": "claude-sonnet-5-5", "codex": "gpt-6.1-sol", "mock": "mock-claude"}
"""The model for a client that knows none of the provider's, by family."""

WINDOWS = {"anthropic": 200_000, "codex": 272_000, "mock": 200_000}
"""Tokens of context that every model of a family has: what a client is told of a model that it does not know."""


class Dialect(StrEnum):
    """The two families of client libraries. Base URLs of Anthropic's end before `/v1`, OpenAI's end in it."""

    ANTHROPIC = "anthropic"
    OPENAI = "openai"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """See the module."""

    origin: str
    """`http://127.0.0.1:8000`"""
    prefix: str
    """`/api`"""
    dialect: Dialect
    key: str | None = None
    """For the place where the client puts its key. None: the client's own login is left alone."""
    token: str | None = None
    """`server.auth_token`, for a header of its own, where the client's own key takes the usual place."""
    header_file: str | None = None
    """A file with ccproxy's token as a header, for a client that reads one."""
    model: str | None = None
    window: int | None = None
    """Tokens of context of a model that the client does not know."""
    native_models: bool = True
    """Whether the provider has the models that the client asks for when nobody tells it another."""

    @property
    def own_token(self) -> str | None:
        """ccproxy's token, wherever it travels."""
        return self.token or (self.key if self.key != KEY_NOT_USED else None)

    @property
    def base(self) -> str:
        """As Anthropic's SDK takes it."""
        return f"{self.origin}{self.prefix}"

    @property
    def v1(self) -> str:
        """As OpenAI's SDK takes it."""
        return f"{self.base}/v1"


def family(provider: Provider) -> str:
    """Whose models a provider has: `anthropic`, `codex`, `mock`, or empty where nobody can tell."""
    if provider.name in {"claude_api", "claude_sdk"}:
        return "anthropic"
    return provider.name if provider.name in {"codex", "mock"} else ""


def key_and_token(state: CredentialState, auth_token: str) -> tuple[str | None, str | None]:
    """What goes in place of the client's key, and what beside it.

    Where ccproxy has a credential of its own the place is free: its token goes there, or a word that means nothing. Else the client's own
    login stays, and the token travels as `x-ccproxy-token`.
    """
    if state.is_own:
        return auth_token or KEY_NOT_USED, None
    return None, auth_token or None
