"""What the ways of all exchanges share."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from ccproxy.auth.wire import RequestCredential
from ccproxy.providers.header_fields import Field
from ccproxy.providers.local import LocalProvider
from ccproxy.providers.model_lists import ModelLists
from ccproxy.providers.spec import Provider
from ccproxy.translate.labels import MAX_LABEL
from ccproxy.translate.profiles import Profile
from ccproxy.translate.replay import ReplayCache

MAX_MODELS: Final = 256
"""Models whose refused parameters are remembered."""
MAX_PARAMETERS: Final = 32
"""Refused parameters that are remembered of a model."""


class Credentials(Protocol):
    """The source of credentials: `auth.broker.Broker`."""

    async def headers(self, provider: str, sent: tuple[Field, ...] = ()) -> RequestCredential: ...

    def at_once(self, provider: str, sent: tuple[Field, ...] = ()) -> RequestCredential | None: ...

    async def refresh_after_401(self, provider: str, used: RequestCredential) -> RequestCredential | None: ...

    async def run(self) -> None: ...

    async def aclose(self) -> None: ...


class RefusedParameters:
    """Parameters that an upstream refused by name, by provider and model: they are not sent again.

    Bounded, because the names of models are the clients' own: the model that was used longest ago is forgotten first.
    """

    def __init__(self) -> None:
        self._models: OrderedDict[tuple[str, str], frozenset[str]] = OrderedDict()

    def of(self, provider: str, model: str) -> frozenset[str]:
        return self._models.get((provider, model), frozenset())

    def add(self, provider: str, model: str, parameter: str) -> None:
        if len(model) + len(parameter) > MAX_LABEL:
            return
        parameters = self._models.pop((provider, model), frozenset())
        self._models[provider, model] = parameters | {parameter} if len(parameters) < MAX_PARAMETERS else parameters
        while len(self._models) > MAX_MODELS:
            self._models.popitem(last=False)


@dataclass(slots=True)
class Shared:
    """See the module. Everything in it is passed in."""

    credentials: Credentials
    lists: ModelLists
    replay: ReplayCache | None
    locals: Mapping[str, LocalProvider] = field(default_factory=dict)
    """Providers that answer inside this process, by name."""
    strict: bool = False
    max_body: int = 64 * 2**20
    """Bytes of a request's body, decompressed."""
    refused: RefusedParameters = field(default_factory=RefusedParameters)

    def profile(
        self, provider: Provider, model: str, version: str, credential: Callable[[], tuple[Field, ...]]
    ) -> Profile:
        """What this model of this provider accepts, as far as this credential may see it."""
        describes = provider.catalogue is not None and provider.catalogue.describes
        return provider.profile_for(
            model,
            self.lists.card(provider, model, credential) if describes else None,
            version=version,
            refused=self.refused.of(provider.name, model),
        )

    async def aclose(self) -> None:
        for provider in self.locals.values():
            await provider.aclose()
        self.lists.forget()
        await self.credentials.aclose()


def principal(credential: Iterable[Field]) -> str:
    """An opaque word for the sender of a request: one client's conversations are not visible to another."""
    keys = b"\0".join(value for _, value in credential)
    return hashlib.sha256(keys).hexdigest()[:16] if keys else ""
