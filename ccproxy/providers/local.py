"""What a provider that answers inside this process looks like to the gateway.

Such a provider takes an Anthropic Messages request (Chat Completions and Responses requests have been translated to one before) and answers with
the raw events of an Anthropic stream. The gateway turns them into SSE, into a whole message, or into another format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class LocalRequest:
    """One Messages request.

    `headers` holds the client's `anthropic-*` and `x-claude-code-*` headers in lower case, and no credential.
    """

    body: dict[str, Any]
    session_id: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class LocalStream(Protocol):
    """The events of one answer: `message_start`, `content_block_*`, `message_delta`, `message_stop`, and `ping` in long silences.

    An `ExchangeError` before the first event is the HTTP answer; after it, it ends the stream as the format's own error event. Nothing is started
    before the first `__anext__`.
    """

    def __aiter__(self) -> LocalStream: ...

    async def __anext__(self) -> dict[str, Any]: ...

    @property
    def losses(self) -> Sequence[tuple[str, str]]:
        """What the request said and the provider could not be told, as (JSON path, reason). Complete when the first event has come."""
        ...

    @property
    def cost_usd(self) -> float | None:
        """The list price of the answer in US dollars as the provider reports it; `None` until the stream has ended, or if it reports none."""
        ...

    async def aclose(self) -> None:
        """Stop all work for this answer within 0.2 s. Does nothing after the end of the stream."""
        ...


class LocalProvider(Protocol):
    """A provider that answers in this process."""

    def stream(self, request: LocalRequest) -> LocalStream: ...

    async def count_tokens(self, request: LocalRequest) -> dict[str, Any]:
        """`{"input_tokens": n}`, an estimate."""
        ...

    async def models(self) -> list[dict[str, Any]]:
        """Anthropic model objects."""
        ...

    def status(self) -> dict[str, Any]:
        """What `/health` shows: JSON values, no secrets."""
        ...

    async def aclose(self) -> None:
        """The proxy stops: end every process and remove every file of this provider."""
        ...
