"""One exchange as plain values: what the ledger keeps, the metrics count and `ccproxy usage` sums up.

Never a prompt, never an answer, never a credential.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from ccproxy.translate.formats import Format

LIST_PRICE = "list price, not your bill"
"""Label of a price on a route that is paid by subscription."""


class Outcome(StrEnum):
    """How an exchange ended."""

    FINISHED = "finished"
    """The answer reached its end; also an error answer that the upstream itself gave in full."""
    CUT = "cut"
    """The upstream closed before the answer was whole."""
    CLIENT_LEFT = "client_left"
    """The client closed before the answer was whole."""
    ERROR = "error"
    """ccproxy answered with an error of its own, or the answer ended in an error event."""


class StopClass(StrEnum):
    """Why the model stopped, in one vocabulary for the three formats."""

    END = "end"
    LENGTH = "length"
    STOP_SEQUENCE = "stop_sequence"
    TOOL_USE = "tool_use"
    REFUSAL = "refusal"
    PAUSE = "pause"
    ERROR = "error"
    OTHER = "other"


_STOP_CLASSES = {
    # Anthropic Messages
    "end_turn": StopClass.END,
    "max_tokens": StopClass.LENGTH,
    "model_context_window_exceeded": StopClass.LENGTH,
    "stop_sequence": StopClass.STOP_SEQUENCE,
    "tool_use": StopClass.TOOL_USE,
    "refusal": StopClass.REFUSAL,
    "pause_turn": StopClass.PAUSE,
    "compaction": StopClass.PAUSE,
    # Chat Completions
    "stop": StopClass.END,
    "length": StopClass.LENGTH,
    "tool_calls": StopClass.TOOL_USE,
    "function_call": StopClass.TOOL_USE,
    "content_filter": StopClass.REFUSAL,
    # Responses: `status`, or the reason of an incomplete one
    "completed": StopClass.END,
    "max_output_tokens": StopClass.LENGTH,
    "failed": StopClass.ERROR,
    "cancelled": StopClass.ERROR,
}


def stop_class(reason: str | None) -> StopClass | None:
    """The class of a format's own stop reason; a reason unknown today is `other`."""
    return None if reason is None else _STOP_CLASSES.get(reason, StopClass.OTHER)


@dataclass(slots=True, frozen=True)
class Tokens:
    """Token counts in disjoint parts: the whole prompt is `input + cache_read + cache_write_5m + cache_write_1h`.

    `output` includes `reasoning`. OpenAI's cache writes, of any retention, count as `cache_write_5m`: its price list
    knows one kind.
    """

    input: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0
    web_searches: int = 0
    """Server-side web searches, billed apiece."""
    server_tool_uses: int = 0
    """Server-side tool uses of any kind, web searches included."""

    @property
    def prompt(self) -> int:
        """All input tokens, cached or not: what the long-context tiers of price lists look at."""
        return self.input + self.cache_read + self.cache_write_5m + self.cache_write_1h

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(
            self.input + other.input,
            self.cache_read + other.cache_read,
            self.cache_write_5m + other.cache_write_5m,
            self.cache_write_1h + other.cache_write_1h,
            self.output + other.output,
            self.reasoning + other.reasoning,
            self.web_searches + other.web_searches,
            self.server_tool_uses + other.server_tool_uses,
        )


@dataclass(slots=True, frozen=True)
class Usage:
    """What one answer used, as its upstream reported it."""

    tokens: Tokens
    """The answering model's own."""
    extra: tuple[tuple[str | None, Tokens], ...] = ()
    """Work billed beside it, by model (`None`: the answering one): Anthropic's compaction and advisor iterations, which
    the top-level counts leave out."""
    service_tier: str | None = None
    """Anthropic `standard|priority|batch`, OpenAI `default|flex|priority|…`; decides the price list."""
    speed: str | None = None
    """Anthropic `standard|fast`."""
    reported_cost: Decimal | None = None
    """US dollars, where the upstream names a figure (OpenRouter's `usage.cost`, the Claude SDK's `total_cost_usd`)."""

    @property
    def total(self) -> Tokens:
        total = self.tokens
        for _, tokens in self.extra:
            total += tokens
        return total


@dataclass(slots=True)
class Record:
    """One exchange. Times are milliseconds, money is US dollars, `None` is unknown."""

    flow: str
    """The flow's id, as in the header `x-ccproxy-flow`; one record per flow."""
    started: datetime
    """When the request came in; aware, UTC."""
    provider: str
    """As in the configuration: `claude_api`, `codex`, `claude_sdk`, `mock`, …"""
    route: str
    """The route's prefix: `/api`."""
    client_format: Format | None
    """`None`: a native path that is none of the three formats."""
    upstream_format: Format | None
    method: str
    path: str
    """Without the query."""
    status: int | None
    """HTTP status that the client got; `None` when it left before there was one."""
    outcome: Outcome
    operation: str = "create"
    """`create` asked a model for an answer: the only one that costs. Others: `count_tokens`, `models`, `other`."""
    streamed: bool = False
    model_asked: str | None = None
    model_answered: str | None = None
    stop_reason: str | None = None
    """The upstream format's own word."""
    error_type: str | None = None
    """Type or code of an error answer or error event; never its message."""
    usage: Usage | None = None
    """`None`: the upstream reported none."""
    partial: bool = False
    """The answer broke off before its final usage: tokens and price are a lower bound."""
    ttfb_ms: float | None = None
    """From the request's head to the answer's first body byte."""
    first_token_ms: float | None = None
    """From the request's head to the model's first output."""
    total_ms: float | None = None
    added_ms: float | None = None
    """Time spent in ccproxy itself."""
    bytes_in: int = 0
    """Body bytes from the client."""
    bytes_out: int = 0
    """Body bytes to the client."""
    client: str = "unknown"
    """Client family: `claude-code`, `codex`, `openai-python`, …"""
    session: str | None = None
    agent: str | None = None
    parent_agent: str | None = None
    account: str | None = None
    """A label such as an e-mail address or plan; never a credential."""
    losses: int = 0
    """How many things translation could not carry over."""
    retries: int = 0
    price: Decimal | None = None
    """By list price; `None` for a model without one."""
    label: str = ""
    """`LIST_PRICE` on subscription routes."""
    stop: StopClass | None = None
    """Left out: by outcome and `stop_reason`."""

    def __post_init__(self) -> None:
        if self.stop is None:
            self.stop = StopClass.ERROR if self.outcome is Outcome.ERROR else stop_class(self.stop_reason)

    @property
    def model(self) -> str | None:
        """The model that answered, else the one asked for."""
        return self.model_answered or self.model_asked

    @property
    def cost_unknown(self) -> bool:
        """A model answered, and nobody knows what that costs. Refused requests cost nothing."""
        return self.price is None and self.operation == "create" and self.status is not None and self.status < 300

    @property
    def reported_cost(self) -> Decimal | None:
        return self.usage.reported_cost if self.usage else None
