"""Reads the usage objects of the three formats. Pure.

Numbers come from a network: anything that is no count is read as 0, so that a vendor's novelty never breaks accounting.
Sources: the vendors' SDK types (`anthropic.types.beta.BetaUsage`, `openai.types.CompletionUsage`,
`openai.types.responses.ResponseUsage`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from ccproxy.ledger.records import Tokens, Usage
from ccproxy.translate.formats import Format

Json = Mapping[str, Any]


def read_usage(fmt: Format, usage: object, answer: Json | None = None) -> Usage | None:
    """The usage object of an answer in this format; `None` when it is none, or counts nothing.

    `answer` is the object around it: OpenAI's have the service tier there, and the output items of a Responses object
    tell the server-side tool uses.
    """
    if not isinstance(usage, Mapping):
        return None
    return _READERS[fmt](usage, answer or {})


def _messages(usage: Json, _answer: Json) -> Usage | None:
    if "input_tokens" not in usage and "output_tokens" not in usage:
        return None
    tools = _dict(usage, "server_tool_use")
    counts = [_count(tools, name) for name in tools if name.endswith("_requests")]
    iterations = usage.get("iterations")
    # Entries of other types are in the top-level counts already.
    beside = [
        (_text(entry, "model"), _messages_tokens(entry))
        for entry in (iterations if isinstance(iterations, list) else ())
        if isinstance(entry, Mapping) and _text(entry, "type") in {"compaction", "advisor_message"}
    ]
    return Usage(
        _messages_tokens(usage)
        + Tokens(web_searches=_count(tools, "web_search_requests"), server_tool_uses=sum(counts)),
        tuple(beside),
        _text(usage, "service_tier"),
        _text(usage, "speed"),
    )


def _messages_tokens(usage: Json) -> Tokens:
    written = _count(usage, "cache_creation_input_tokens")
    split = _dict(usage, "cache_creation")
    hour = _count(split, "ephemeral_1h_input_tokens")
    # The final event of a stream repeats the total, not the split: the total rules.
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


def _chat(usage: Json, answer: Json) -> Usage | None:
    if "prompt_tokens" not in usage and "completion_tokens" not in usage:
        return None
    tools = _dict(usage, "server_tool_use_details")  # OpenRouter's
    searches = _count(tools, "web_search_requests")
    return Usage(
        _openai_tokens(usage, "prompt_tokens", "completion_tokens")
        + Tokens(web_searches=searches, server_tool_uses=max(searches, _count(tools, "tool_calls_executed"))),
        service_tier=_text(answer, "service_tier"),
        reported_cost=_money(usage.get("cost")),
    )


def _responses(usage: Json, answer: Json) -> Usage | None:
    if "input_tokens" not in usage and "output_tokens" not in usage:
        return None
    searches, uses = _server_tools(answer)
    return Usage(
        _openai_tokens(usage, "input_tokens", "output_tokens") + Tokens(web_searches=searches, server_tool_uses=uses),
        service_tier=_text(answer, "service_tier"),
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


def _server_tools(answer: Json) -> tuple[int, int]:
    """(web searches, all server tool uses). A `web_search_call` may open a page too: only its searches are billed."""
    searches = uses = 0
    output = answer.get("output")
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
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else 0


def _dict(of: Json, name: str) -> Json:
    value = of.get(name)
    return value if isinstance(value, Mapping) else {}


def _text(of: Json, name: str) -> str | None:
    value = of.get(name)
    return value if isinstance(value, str) and value else None


def _money(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        money = Decimal(str(value))
    except InvalidOperation:
        return None
    return money if money.is_finite() and money >= 0 else None
