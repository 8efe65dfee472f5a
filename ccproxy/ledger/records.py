"""One exchange as plain values: what the ledger keeps, the metrics count and `ccproxy usage` sums up.

Never a prompt, never an answer, never a credential.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from ccproxy.translate.formats import Format
from ccproxy.translate.labels import label
from ccproxy.translate.stops import StopClass, stop_class
from ccproxy.translate.usage import Usage

MAX_PATH = 512
MAX_METHOD = 16
"""The most characters of a path or method."""
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
    """`None` for a native path in a format other than the three."""
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
        """Names come from clients and upstreams: here they become fit for the database, metrics, terminals and tables."""
        self.path = label(self.path, MAX_PATH) or ""
        self.method = label(self.method, MAX_METHOD) or ""
        self.client = label(self.client) or "unknown"
        self.model_asked = label(self.model_asked)
        self.model_answered = label(self.model_answered)
        self.stop_reason = label(self.stop_reason)
        self.error_type = label(self.error_type)
        self.session = label(self.session)
        self.agent = label(self.agent)
        self.parent_agent = label(self.parent_agent)
        self.account = label(self.account)
        if self.stop is None:
            self.stop = StopClass.ERROR if self.outcome is Outcome.ERROR else stop_class(self.stop_reason)

    @property
    def model(self) -> str | None:
        """The model that answered, else the one asked for."""
        return self.model_answered or self.model_asked

    @property
    def cost_unknown(self) -> bool:
        """A model answered, and its price is not known. Refused requests cost nothing."""
        return self.price is None and self.operation == "create" and self.status is not None and self.status < 300

    @property
    def reported_cost(self) -> Decimal | None:
        return self.usage.reported_cost if self.usage else None
