"""Prices worked out by hand from the vendors' published lists."""

from __future__ import annotations

import http.server
import json
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ccproxy.errors import ConfigError
from ccproxy.ledger.pricing import PriceBook, PricesNotUpdated, Rate, Rates, parse_overrides, update_prices
from ccproxy.translate.usage import Tokens, Usage

NOVEMBER = datetime(2026, 11, 22, 12, tzinfo=UTC)
BOOK = PriceBook()
newer_list = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="the genai-prices for Python 3.11 has no such models"
)


def price(model: str, tokens: Tokens, at: datetime = NOVEMBER, **usage: Any) -> Decimal | None:
    vendor = "anthropic" if model.startswith("claude") else "openai"
    return BOOK.price(Usage(tokens, **usage), [model], vendor=vendor, at=at)


# claude-sonnet-4-5, dollars per million: input 3, read 0.30, 5 min write 3.75, 1 h write 6, output 15;
# beyond 200,000 prompt tokens 6, 0.60, 7.50, 12, 22.50 for all of them (https://docs.claude.com/en/docs/about-claude/pricing)


def test_each_kind_of_token_has_its_price() -> None:
    kinds = [
        ("input", "3"),
        ("cache_read", "0.3"),
        ("cache_write_5m", "3.75"),
        ("cache_write_1h", "6"),
        ("output", "15"),
    ]
    for kind, dollars in kinds:
        tokens = Tokens(**{kind: 100_000})
        assert price("claude-sonnet-4-5-20250929", tokens) == Decimal(dollars) / 10, kind


def test_a_cached_turn() -> None:
    tokens = Tokens(input=1000, cache_read=150_000, cache_write_5m=2000, cache_write_1h=1000, output=500, reasoning=400)
    # 0.003 + 0.045 + 0.0075 + 0.006 + 0.0075; reasoning is part of output
    assert price("claude-sonnet-4-5", tokens) == Decimal("0.069")


def test_long_context_begins_beyond_its_threshold_and_counts_cached_tokens() -> None:
    below = Tokens(input=1000, cache_read=199_000, output=1000)
    assert price("claude-sonnet-4-5", below) == Decimal("0.0777")  # 0.003 + 0.0597 + 0.015
    above = Tokens(input=1001, cache_read=199_000, output=1000)
    assert price("claude-sonnet-4-5", above) == Decimal("0.147906")  # 0.006006 + 0.1194 + 0.0225
    writes = Tokens(cache_write_5m=200_000, cache_write_1h=100_000)
    assert price("claude-sonnet-4-5", writes) == Decimal("2.7")  # 1.5 + 1.2


def test_openai_long_context_and_cached_input() -> None:
    # gpt-5.4: 2.50, cached 0.25, output 15; beyond 272,000: 5, 0.50, 22.50 (https://openai.com/api/pricing)
    assert price("gpt-5.4", Tokens(input=72_000, cache_read=200_000, output=1000)) == Decimal("0.245")
    assert price("gpt-5.4", Tokens(input=72_001, cache_read=200_000, output=1000)) == Decimal("0.482505")
    assert price("gpt-5", Tokens(input=1_000_000, cache_read=1_000_000, output=1_000_000)) == Decimal("11.375")


def test_tokens_without_a_price_of_their_own_cost_as_input() -> None:
    assert price("gpt-5-pro", Tokens(cache_read=1_000_000)) == Decimal(15)  # no discount for cached input
    assert price("gpt-5", Tokens(cache_write_5m=1_000_000)) == Decimal("1.25")  # writes are free of extra charge


def test_the_price_is_that_of_the_day() -> None:
    tokens = Tokens(input=1_000_000)
    assert price("o3", tokens, datetime(2025, 6, 9, 23, tzinfo=UTC)) == Decimal(10)
    assert price("o3", tokens, datetime(2025, 6, 10, 1, tzinfo=UTC)) == Decimal(2)


def test_web_searches_cost_ten_dollars_a_thousand() -> None:
    assert price("claude-sonnet-4-5", Tokens(output=1000, web_searches=3)) == Decimal("0.045")


@newer_list
def test_newer_models() -> None:
    turn = Tokens(input=2000, cache_read=300_000, cache_write_5m=4000, cache_write_1h=1000, output=1000)
    # claude-opus-5-5: 4, 0.20, 5, 8, 20; no long-context tier
    assert price("claude-opus-5-5", turn) == Decimal("0.116")  # 0.008 + 0.06 + 0.02 + 0.008 + 0.02
    assert price("claude-opus-5-5", turn, speed="fast") == Decimal("0.232")
    assert price("claude-opus-5-5", turn, service_tier="batch") == Decimal("0.058")
    # claude-haiku-5-5: 0.10 … 0.50 output; beyond 100,000: five times as much
    assert price("claude-haiku-5-5", Tokens(input=100_000, output=1000)) == Decimal("0.0105")
    assert price("claude-haiku-5-5", Tokens(input=100_001, output=1000)) == Decimal("0.0525005")
    # gpt-6-sol: 2, read 0.20, write 2.50, output 10; beyond 272,000: 4, 0.40, 5, 15; flex at half
    turn = Tokens(input=1000, cache_read=270_000, cache_write_5m=1000, output=1000)
    assert price("gpt-6-sol", turn) == Decimal("0.0685")  # 0.002 + 0.054 + 0.0025 + 0.01
    assert price("gpt-6-sol", turn, service_tier="flex") == Decimal("0.03425")
    assert price("gpt-6-sol", Tokens(input=272_001, output=1000)) == Decimal("1.103004")


