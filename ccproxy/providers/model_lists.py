"""What models an upstream has and what they can do: asked of it, cached, never waited for long.

Anthropic: `GET /v1/models` tells each model's capabilities. Codex: `GET /models?client_version=` is the catalogue, which says among much else which
models want the Lite shape. Whatever goes wrong here, a request goes on with what its model's name suggests.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ccproxy import __version__
from ccproxy.network import company_proxy, extra_ca_file
from ccproxy.providers.spec import Provider

logger = logging.getLogger(__name__)

Json = dict[str, Any]
Credential = tuple[tuple[bytes, bytes], ...]
Fetch = Callable[[Provider, Credential], Coroutine[Any, Any, list[Json]]]

PATIENCE: Final = 1.0
"""Seconds that a request waits for a list at most."""
FRESH: Final = 600.0
"""Seconds that a list is taken as it is; after that it is asked for again, while the old one serves."""
RETRY: Final = 60.0
"""Seconds after a failure before the upstream is asked again."""
CATALOGUE_VERSION: Final = "0.169.0"
"""The Codex backend lists models by the version of its protocol that a client speaks: this is the one that ccproxy's rules were written for."""

FALLBACK: Final[dict[str, tuple[str, ...]]] = {
    "anthropic": ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"),
    "codex": ("gpt-6.1-sol", "gpt-6.1-terra", "gpt-6-astra", "gpt-6-sol", "gpt-6-luna", "gpt-5.6-sol", "gpt-5.6-terra", "gpt-5.6-luna", "gpt-5.5"),
}  # fmt: skip
"""Names to list while an upstream does not tell its own. Nothing is refused for not being here."""


@dataclass(slots=True)
class _Entry:
    models: list[Json] | None = None
    at: float = 0.0
    failed_at: float = float("-inf")
    task: asyncio.Task[list[Json]] | None = None


async def fetch(provider: Provider, credential: Credential) -> list[Json]:
    """Ask an upstream for its models, as it lists them.

    Raises:
        Exception: whatever went wrong; the caller falls back.

    """
    import ssl

    import httpx

    upstream = provider.upstream
    assert upstream is not None
    codex = provider.profile == "codex"
    url = f"{upstream.scheme}://{upstream.host_header}{upstream.path}"
    url += f"/models?client_version={CATALOGUE_VERSION}" if codex else f"{_models_path(provider)}?limit=1000"
    headers = {"user-agent": f"ccproxy/{__version__}", **dict(provider.default_headers)}
    headers |= {name.decode(): value.decode("latin-1") for name, value in credential}
    proxy = company_proxy(upstream.scheme, upstream.host, upstream.port)
    verify = ssl.create_default_context() if upstream.scheme == "https" else False
    if isinstance(verify, ssl.SSLContext) and (extra := extra_ca_file()):
        verify.load_verify_locations(extra)
    login = (proxy.user, proxy.password) if proxy and proxy.user else None
    via = httpx.Proxy(proxy.url, auth=login) if proxy else None
    async with httpx.AsyncClient(
        proxy=via, verify=verify, trust_env=False, timeout=10, follow_redirects=False
    ) as client:
        answer = await client.get(url, headers=headers)
    answer.raise_for_status()
    found = json.loads(answer.content)
    models = found.get("models" if codex else "data") or found.get("data") or []
    return [model for model in models if isinstance(model, dict)]


@dataclass(slots=True)
class ModelLists:
    """One cache for all providers. `fetch` and `clock` are passed in by tests."""

    fetch: Fetch = fetch
    clock: Callable[[], float] = time.monotonic
    _entries: dict[str, _Entry] = field(default_factory=dict)

    def at_hand(self, provider: Provider, credential: Callable[[], Credential]) -> bool:
        """Whether there is nothing to wait for: the list is here, or cannot be had now. What is missing or old is asked for meanwhile."""
        entry = self._asked(provider, credential)
        return entry is None or entry.models is not None or entry.task is None

    async def arrived(self, provider: Provider, credential: Callable[[], Credential]) -> None:
        """Wait for the list, for `PATIENCE` at most."""
        await self._models(provider, credential)

    def card(self, provider: Provider, model: str) -> Json | None:
        """The upstream's object for a model, or None where it is not known (yet)."""
        entry = self._entries.get(provider.name)
        models = entry.models if entry else None
        return next((found for found in models or () if name_of(found) == model), None)

    async def listing(self, provider: Provider, credential: Callable[[], Credential]) -> list[Json]:
        """The models to show, in a shape that clients of both vendors read; `FALLBACK` where the upstream does not tell."""
        models = await self._models(provider, credential)
        if models:
            shown = [found for found in models if found.get("visibility") != "hide" and name_of(found)]
            return [in_both_shapes(found) for found in shown]
        return [in_both_shapes({"id": name}) for name in FALLBACK.get(provider.profile, ())]

    def forget(self) -> None:
        """Stop asking; the proxy stops."""
        for entry in self._entries.values():
            if entry.task:
                entry.task.cancel()

    def _asked(self, provider: Provider, credential: Callable[[], Credential]) -> _Entry | None:
        if provider.upstream is None:
            return None
        entry = self._entries.setdefault(provider.name, _Entry())
        now = self.clock()
        stale = entry.models is None or now - entry.at > FRESH
        if stale and entry.task is None and now - entry.failed_at > RETRY:
            entry.task = asyncio.get_running_loop().create_task(self.fetch(provider, credential()))
            entry.task.add_done_callback(lambda task: self._settle(provider.name, entry, task))
        return entry

    async def _models(self, provider: Provider, credential: Callable[[], Credential]) -> list[Json] | None:
        entry = self._asked(provider, credential)
        if entry is None:
            return None
        task = entry.task
        if entry.models is None and task is not None:
            await asyncio.wait({task}, timeout=PATIENCE)  # it goes on and serves the next one
            if task.done():
                self._settle(provider.name, entry, task)
        return entry.models

    def _settle(self, name: str, entry: _Entry, task: asyncio.Task[list[Json]]) -> None:
        if entry.task is not task:
            return
        entry.task = None
        if task.cancelled():
            return
        if error := task.exception():
            entry.failed_at = self.clock()
            logger.debug("%s does not list its models: %s", name, type(error).__name__)
        else:
            entry.models, entry.at = task.result(), self.clock()


def name_of(model: Mapping[str, Any]) -> str:
    """The name of a model in any vendor's list."""
    return str(model.get("slug") or model.get("id") or "")


def both_shapes(names: Iterable[str]) -> list[Json]:
    """Names as model objects for clients of both vendors."""
    return [in_both_shapes({"id": name}) for name in names]


def in_both_shapes(found: Mapping[str, Any]) -> Json:
    """A model object that clients of both vendors read, from any vendor's."""
    name = name_of(found)
    return {
        "type": "model",
        "object": "model",
        "id": name,
        "display_name": found.get("display_name") or name,
        "created_at": found.get("created_at") or "2026-01-01T00:00:00Z",
        "created": found.get("created") if isinstance(found.get("created"), int) else 1767225600,
        "owned_by": found.get("owned_by") or "ccproxy",
    }


def _models_path(provider: Provider) -> str:
    return next(
        e.upstream_path for e in provider.endpoints.values() if e.operation.value == "models" and e.upstream_path
    )
