"""Frozen values: a provider, its routes and everything in which one upstream differs from another.

Code outside `providers/` reads these values. It never compares the name of a provider, so that a new one needs no change there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from ccproxy.translate.formats import Format

if TYPE_CHECKING:
    from ccproxy.translate.profiles import Profile


class Operation(StrEnum):
    """The purpose of a request."""

    CREATE = "create"
    COUNT_TOKENS = "count_tokens"
    MODELS = "models"
    MODEL = "model"
    NATIVE = "native"
    """Any other path of the upstream's own API, forwarded unchanged."""
    PROBE = "probe"
    """HEAD, with which clients check that a server is there."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path under a provider's prefix."""

    operation: Operation
    format: Format
    """The client's wire format."""
    method: str
    upstream_path: str | None = None
    """The upstream's path of the same endpoint, below `Upstream.path`; None if requests have to be translated."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """The address of a provider. Nothing is sent to any other host."""

    scheme: str
    host: str
    port: int
    path: str
    """Path of the base URL, without a trailing slash."""

    @classmethod
    def parse(cls, url: str) -> Upstream:
        """Parse a configured URL, which the settings have validated."""
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return cls(parts.scheme, parts.hostname or "", port, parts.path.rstrip("/"))

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"


class ProfileMaker(Protocol):
    """Makes the translator's profile of one model."""

    def __call__(
        self, model: str, card: Mapping[str, Any] | None, *, version: str, refused: Collection[str] = ()
    ) -> Profile:
        """Return what `model` accepts.

        `card` is its object in the upstream's list, `version` the `anthropic-version` of the request, `refused` the parameters that this
        model has refused by name.
        """
        ...


NativeEdit = Callable[[Mapping[str, Any], Mapping[str, str]], dict[str, object]]
"""From the top-level values of a native request body and its headers (names in lower case) to the keys to set, or to remove
(`json_edit.REMOVE`), so that the upstream accepts the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCatalogue:
    """An upstream's list of its models."""

    target: str
    """Path and query below `Upstream.path`."""
    key: str = "data"
    """The member of the response that holds the list."""
    describes: bool = False
    """The objects state what each model accepts, so the list is fetched before the first translation."""
    fallback: tuple[str, ...] = ()
    """Names to list while the upstream does not respond. A model that is missing here is not refused."""
    is_native: Callable[[Mapping[str, str], str], bool]
    """Whether a client reads the upstream's own list, from its headers (names in lower case) and its query string."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One upstream and everything that the gateway needs to know about it."""

    name: str
    prefix: str
    format: Format
    """The wire format of the upstream."""
    endpoints: Mapping[str, Endpoint]
    """Exact paths below the prefix."""
    upstream: Upstream | None = None
    """None: the response is made inside this process."""
    native_root: str | None = None
    """Any other path below the prefix that starts with this one is forwarded natively."""
    strips_version: bool = False
    """The upstream's paths have no `/v1`: it is removed."""
    sessions: bool = False
    """The same endpoints exist under `/{session_id}`."""
    session_header: str = ""
    """The header that carries the session id of the path, unless the client sent one; empty: none."""

    # ---- credentials

    key_header: str = "x-api-key"
    """The header of the upstream's key; `authorization` takes it as a bearer token."""
    wants_credential: bool = True
    """False for a user-defined server without a key."""

    has_accounts: bool = False
    """A client's key comes with headers that name its account (`header_fields.ACCOUNT_HEADERS`)."""

    # ---- bodies

    profile_for: ProfileMaker
    """The translator's profile of a model."""
    native_edit: NativeEdit | None = None
    """The changes that a native request body needs; None: native bodies pass unchanged."""
    native_losses: Callable[[Mapping[str, Any]], list[str]] | None = None
    """The JSON paths of what `native_edit` takes out of the values that it keeps; removed keys are losses anyway."""
    streams_only: bool = False
    """The upstream only streams: for a client that wants a whole response, the stream is folded."""
    refuses_by_name: bool = False
    """A 400 that names an unsupported parameter: a translated request is sent again without it."""
    adds_identity: bool = False
    """The user wants the identity line (`providers.identity`) on requests that are sent with their login."""
    models: Mapping[str, str] = field(default_factory=dict)
    """From a client's model name, or a glob, to the upstream's."""
    catalogue: ModelCatalogue | None = None
    """None: a provider inside this process lists its own models."""
    retries: frozenset[int] = frozenset()
    """Statuses after which a request is sent again, as configured."""
    default_headers: tuple[tuple[str, str], ...] = ()
    """Sent unless the client sent a header of that name."""

    # ---- labels

    vendor: str | None = None
    """The vendor in price lists (`anthropic`, `openai`); None: derived from the upstream's URL."""
    family: str = ""
    """Whose models a client gets by default (`anthropic`, `codex`, `mock`); empty: unknown."""
    by_subscription: bool = False
    """Requests are paid for by a subscription even without a stored login, so costs are list prices."""
    terms: str = ""
    """The terms that apply to every request; empty: they depend on the credential."""