@newer_list
def test_an_hour_in_the_cache_costs_twice_the_input_price_in_every_list() -> None:
    """What the list for Python 3.11 leaves out and we fill in."""
    from genai_prices.data_snapshot import get_snapshot

    models = next(provider for provider in get_snapshot().providers if provider.id == "anthropic").models
    seen = 0
    for model in models:
        prices = model.get_prices(NOVEMBER)
        if prices.cache_write_1h_mtok is not None:
            seen += 1
            hour, once = (getattr(p, "base", p) for p in (prices.cache_write_1h_mtok, prices.input_mtok))
            assert hour == 2 * once, model.id
    assert seen > 10


def test_what_is_unknown_has_no_price() -> None:
    tokens = Tokens(input=1)
    assert price("claude-opus-99", tokens) is None
    assert price("gpt-99", tokens) is None
    assert BOOK.price(None, ["claude-sonnet-4-5"], vendor="anthropic", at=NOVEMBER) is None
    assert BOOK.price(Usage(tokens), [], vendor="anthropic", at=NOVEMBER) is None
    assert BOOK.price(Usage(tokens), ["claude-sonnet-4-5"], vendor=None, at=NOVEMBER) is None
    assert BOOK.price(Usage(tokens), ["claude-sonnet-4-5"], vendor="openai", at=NOVEMBER) is None
    assert price("claude-sonnet-4-5", tokens, speed="fast") is None  # no such mode in its list
    assert price("claude-sonnet-4-5", tokens, service_tier="priority") is None  # bought beforehand
    assert price("gpt-5", tokens, service_tier="scale") is None
    beside = Usage(Tokens(input=1), extra=(("claude-unheard-of", Tokens(input=1)),))
    assert BOOK.price(beside, ["claude-sonnet-4-5"], vendor="anthropic", at=NOVEMBER) is None


def test_the_standard_modes_are_no_modes() -> None:
    tokens = Tokens(input=1_000_000)
    assert price("gpt-5", tokens, service_tier="default") == price("gpt-5", tokens) == Decimal("1.25")
    assert price("gpt-5", tokens, service_tier="auto") == Decimal("1.25")
    assert price("claude-opus-4-5", tokens, service_tier="standard", speed="standard") == Decimal(5)


def test_work_beside_the_answer_is_priced_by_its_own_model_and_tier() -> None:
    usage = Usage(
        Tokens(input=1000, output=100),
        extra=((None, Tokens(input=250_000, output=100)), ("claude-opus-4-5", Tokens(input=1000, output=100))),
    )
    # 0.003 + 0.0015, then beyond the threshold 1.5 + 0.00225, then 0.005 + 0.0025
    assert BOOK.price(usage, ["claude-sonnet-4-5"], vendor="anthropic", at=NOVEMBER) == Decimal("1.51425")


def test_the_name_asked_for_helps_when_the_answer_only_adds_a_date() -> None:
    usage = Usage(Tokens(input=1_000_000))
    models = ["gpt-5.5-2099-01-01", "gpt-5.5"]
    assert BOOK.price(usage, models[:1], vendor="openai", at=NOVEMBER) is None
    assert BOOK.price(usage, models, vendor="openai", at=NOVEMBER) is not None
    assert BOOK.price(usage, ["gpt-99", "gpt-5"], vendor="openai", at=NOVEMBER) is None  # another model answered
    assert BOOK.price(usage, [None, "gpt-5"], vendor="openai", at=NOVEMBER) == Decimal("1.25")


def test_vendors_by_base_url() -> None:
    assert BOOK.vendor_of("https://api.anthropic.com") == "anthropic"
    assert BOOK.vendor_of("https://openrouter.ai/api/v1") == "openrouter"
    assert BOOK.vendor_of("http://127.0.0.1:11434/v1") is None


def test_many_names_do_not_pile_up() -> None:
    book = PriceBook()
    for number in range(3000):
        book.price(Usage(Tokens(input=1)), [f"model-{number}"], vendor="openai", at=NOVEMBER)
    assert 0 < book.cached <= 1001


COUNTS = st.integers(0, 10**7)


