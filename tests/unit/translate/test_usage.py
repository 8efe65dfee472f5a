"""Usage objects of the three formats, as their upstreams send them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ccproxy.translate.formats import Format
from ccproxy.translate.usage import Tokens, Usage, read_usage

A, C, R = Format.ANTHROPIC, Format.OPENAI_CHAT, Format.OPENAI_RESPONSES


def test_messages_with_both_kinds_of_cache_writes() -> None:
    usage = {
        "input_tokens": 4,
        "cache_creation_input_tokens": 500,
        "cache_read_input_tokens": 14714,
        "cache_creation": {"ephemeral_5m_input_tokens": 379, "ephemeral_1h_input_tokens": 121},
        "output_tokens": 290,
        "output_tokens_details": {"thinking_tokens": 19},
        "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1},
        "service_tier": "standard",
        "speed": "fast",
    }
    tokens = Tokens(4, 14714, 379, 121, 290, 19, web_searches=2, server_tool_uses=3)
    assert read_usage(A, usage) == Usage(tokens, (), "standard", "fast")
    assert tokens.prompt == 4 + 500 + 14714


def test_messages_total_of_cache_writes_rules_over_the_split() -> None:
    split = {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 50}
    usage = {"output_tokens": 1, "cache_creation_input_tokens": 400, "cache_creation": split}
    assert read_usage(A, usage) == Usage(Tokens(cache_write_5m=350, cache_write_1h=50, output=1))
    assert read_usage(A, {"output_tokens": 1, "cache_creation": split}) == Usage(Tokens(0, 0, 100, 50, 1))
    assert read_usage(A, {"output_tokens": 1, "cache_creation_input_tokens": 7}) == Usage(Tokens(0, 0, 7, 0, 1))


def test_compaction_and_advisor_iterations_add_to_the_top_level_counts() -> None:
    usage = {
        "input_tokens": 2390,
        "output_tokens": 121,
        "iterations": [
            {"type": "message", "input_tokens": 1128, "output_tokens": 110},
            {"type": "advisor_message", "model": "claude-opus-4-8", "input_tokens": 2518, "output_tokens": 22},
            {"type": "message", "input_tokens": 1262, "output_tokens": 11},
            {"type": "compaction", "input_tokens": 60385, "output_tokens": 592},
            {"type": "fallback_message", "model": "x", "input_tokens": 1, "output_tokens": 1},
            "novelty",
        ],
    }
    read = read_usage(A, usage)
    assert read is not None
    assert read.tokens == Tokens(input=2390, output=121)
    assert read.extra == (("claude-opus-4-8", Tokens(2518, output=22)), (None, Tokens(60385, output=592)))
    assert read.total == Tokens(input=2390 + 2518 + 60385, output=121 + 22 + 592)


def test_chat_prompt_tokens_include_the_cached() -> None:
    usage = {
        "prompt_tokens": 2006,
        "completion_tokens": 300,
        "prompt_tokens_details": {"cached_tokens": 1920, "cache_write_tokens": 6},
        "completion_tokens_details": {"reasoning_tokens": 200},
        "cost": 0.00097,
        "server_tool_use_details": {"web_search_requests": 1, "tool_calls_executed": 3},
    }
    tokens = Tokens(80, 1920, 6, 0, 300, 200, web_searches=1, server_tool_uses=3)
    expected = Usage(tokens, service_tier="priority", reported_cost=Decimal("0.00097"))
    assert read_usage(C, usage, {"service_tier": "priority"}) == expected


def test_responses_count_server_tools_by_their_items() -> None:
    usage = {"input_tokens": 50, "output_tokens": 9, "output_tokens_details": {"reasoning_tokens": 3}}
    items: list[Any] = [
        {"type": "web_search_call", "action": {"type": "search"}},
        {"type": "web_search_call"},
        {"type": "web_search_call", "action": {"type": "open_page"}},
        {"type": "code_interpreter_call"},
        {"type": "function_call"},
        {"type": ["novelty"]},
        7,
    ]
    read = read_usage(R, usage, {"output": items, "service_tier": "flex"})
    assert read == Usage(Tokens(50, output=9, reasoning=3, web_searches=2, server_tool_uses=4), service_tier="flex")


@pytest.mark.parametrize("fmt", [A, C, R])
def test_no_usage_is_none(fmt: Format) -> None:
    for usage in (None, {}, [], "7", {"novelty": 1}):
        assert read_usage(fmt, usage) is None


NAMES = st.sampled_from(
    [
        *("input_tokens", "output_tokens", "prompt_tokens", "completion_tokens", "prompt_tokens_details"),
        *("cached_tokens", "cache_creation", "cache_creation_input_tokens", "iterations", "server_tool_use"),
        *("web_search_requests", "cost", "service_tier", "speed", "type", "output"),
    ]
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
)


@given(st.sampled_from([A, C, R]), st.dictionaries(NAMES, JSON_VALUES), st.dictionaries(NAMES, JSON_VALUES))
def test_no_usage_object_breaks_the_reader_or_counts_below_zero(fmt: Format, usage: Any, answer: Any) -> None:
    read = read_usage(fmt, usage, answer)
    if read is not None:
        total = read.total
        assert min(total.input, total.cache_read, total.cache_write_5m, total.cache_write_1h, total.output) >= 0
        assert read.reported_cost is None or read.reported_cost >= 0
