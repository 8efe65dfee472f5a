"""One accounting for all formats.

Anthropic's `input_tokens` excludes what the cache served and stored; OpenAI's totals include it. Here the counts are disjoint (`neutral.Usage`), and each
format is read and written from them.
"""

from __future__ import annotations

from typing import Any

from ccproxy.translate.neutral import Usage

Json = dict[str, Any]


def _count(value: object) -> int:
    return int(value) if isinstance(value, int | float) and value > 0 else 0


def _inner(holder: Json, key: str) -> Json:
    found = holder.get(key)
    return found if isinstance(found, dict) else {}


# --- Anthropic -------------------------------------------------------------------------------------------------------


def from_anthropic(raw: object, before: Usage | None = None) -> Usage:
    """Read a usage object; counts that it leaves out stay as they were (a `message_delta` repeats only some)."""
    old = before or Usage()
    if not isinstance(raw, dict):
        return old

    def count(key: str, fallback: int) -> int:
        return _count(raw[key]) if raw.get(key) is not None else fallback

    hour = _inner(raw, "cache_creation").get("ephemeral_1h_input_tokens")
    tier = raw.get("service_tier")
    return Usage(
        input=count("input_tokens", old.input),
        cache_read=count("cache_read_input_tokens", old.cache_read),
        cache_write=count("cache_creation_input_tokens", old.cache_write),
        output=count("output_tokens", old.output),
        reasoning=_count(_inner(raw, "output_tokens_details").get("thinking_tokens")) or old.reasoning,
        cache_write_1h=_count(hour) if hour is not None else old.cache_write_1h,
        web_searches=_count(_inner(raw, "server_tool_use").get("web_search_requests")) or old.web_searches,
        service_tier=tier if isinstance(tier, str) else old.service_tier,
    )


def to_anthropic(usage: Usage) -> Json:
    """The usage of a `message_delta`: whole in itself, since the SDK overwrites with it what `message_start` said."""
    found: Json = {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output,
    }
    if usage.reasoning:
        found["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    if usage.web_searches:
        found["server_tool_use"] = {"web_search_requests": usage.web_searches, "web_fetch_requests": 0}
    return found


# --- OpenAI ----------------------------------------------------------------------------------------------------------


def from_openai(raw: object) -> Usage:
    """Read a usage object of Chat Completions or Responses: the same counts under two sets of names."""
    if not isinstance(raw, dict):
        return Usage()
    chat = "prompt_tokens" in raw or "completion_tokens" in raw
    inputs = _inner(raw, "prompt_tokens_details" if chat else "input_tokens_details")
    outputs = _inner(raw, "completion_tokens_details" if chat else "output_tokens_details")
    total = _count(raw.get("prompt_tokens" if chat else "input_tokens"))
    read = min(_count(inputs.get("cached_tokens")), total)
    written = min(_count(inputs.get("cache_write_tokens")), total - read)
    return Usage(
        input=total - read - written,
        cache_read=read,
        cache_write=written,
        output=_count(raw.get("completion_tokens" if chat else "output_tokens")),
        reasoning=_count(outputs.get("reasoning_tokens")),
    )


def to_chat(usage: Usage) -> Json:
    """The usage object of Chat Completions."""
    return {
        "prompt_tokens": usage.total_input,
        "completion_tokens": usage.output,
        "total_tokens": usage.total_input + usage.output,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def to_responses(usage: Usage) -> Json:
    """The usage object of Responses."""
    return {
        "input_tokens": usage.total_input,
        "input_tokens_details": {"cached_tokens": usage.cache_read, "cache_write_tokens": usage.cache_write},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.total_input + usage.output,
    }
