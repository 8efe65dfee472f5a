"""Frozen values: a provider, its routes and its credential. All that differs between upstreams is data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from ccproxy.translate.formats import Format


class Operation(StrEnum):
    """What a request asks for."""

    CREATE = "create"
    COUNT_TOKENS = "count_tokens"
    MODELS = "models"
    MODEL = "model"
    NATIVE = "native"
    """Any other path of the upstream's own API, forwarded as it is."""
    PROBE = "probe"
    """HEAD, which clients use to see whether anybody is there."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path under a provider's prefix."""

    operation: Operation
    format: Format
    """The wire format that the client speaks there."""
    method: str
    upstream_path: str | None = None
    """Where the upstream has the same endpoint, below `Upstream.path`; None where only a translation leads there."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where a provider is reached. The only hosts that anything is ever sent to."""

    scheme: str
    host: str
    port: int
    path: str
    """Path of the base URL, without a trailing slash."""

    @classmethod
    def parse(cls, url: str) -> Upstream:
        """From a configured URL, which the settings have checked."""
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return cls(parts.scheme, parts.hostname or "", port, parts.path.rstrip("/"))

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One upstream and everything that the gateway has to know of it."""

    name: str
    prefix: str
    format: Format
    """What the upstream speaks."""
    endpoints: Mapping[str, Endpoint]
    """Paths below the prefix, exactly."""
    upstream: Upstream | None = None
    """None: answered inside this process."""
    key_header: str = "x-api-key"
    """Where the upstream looks for a key; `authorization` takes it as a bearer token."""
    wants_credential: bool = True
    """False for a server of the user's own that is given none."""
    native_root: str | None = None
    """Any other path below the prefix that starts so is forwarded natively."""
    strips_version: bool = False
    """The upstream's paths have no `/v1`: it is taken off."""
    sessions: bool = False
    """The same endpoints exist under `/{session_id}`."""
    models: Mapping[str, str] = field(default_factory=dict)
    retries: frozenset[int] = frozenset()
    profile: str = ""
    """The upstream's own rules for bodies: `anthropic`, `codex`, `openai` or empty."""
    default_headers: tuple[tuple[str, str], ...] = ()
    """Sent where the client sends none of that name."""
