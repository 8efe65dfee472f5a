"""Usage objects of the three formats: one type for all, read and written here only. Pure.

Anthropic's `input_tokens` excludes what the cache served and stored; OpenAI's totals include it. `Tokens` holds disjoint counts, and each format is read into
them and written from them.

Numbers come from a network: anything that is not a count is read as 0, so that a vendor's novelty breaks neither a translation nor the accounting.
Sources: the vendors' SDK types (`anthropic.types.beta.BetaUsage`, `openai.types.CompletionUsage`, `openai.types.responses.ResponseUsage`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from ccproxy.translate.formats import Format
from ccproxy.translate.labels import label

Json = Mapping[str, Any]

_MAX_COUNT = 1 << 53
"""Counts from here on are not believed: JSON numbers are exact only below."""
_MAX_MONEY_TEXT = 40


@dataclass(slots=True, frozen=True)
class Tokens:
    """Token counts in disjoint parts: the whole prompt is `input + cache_read + cache_write_5m + cache_write_1h`.

    `output` includes `reasoning`. OpenAI's cache writes, of any retention, count as `cache_write_5m`: its price list has only one kind.
    """

    input: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0
    web_searches: int = 0
    """Server-side web searches, billed per search."""
    server_tool_uses: int = 0
    """Server-side tool uses of any kind, web searches included."""

    @property
    def cache_write(self) -> int:
        """Tokens stored in the cache, for any time."""
        return self.cache_write_5m + self.cache_write_1h

    @property
    def prompt(self) -> int:
        """All input tokens, cached or not: the long-context tiers of price lists are defined by this count."""
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
    """The usage of one answer, as its upstream reported it."""

    tokens: Tokens = Tokens()
    """The counts of the answering model."""
    extra: tuple[tuple[str | None, Tokens], ...] = ()
    """Work billed in addition, by model (`None`: the answering one): Anthropic's compaction and advisor iterations, which the top-level counts leave out."""
    service_tier: str | None = None
    """Anthropic `standard|priority|batch`, OpenAI `default|flex|priority|…`; it selects the price list."""
    speed: str | None = None
    """Anthropic `standard|fast`."""
    reported_cost: Decimal | None = None
    """US dollars, where the upstream reports a figure (OpenRouter's `usage.cost`, the Claude SDK's `total_cost_usd`)."""
    estimated: bool = False
    """The upstream was cut off before it reported its usage: `output` is estimated from the text."""

    @property
    def total(self) -> Tokens:
        total = self.tokens
        for _, tokens in self.extra:
            total += tokens
        return total


# --- reading ---------------------------------------------------------------------------------------------------------


def read_usage(fmt: Format, usage: object, response: Json | None = None) -> Usage | None:
    """Return the usage object of an answer in this format; `None` when it is not one, or counts nothing.

    `response` is the object around it: OpenAI's formats have the service tier there, and the output items of a Responses object tell the server-side tool uses.
    """
    if not isinstance(usage, Mapping):
        return None
    return _READERS[fmt](usage, response or {})


def merge_usage(sofar: Json, usage: object) -> Json:
    """Return Anthropic's usage object after another event of the stream: its counts are cumulative and replace earlier ones, those that it omits stay."""
    if not isinstance(usage, Mapping):
        return sofar
    return {**sofar, **{name: value for name, value in usage.items() if value is not None}}


def _messages(usage: Json, _response: Json) -> Usage | None:
    if "input_tokens" not in usage and "output_tokens" not in usage:
        return None
    tools = _dict(usage, "server_tool_use")
    counts = [_count(tools, name) for name in tools if name.endswith("_requests")]
    iterations = usage.get("iterations")
    # Entries of other types are included in the top-level counts.
    extra = [
        (_text(entry, "model"), _messages_tokens(entry))
        for entry in (iterations if isinstance(iterations, list) else ())
        if isinstance(entry, Mapping) and _text(entry, "type") in {"compaction", "advisor_message"}
    ]
    return Usage(
        _messages_tokens(usage)
        + Tokens(web_searches=_count(tools, "web_search_requests"), server_tool_uses=sum(counts)),
        tuple(extra),
        _text(usage, "service_tier"),
        _text(usage, "speed"),
    )


def _messages_tokens(usage: Json) -> Tokens:
    written = _count(usage, "cache_creation_input_tokens")
    split = _dict(usage, "cache_creation")
    hour = _count(split, "ephemeral_1h_input_tokens")
    # The final event of a stream repeats the total, not the split: the total is authoritative.
    written = written or hour + _count(split, "ephemeral_5m_input_tokens")
    hour = min(hour, written)
    return Tokens(
        input=_count(usage, "input_tokens"),
        cache_read=_count(usage, "cache_read_input_tokens"),
        cache_write_5m=written - hour,
        cache_write_1h=hour,
        output=_count(usage, "output_tokens"),
        reasoning=_count(_dict(usage, "output_tokens_details"), "thinking_tokens"),
    )


