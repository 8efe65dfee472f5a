"""What models an upstream has and what they accept: fetched from it, cached for each credential, never waited for long.

Anthropic's `GET /v1/models` describes each model's capabilities; the Codex catalogue, among much else, which models use the Lite shape.
Whatever goes wrong here, a request continues with what its model's name suggests.

An upstream's list is bounded in bytes, models and time, and nothing that takes long runs on the event loop: importing httpx, reading the
CA files and parsing happen in a thread. What is kept is a few fields of each model, at most `MAX_KEPT` bytes for all lists.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from ccproxy import __version__
from ccproxy.network import Network, corporate_proxy
from ccproxy.providers.json_edit import glance
from ccproxy.providers.spec import Provider, Upstream

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger(__name__)

Json = dict[str, Any]
Credential = tuple[tuple[bytes, bytes], ...]
Fetch = Callable[[Provider, Credential], Coroutine[Any, Any, list[Json]]]

PATIENCE: Final = 1.0
"""Seconds that a request waits for a list at most."""
FRESH: Final = 600.0
"""Seconds that a list is used as it is; after that it is fetched again, while the old one serves."""
RETRY: Final = 60.0
"""Seconds after a failure before the upstream is asked again."""
TIMEOUT: Final = 10.0
"""Seconds that fetching a list may take in all."""
MAX_RESPONSE: Final = 4 * 2**20
"""Bytes of an upstream's list. The largest public ones have less than 1 MB."""
MAX_PIECES: Final = 20_000
"""Chunks of such a response: each costs time, however small it is."""
MAX_MODELS: Final = 2000
"""Models of a list that are read; the rest is left out."""
MAX_CARD: Final = 8 * 2**10
"""Bytes of what is kept of a model; a larger one is left out."""
MAX_LISTS: Final = 64
"""Lists that are kept, one for each provider and credential; the least recently used goes first."""
MAX_KEPT: Final = 16 * 2**20
"""Bytes of all lists that are kept, as JSON."""
MAX_FETCHES: Final = 8
"""Lists that are fetched at the same time. A request that would need another continues without one."""

_SALT: Final = os.urandom(16)
_TEXTS: Final = ("slug", "id", "display_name", "created_at", "owned_by", "visibility")
_MAX_TEXT: Final = 256
_NUMBERS: Final = ("created", "max_tokens")
_DESCRIPTIONS: Final = ("capabilities", "supported_reasoning_levels", "use_responses_lite")
"""Members of a model that `translate.profiles` reads."""


@dataclass(slots=True)
class _Entry:
    """One list, and the attempt to fetch it that is under way."""

    cards: dict[str, Json] | None = None
    """Models by name, in the upstream's order."""
    size: int = 0
    fetched_at: float = 0.0
    failed_at: float = float("-inf")
    task: asyncio.Task[list[Json]] | None = None


async def fetch(provider: Provider, credential: Credential) -> list[Json]:
    """Fetch the models of an upstream, as `cards_of` reduces them.

    Raises:
        Exception: whatever went wrong; the caller falls back.

    """
    upstream, catalogue = provider.upstream, provider.catalogue
    assert upstream is not None
    assert catalogue is not None
    headers = {
        "user-agent": f"ccproxy/{__version__}",
        "accept-encoding": "identity",  # a compressed list could have any size
        **dict(provider.default_headers),
        **{name.decode(): value.decode("latin-1") for name, value in credential},
    }
    url = f"{upstream.scheme}://{upstream.host_header}{upstream.path}{catalogue.target}"
    async with asyncio.timeout(TIMEOUT):
        client = await asyncio.to_thread(_client, upstream)
        async with client, client.stream("GET", url, headers=headers) as response:
            response.raise_for_status()
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise ValueError("the list is compressed")
            body = bytearray()
            pieces = 0
            async for piece in response.aiter_raw():
                body += piece
                pieces += 1
                if len(body) > MAX_RESPONSE or pieces > MAX_PIECES:
                    raise ValueError("the list is too large")
                if pieces % 64 == 0:
                    await asyncio.sleep(0)  # chunks that have arrived together would be read without a pause
        return await asyncio.to_thread(cards_of, bytes(body), catalogue.key)


def _client(upstream: Upstream) -> httpx.AsyncClient:
    """Return a client for one request. Blocking: imports httpx and its backend for asyncio, and reads the CA files."""
    import anyio._backends._asyncio  # httpcore imports it with the first request
    import httpx

    del anyio
    proxy = corporate_proxy(upstream.scheme, upstream.host, upstream.port)
    verify = Network().ssl_context() if upstream.scheme == "https" else False
    login = (proxy.user, proxy.password) if proxy and proxy.user else None
    via = httpx.Proxy(proxy.url, auth=login) if proxy else None
    return httpx.AsyncClient(proxy=via, verify=verify, trust_env=False, timeout=TIMEOUT, follow_redirects=False)


def cards_of(body: bytes, key: str) -> list[Json]:
    """Return what ccproxy needs of each model in the body of an upstream's list; `key` is the member that holds it.

    Raises:
        Exception: the body is not a JSON object with a list of models.

    """
    listed = glance(body)
    models = listed.get(key, listed.get("data")) if isinstance(listed, dict) else None
    if not isinstance(models, list):
        raise TypeError("the response has no list of models")
    cards = (_card(model) for model in models[:MAX_MODELS] if isinstance(model, dict))
    return [card for card in cards if name_of(card) and _size(card) <= MAX_CARD]


def _card(model: Json) -> Json:
    """The members of a model that are used, where they have the type that the vendors document."""
    card: Json = {
        key: value
        for key in _TEXTS
        if isinstance(value := model.get(key), str) and len(value) <= _MAX_TEXT and value.isprintable()
    }
    card |= {key: value for key in _NUMBERS if type(value := model.get(key)) is int and abs(value) < 2**53}
    return card | {key: model[key] for key in _DESCRIPTIONS if key in model}