@given(
    st.builds(Tokens, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS), st.builds(Tokens, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
)
def test_costs_are_exact_and_add_up_without_tiers(one: Tokens, other: Tokens) -> None:
    rates = Rates(*(Rate(Decimal(dollars)) for dollars in ("3", "15", "0.3", "3.75", "6")))
    costs = [rates.cost(tokens) for tokens in (one, other, one + other)]
    assert None not in costs
    assert costs[0] + costs[1] == costs[2]  # type: ignore[operator]


# Overrides


def test_overrides_come_first_and_the_most_exact_pattern_wins() -> None:
    book = PriceBook(
        {
            "llama-*": {"input": 1, "output": 2},
            "llama-4": {"input": "0.5", "output": 2.5, "cache_read": 0.05, "cache_write": 1, "cache_write_1h": 2},
            "mine/claude-*": {"input": 0, "output": 0},
        }
    )

    def cost(model: str, tokens: Tokens, provider: str = "other") -> Decimal | None:
        return book.price(Usage(tokens), [model], vendor=None, at=NOVEMBER, provider=provider)

    million = Tokens(1_000_000, 1_000_000, 1_000_000, 1_000_000, 1_000_000)
    assert cost("llama-4", million) == Decimal("6.05")
    assert cost("llama-3", million) == Decimal(6)
    assert cost("claude-sonnet-4-5", million, "mine") == 0
    assert cost("claude-sonnet-4-5", million) is None
    assert cost("llama-4", Tokens(web_searches=1)) is None


def test_an_override_with_long_context() -> None:
    long = {"long_context": 1000, "long_input": 2, "long_output": 4}
    book = PriceBook({"m": {"input": 1, "output": 2, "web_search": 10, **long}})

    def cost(tokens: Tokens) -> Decimal | None:
        return book.price(Usage(tokens), ["m"], vendor=None, at=NOVEMBER)

    assert cost(Tokens(input=1000, output=1000)) == Decimal("0.003")
    assert cost(Tokens(input=1001, output=1000)) == Decimal("0.006002")
    assert cost(Tokens(cache_read=2000)) == Decimal("0.004")
    assert cost(Tokens(web_searches=1)) == Decimal("0.01")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"m": 3}, 'pricing.overrides."m": expected a table'),
        ({"m": {"input": 1}}, "output is missing"),
        ({"m": {"input": 1, "output": 2, "prompt": 3}}, "unknown key prompt"),
        ({"m": {"input": -1, "output": 2}}, 'pricing.overrides."m".input: -1 is not a price'),
        ({"m": {"input": "NaN", "output": 2}}, "is not a price"),
        ({"m": {"input": True, "output": 2}}, "is not a price"),
        ({"m": {"input": "dear", "output": 2}}, "is not a price"),
        ({"m": {"input": 1, "output": 2, "long_input": 3}}, "long_input also requires long_context and input"),
        (
            {"m": {"input": 1, "output": 2, "long_context": 5, "long_cache_read": 3}},
            "also requires long_context and cache_read",
        ),
    ],
)
def test_overrides_that_cannot_be_meant_are_refused(overrides: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace('"', ".").replace("(", "[(]")):
        parse_overrides(overrides)


# Newer prices


@pytest.fixture
def price_server() -> Iterator[dict[str, Any]]:
    """A server on 127.0.0.1; `state["answer"]` is (status, body)."""
    state: dict[str, Any] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = state["answer"]
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    state["url"] = f"http://127.0.0.1:{server.server_address[1]}/data.json"
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


PUBLISHED = [
    {
        "id": "openai",
        "name": "OpenAI",
        "api_pattern": "https://api\\.openai\\.com",
        "models": [
            {
                "id": "gpt-new",
                "match": {"starts_with": "gpt-new"},
                "prices": {"input_mtok": 1, "output_mtok": {"base": 2, "tiers": [{"start": 100, "price": 3}]}},
            }
        ],
    }
]


def test_fetched_prices_are_used_until_a_newer_package_comes(price_server: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "data" / "prices.json"
    price_server["answer"] = (200, json.dumps(PUBLISHED).encode())
    assert update_prices(file, price_server["url"]).startswith("1 models")

    book = PriceBook(updated=file)
    usage = Usage(Tokens(input=1_000_000, output=1_000_000))
    assert book.price(usage, ["gpt-new-1"], vendor="openai", at=NOVEMBER) == Decimal(4)
    assert "fetched" in book.source

    kept = json.loads(file.read_text())
    file.write_text(json.dumps(kept | {"genai_prices": "0.0.1"}))
    book = PriceBook(updated=file)
    assert book.price(usage, ["gpt-new-1"], vendor="openai", at=NOVEMBER) is None
    assert "packaged" in book.source


@pytest.mark.parametrize("answer", [(404, b"gone"), (200, b"<html>"), (200, b'{"a": 1}'), (200, b'[{"id": 3}]')])
def test_a_failed_fetch_leaves_the_prices_as_they_are(
    price_server: dict[str, Any], tmp_path: Path, answer: tuple[int, bytes]
) -> None:
    price_server["answer"] = answer
    with pytest.raises(PricesNotUpdated, match=r"127\.0\.0\.1"):
        update_prices(tmp_path / "prices.json", price_server["url"])
    assert not list(tmp_path.iterdir())


def test_an_unreadable_file_of_prices_is_named_and_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "prices.json"
    file.write_text("{")
    book = PriceBook(updated=file)
    assert book.price(Usage(Tokens(input=1_000_000)), ["gpt-5"], vendor="openai", at=NOVEMBER) == Decimal("1.25")
    assert "prices.json" in caplog.text


def test_without_a_file_nothing_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    PriceBook(updated=tmp_path / "none.json").load()
    assert not caplog.text