def _chat(usage: Json, response: Json) -> Usage | None:
    if "prompt_tokens" not in usage and "completion_tokens" not in usage:
        return None
    tools = _dict(usage, "server_tool_use_details")  # OpenRouter's
    searches = _count(tools, "web_search_requests")
    return Usage(
        _openai_tokens(usage, "prompt_tokens", "completion_tokens")
        + Tokens(web_searches=searches, server_tool_uses=max(searches, _count(tools, "tool_calls_executed"))),
        service_tier=_text(response, "service_tier"),
        reported_cost=_money(usage.get("cost")),
    )


def _responses(usage: Json, response: Json) -> Usage | None:
    if "input_tokens" not in usage and "output_tokens" not in usage:
        return None
    searches, uses = _server_tools(response)
    return Usage(
        _openai_tokens(usage, "input_tokens", "output_tokens") + Tokens(web_searches=searches, server_tool_uses=uses),
        service_tier=_text(response, "service_tier"),
        reported_cost=_money(usage.get("cost")),
    )


_READERS: dict[Format, Callable[[Json, Json], Usage | None]] = {
    Format.ANTHROPIC: _messages,
    Format.OPENAI_CHAT: _chat,
    Format.OPENAI_RESPONSES: _responses,
}


def _openai_tokens(usage: Json, prompt_name: str, output_name: str) -> Tokens:
    prompt = _count(usage, prompt_name)
    details = _dict(usage, f"{prompt_name}_details")
    cached = min(_count(details, "cached_tokens"), prompt)
    written = min(_count(details, "cache_write_tokens"), prompt - cached)
    return Tokens(
        input=prompt - cached - written,
        cache_read=cached,
        cache_write_5m=written,
        output=_count(usage, output_name),
        reasoning=_count(_dict(usage, f"{output_name}_details"), "reasoning_tokens"),
    )


_SERVER_ITEMS = frozenset(
    {"web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call", "mcp_call"}
)


def _server_tools(response: Json) -> tuple[int, int]:
    """(web searches, all server tool uses). A `web_search_call` may open a page too: only its searches are billed."""
    searches = uses = 0
    output = response.get("output")
    for item in output if isinstance(output, list) else ():
        kind = _text(item, "type") if isinstance(item, Mapping) else None
        if kind not in _SERVER_ITEMS:
            continue
        uses += 1
        if kind == "web_search_call" and _dict(item, "action").get("type", "search") == "search":
            searches += 1
    return searches, uses


def _count(of: Json, name: str) -> int:
    value = of.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MAX_COUNT:
        return 0
    return int(value)


def _dict(of: Json, name: str) -> Json:
    value = of.get(name)
    return value if isinstance(value, Mapping) else {}


def _text(of: Json, name: str) -> str | None:
    return label(of.get(name))


def _money(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, int) and abs(value) >= _MAX_COUNT:  # `str` of a huge integer is slow, or fails
        return None
    text = str(value)
    if len(text) > _MAX_MONEY_TEXT:
        return None
    try:
        money = Decimal(text)
    except InvalidOperation:
        return None
    return money if money.is_finite() and 0 <= money < _MAX_COUNT else None


# --- writing ---------------------------------------------------------------------------------------------------------


def to_anthropic(usage: Usage) -> dict[str, Any]:
    """Return the usage of a `message_delta`: complete in itself, since the SDK overwrites that of `message_start` with it."""
    tokens = usage.tokens
    written: dict[str, Any] = {
        "input_tokens": tokens.input,
        "cache_creation_input_tokens": tokens.cache_write,
        "cache_read_input_tokens": tokens.cache_read,
        "output_tokens": tokens.output,
    }
    if tokens.reasoning:
        written["output_tokens_details"] = {"thinking_tokens": tokens.reasoning}
    if tokens.web_searches:
        written["server_tool_use"] = {"web_search_requests": tokens.web_searches, "web_fetch_requests": 0}
    return written


def to_chat(usage: Usage) -> dict[str, Any]:
    """Return the usage object of Chat Completions."""
    tokens = usage.tokens
    return {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.prompt + tokens.output,
        "prompt_tokens_details": {
            "cached_tokens": tokens.cache_read,
            "cache_write_tokens": tokens.cache_write,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": tokens.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def to_responses(usage: Usage) -> dict[str, Any]:
    """Return the usage object of Responses."""
    tokens = usage.tokens
    return {
        "input_tokens": tokens.prompt,
        "input_tokens_details": {"cached_tokens": tokens.cache_read, "cache_write_tokens": tokens.cache_write},
        "output_tokens": tokens.output,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.prompt + tokens.output,
    }