def _size(card: Json) -> int:
    try:
        return len(orjson.dumps(card))
    except orjson.JSONEncodeError:  # nested too deep, or a number that no JSON parser of 64 bits takes
        return MAX_CARD + 1


@dataclass(slots=True)
class ModelLists:
    """One cache for all providers. `fetch` and `clock` are passed in by tests."""

    fetch: Fetch = fetch
    clock: Callable[[], float] = time.monotonic
    _entries: OrderedDict[tuple[str, bytes], _Entry] = field(default_factory=OrderedDict)
    """By provider and digest of the credential, the most recently used last: what one key may see is not shown to another."""

    def at_hand(self, provider: Provider, credential: Callable[[], Credential]) -> bool:
        """Return whether there is nothing to wait for: the list is here or cannot be had now. A missing or old one is fetched meanwhile."""
        entry = self._entry(provider, credential)
        return entry is None or entry.cards is not None or entry.task is None

    async def arrived(self, provider: Provider, credential: Callable[[], Credential]) -> None:
        """Wait for the list, for `PATIENCE` at most."""
        await self._cards(provider, credential)

    def card(self, provider: Provider, model: str, credential: Callable[[], Credential]) -> Json | None:
        """Return what the upstream says of a model, or None if that is not known (yet)."""
        entry = self._entries.get((provider.name, _digest(credential())))
        return entry.cards.get(model) if entry and entry.cards else None

    async def listing(self, provider: Provider, credential: Callable[[], Credential]) -> list[Json]:
        """Return the models to show, in a shape that clients of both vendors read; the provider's fallback if the upstream lists none."""
        cards = await self._cards(provider, credential)
        if cards:
            return [in_both_shapes(card) for card in cards.values() if card.get("visibility") != "hide"]
        return both_shapes(provider.catalogue.fallback if provider.catalogue else ())

    def forget(self) -> None:
        """Cancel what is being fetched; the proxy stops."""
        for entry in self._entries.values():
            if entry.task:
                entry.task.cancel()

    def _entry(self, provider: Provider, credential: Callable[[], Credential]) -> _Entry | None:
        """The list of this credential; if it is missing or old, it is being fetched, unless that failed a moment ago."""
        if provider.upstream is None or provider.catalogue is None:
            return None
        fields = credential()
        key = (provider.name, _digest(fields))
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry()
            self._evict(but=entry)
        else:
            self._entries.move_to_end(key)
        now = self.clock()
        stale = entry.cards is None or now - entry.fetched_at > FRESH
        if stale and entry.task is None and now - entry.failed_at > RETRY and self._fetching() < MAX_FETCHES:
            entry.task = asyncio.get_running_loop().create_task(self.fetch(provider, fields))
            entry.task.add_done_callback(lambda task: self._settle(provider.name, entry, task))
        return entry

    async def _cards(self, provider: Provider, credential: Callable[[], Credential]) -> dict[str, Json] | None:
        entry = self._entry(provider, credential)
        if entry is None:
            return None
        task = entry.task
        if entry.cards is None and task is not None:
            await asyncio.wait({task}, timeout=PATIENCE)  # it continues and serves the next request
            if task.done():
                self._settle(provider.name, entry, task)
        return entry.cards

    def _settle(self, name: str, entry: _Entry, task: asyncio.Task[list[Json]]) -> None:
        if entry.task is not task:
            return
        entry.task = None
        if task.cancelled():
            return
        if error := task.exception():
            entry.failed_at = self.clock()
            logger.debug("%s does not list its models: %s", name, type(error).__name__)
            return
        entry.cards = {name_of(card): card for card in task.result()}
        entry.size = _size(entry.cards)
        entry.fetched_at = self.clock()
        self._evict(but=entry)

    def _fetching(self) -> int:
        return sum(entry.task is not None for entry in self._entries.values())

    @property
    def kept(self) -> tuple[int, int]:
        """How many lists are kept or being fetched, and their bytes."""
        return len(self._entries), sum(entry.size for entry in self._entries.values())

    def _evict(self, but: _Entry) -> None:
        """Keep the limits. Entries without a list go first: keys that no upstream accepts must not displace those that one does."""
        while self.kept[0] > MAX_LISTS or self.kept[1] > MAX_KEPT:
            others = [key for key, entry in self._entries.items() if entry is not but]
            if not others:
                return
            victim = next((key for key in others if self._entries[key].cards is None), others[0])
            if task := self._entries.pop(victim).task:
                task.cancel()


def _digest(credential: Credential) -> bytes:
    """A credential as a key of the cache, from which it cannot be read."""
    digest = hashlib.blake2b(key=_SALT, digest_size=16)
    for name, value in credential:
        digest.update(b"%d,%d,%b%b" % (len(name), len(value), name, value))
    return digest.digest()


def name_of(model: Mapping[str, Any]) -> str:
    """Return the name of a model in any vendor's list."""
    return str(model.get("slug") or model.get("id") or "")


def both_shapes(names: Iterable[str]) -> list[Json]:
    """Return names as model objects for clients of both vendors."""
    return [in_both_shapes({"id": name}) for name in names]


def in_both_shapes(model: Mapping[str, Any]) -> Json:
    """Return a model object that clients of both vendors read, from any vendor's."""
    name = name_of(model)
    return {
        "type": "model",
        "object": "model",
        "id": name,
        "display_name": model.get("display_name") or name,
        "created_at": model.get("created_at") or "2026-01-01T00:00:00Z",
        "created": model.get("created") if isinstance(model.get("created"), int) else 1767225600,
        "owned_by": model.get("owned_by") or "ccproxy",
    }
