"""The cost of an answer by list price, in US dollars as Decimal. An unknown model costs None, never 0.

The prices are those that the package `genai-prices` brings (https://github.com/pydantic/genai-prices), or newer ones of
the same source, fetched when the user asks for it. `[pricing] overrides` come before both. The arithmetic is ours:
cached input, cache writes of both lifetimes, long-context tiers, fast and priority modes, web searches.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccproxy.errors import CcproxyError, ConfigError
from ccproxy.settings.folders import private
from ccproxy.translate.labels import label
from ccproxy.translate.usage import Tokens, Usage

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, Provider

log = logging.getLogger(__name__)

MAX_RATES = 1000
"""Price lists of models that are remembered; names of models come from clients."""
MAX_EXTRA = 100
"""Parts of an answer that are billed on their own; more than that are not believed."""
_MILLION = Decimal(1_000_000)
_THOUSAND = Decimal(1000)


class PricesNotUpdated(CcproxyError):
    """Newer prices could not be fetched or read. Those in use stay in use."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Dollars per million tokens. In a long-context tier the dearer price holds for all tokens of the request."""

    base: Decimal
    tiers: tuple[tuple[int, Decimal], ...] = ()
    """(prompt tokens beyond which it holds, price), ascending."""

    def at(self, prompt: int) -> Decimal:
        price = self.base
        for start, dearer in self.tiers:
            if prompt > start:
                price = dearer
        return price

    def times(self, factor: int) -> Rate:
        return Rate(self.base * factor, tuple((start, price * factor) for start, price in self.tiers))


@dataclass(frozen=True, slots=True)
class Rates:
    """The price list of one model. Kinds of tokens without a price of their own cost as much as input."""

    input: Rate
    output: Rate
    cache_read: Rate | None = None
    cache_write_5m: Rate | None = None
    cache_write_1h: Rate | None = None
    web_search: Decimal | None = None
    """Dollars per thousand searches; `None`: unknown."""

    def cost(self, tokens: Tokens) -> Decimal | None:
        if tokens.web_searches and self.web_search is None:
            return None
        prompt = tokens.prompt
        write_5m = self.cache_write_5m or self.input
        total = (
            self.input.at(prompt) * tokens.input
            + (self.cache_read or self.input).at(prompt) * tokens.cache_read
            + write_5m.at(prompt) * tokens.cache_write_5m
            + (self.cache_write_1h or write_5m).at(prompt) * tokens.cache_write_1h
            + self.output.at(prompt) * tokens.output
        ) / _MILLION
        if tokens.web_searches and self.web_search is not None:
            total += self.web_search * tokens.web_searches / _THOUSAND
        return total


class PriceBook:
    """Prices answers. `load` imports and reads the lists, which takes some 0.3 s: call it once off the event loop.

        book = PriceBook(settings.pricing.overrides, updated=data_folder / "prices.json")
        await asyncio.to_thread(book.load)
        book.price(usage, ["claude-opus-5-5"], vendor="anthropic", at=started)

    Raises ConfigError for overrides that cannot be meant.
    """

    def __init__(self, overrides: Mapping[str, Any] | None = None, *, updated: Path | None = None) -> None:
        self._overrides = parse_overrides(overrides or {})
        self._updated = updated
        self._snapshot: DataSnapshot | None = None
        self._loading = threading.Lock()
        self._rates: dict[tuple[object, ...], Rates | None] = {}
        self.source = ""
        """The origin of the prices, once loaded, human-readable."""

    @property
    def cached(self) -> int:
        """How many models' rates are remembered."""
        return len(self._rates)

    def load(self) -> DataSnapshot:
        """The price lists, read once. Thread-safe."""
        with self._loading:
            if self._snapshot is None:
                self._snapshot, self.source = _load(self._updated)
            return self._snapshot

    def price(
        self,
        usage: Usage | None,
        models: Iterable[str | None],
        *,
        vendor: str | None,
        at: datetime,
        provider: str = "",
    ) -> Decimal | None:
        """The list price of an answer; `None` when any part of it is unknown.

        `models` are names of the one that answered, most exact first: the name in the answer, then the one asked for,
        which counts when the first begins with it. `at` is the time of the request: prices change.
        """
        if usage is None or len(usage.extra) > MAX_EXTRA:
            return None
        names = [name for name in map(label, models) if name]
        total = Decimal(0)
        for model, tokens in ((None, usage.tokens), *usage.extra):
            mode = (usage.service_tier, usage.speed) if model is None else (None, None)
            rates = self._find([model] if model else names, vendor, at, provider, mode)
            cost = rates.cost(tokens) if rates else None
            if cost is None:
                return None
            total += cost
        return total

    def vendor_of(self, base_url: str) -> str | None:
        """Whose price list an upstream goes by; `None` for one that `genai-prices` does not know, as a local server."""
        try:
            return self.load().find_provider(None, None, base_url).id
        except LookupError:
            return None

    def _find(
        self, names: list[str], vendor: str | None, at: datetime, provider: str, mode: tuple[str | None, str | None]
    ) -> Rates | None:
        for name in names:
            if not names[0].startswith(name):
                continue  # another model answered than the one asked for
            key = (name, vendor, at.date(), provider, mode)
            if key not in self._rates:
                if len(self._rates) >= MAX_RATES:
                    self._rates.clear()
                self._rates[key] = self._override(name, provider) or self._listed(name, vendor, at, mode)
            rates = self._rates[key]
            if rates:
                return rates
        return None

    def _override(self, name: str, provider: str) -> Rates | None:
        for pattern, rates in self._overrides:
            if fnmatchcase(name, pattern) or fnmatchcase(f"{provider}/{name}", pattern):
                return rates
        return None

    def _listed(self, name: str, vendor: str | None, at: datetime, mode: tuple[str | None, str | None]) -> Rates | None:
        if vendor is None:
            return None
        try:
            listed_by, model = self.load().find_provider_model(name, None, vendor, None)
        except LookupError:
            return None
        return _rates(listed_by, model, at, *mode)


