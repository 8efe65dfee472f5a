"""The interface of a provider in this process: Anthropic Messages as parsed objects. The gateway does the HTTP and the other formats."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from ccproxy.errors import CcproxyError


@dataclass(frozen=True, slots=True)
class LocalRequest:
    """An Anthropic Messages request."""

    body: dict[str, Any]
    session_id: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """The client's `anthropic-*` and `x-claude-code-*` headers in lower case; never a credential."""


class Dropped(CcproxyError):
    """The answer breaks off without an end: the client's connection is cut, as a failing upstream would cut it."""


@runtime_checkable
class AnswerReport(Protocol):
    """Facts about an answer that an iterator of events may have in addition."""

    @property
    def losses(self) -> Sequence[tuple[str, str]]:
        """Parts of the request that the provider cannot carry, as (JSON path, reason). Complete when the first event has come."""
        ...

    @property
    def cost_usd(self) -> float | None:
        """The list price that the provider itself reports, in US dollars. Known after the last event, if at all."""
        ...


class LocalProvider(Protocol):
    """A provider that answers inside this process."""

    def stream(self, request: LocalRequest) -> AsyncIterator[dict[str, Any]]:
        """The events of a streamed answer: message_start … message_stop, and `ping` in long silences.

        An `ExchangeError` before the first event becomes an HTTP error, one after it the stream's error event; `Dropped` cuts the connection. An end without
        message_stop is an error too. Cancelling the iteration, or dropping the iterator, stops all work within 0.2 s.

        The losses of the request and the cost of the answer are on the iterator, if the provider knows them: see `AnswerReport`.
        """
        ...

    async def count_tokens(self, request: LocalRequest) -> dict[str, Any]:
        """`{"input_tokens": n}`."""
        ...

    async def models(self) -> list[dict[str, Any]]:
        """Anthropic model objects."""
        ...

    def status(self) -> dict[str, Any]:
        """For `/health`; no secrets."""
        ...

    async def aclose(self) -> None:
        """Stop: leave nothing behind."""
        ...