def _load(updated: Path | None) -> tuple[DataSnapshot, str]:
    import genai_prices
    from genai_prices.data_snapshot import get_snapshot

    if updated is not None:
        try:
            saved = json.loads(updated.read_bytes())
            # Prices fetched under an older package may be older than those that the newer one brings.
            if saved["genai_prices"] == genai_prices.__version__:
                return _snapshot(saved["prices"]), f"genai-prices of {saved['fetched'][:10]}, fetched"
        except (FileNotFoundError, NotADirectoryError):
            pass
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the file, the packaged prices serve
            log.warning("%s cannot be read (%s); the packaged prices are used", updated, error)
    return get_snapshot(), f"genai-prices {genai_prices.__version__}, packaged"


def _snapshot(prices: object) -> DataSnapshot:
    """Published price data as a snapshot, read by the reader that the package itself uses after a fetch."""
    from genai_prices import types
    from genai_prices.data_snapshot import DataSnapshot

    names = vars(types)  # the first since 0.0.62, the second before
    read = names.get("_providers_from_raw") or names["providers_schema"].validate_python
    return DataSnapshot(read(prices), from_auto_update=True)


def update_prices(file: Path, url: str | None = None) -> str:
    """Fetches the newest prices into `file` and says what they are. Blocks. Raises PricesNotUpdated."""
    import genai_prices
    import httpx
    from genai_prices.update_prices import DEFAULT_UPDATE_URL

    url = url or DEFAULT_UPDATE_URL
    try:
        answer = httpx.get(url, timeout=20, follow_redirects=True)
        answer.raise_for_status()
        prices = answer.json()
        snapshot = _snapshot(prices)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise PricesNotUpdated(f"no newer prices from {url}: {error}") from error
    except Exception as error:  # the package's reader raises what it likes
        raise PricesNotUpdated(
            f"{url} holds no price data that genai-prices {genai_prices.__version__} reads"
        ) from error
    fetched = datetime.now(UTC).isoformat(timespec="seconds")
    saved = {"genai_prices": genai_prices.__version__, "fetched": fetched, "prices": prices}
    private(file.parent)
    new = file.with_name(f"{file.name}.{os.getpid()}.new")
    new.write_text(json.dumps(saved, separators=(",", ":")), "utf-8")
    new.replace(file)
    return f"{sum(len(provider.models) for provider in snapshot.providers)} models, fetched {fetched[:10]}"


# A model of genai-prices as Rates


def _rates(
    vendor: Provider, model: ModelInfo, at: datetime, service_tier: str | None, speed: str | None
) -> Rates | None:
    prices: Any = model.get_prices(at)
    context = _context(vendor.id, service_tier, speed)
    if context:
        # A mode that the list has no prices for is unknown: the standard price would be wrong.
        variants = getattr(model, "price_variants", None) or []
        if not all(any(variant.when == {name: value} for variant in variants) for name, value in context.items()):
            return None
        prices = model.get_prices(at, context)
    listed = {name: _rate(getattr(prices, f"{name}_mtok", None)) for name in _LISTED}
    searches = getattr(prices, "web_searches_kcount", None)
    web_search = searches if isinstance(searches, Decimal) else None
    if listed["input"] is None or listed["output"] is None:
        return None
    write_5m = listed["cache_write_5m"] or listed["cache_write"]
    write_1h = listed["cache_write_1h"]
    if vendor.id == "anthropic":
        # https://docs.claude.com/en/docs/about-claude/pricing, for lists that leave it out
        write_1h = write_1h or (listed["input"].times(2) if write_5m else None)
        web_search = web_search or Decimal(10)
    return Rates(listed["input"], listed["output"], listed["cache_read"], write_5m, write_1h, web_search)


_LISTED = ("input", "output", "cache_read", "cache_write", "cache_write_5m", "cache_write_1h")


def _context(vendor: str, service_tier: str | None, speed: str | None) -> dict[str, str]:
    """The mode of a request as the price lists name it; nothing for the standard one."""
    context = {}
    if speed not in {None, "standard"}:
        context["speed"] = str(speed)
    if service_tier == "batch":
        context["processing"] = "batch"
    elif service_tier not in {None, "auto", "standard" if vendor == "anthropic" else "default"}:
        context["service_tier"] = str(service_tier)
    return context


def _rate(price: object) -> Rate | None:
    if isinstance(price, Decimal):
        return Rate(price)
    tiers = getattr(price, "tiers", None)
    if tiers is None:
        return None
    return Rate(price.base, tuple((tier.start, tier.price) for tier in tiers))  # type: ignore[attr-defined]  # TieredPrices


# The user's own prices

_RATES = ("input", "output", "cache_read", "cache_write", "cache_write_1h")
_OVERRIDE_KEYS = (*_RATES, "web_search", "long_context", *(f"long_{name}" for name in _RATES))


def parse_overrides(overrides: Mapping[str, Mapping[str, Any]]) -> tuple[tuple[str, Rates], ...]:
    """`[pricing] overrides` as (pattern, Rates), the most exact pattern first. Raises ConfigError.

    [pricing.overrides."my-model-*"]     # a model's name, or provider/name; * and ? as in file names
    input = 3.0                          # dollars per million tokens
    output = 15.0
    cache_read = 0.3                     # these three: as input when left out
    cache_write = 3.75
    cache_write_1h = 6.0                 # or as cache_write
    web_search = 10.0                    # dollars per thousand
    long_context = 200000                # beyond so many prompt tokens these hold:
    long_input = 6.0                     # and long_output, long_cache_read, …
    """
    parsed = [(name, _parse_override(f'pricing.overrides."{name}"', value)) for name, value in overrides.items()]
    return tuple(sorted(parsed, key=lambda entry: (_wild(entry[0]), -len(entry[0]))))


def _wild(pattern: str) -> bool:
    return any(sign in pattern for sign in "*?[")


def _parse_override(where: str, value: object) -> Rates:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: expected a table of prices with the keys {', '.join(_OVERRIDE_KEYS)}")
    unknown = sorted(set(value) - set(_OVERRIDE_KEYS))
    if unknown:
        raise ConfigError(f"{where}: unknown key {', '.join(unknown)}. Known keys: {', '.join(_OVERRIDE_KEYS)}")
    for name in ("input", "output"):
        if name not in value:
            raise ConfigError(f"{where}: {name} is missing (dollars per million tokens)")
    for name in _RATES:
        if f"long_{name}" in value and not {"long_context", name} <= set(value):
            raise ConfigError(f"{where}: long_{name} also requires long_context and {name}")
    prices = {name: _dollars(f"{where}.{name}", price) for name, price in value.items()}

    def rate(name: str) -> Rate:
        dearer = prices.get(f"long_{name}")
        return Rate(prices[name], ((int(prices["long_context"]), dearer),) if dearer is not None else ())

    rates = {name: rate(name) for name in _RATES if name in prices}
    return Rates(
        rates["input"],
        rates["output"],
        rates.get("cache_read"),
        rates.get("cache_write"),
        rates.get("cache_write_1h"),
        prices.get("web_search"),
    )


def _dollars(where: str, value: object) -> Decimal:
    if not isinstance(value, bool) and isinstance(value, int | float | str | Decimal):
        try:
            money = Decimal(str(value))
        except InvalidOperation:
            money = Decimal("NaN")
        if money.is_finite() and money >= 0:
            return money
    raise ConfigError(f"{where}: {value!r} is not a price: expected a number of dollars")
