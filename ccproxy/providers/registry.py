"""The providers of the catalog, made from the settings."""

from __future__ import annotations

import importlib
import pkgutil

from ccproxy.providers import catalog
from ccproxy.providers.spec import Provider
from ccproxy.settings import Settings


def providers(settings: Settings) -> tuple[Provider, ...]:
    """Return every enabled provider, built-in and user-defined."""
    enabled: list[Provider] = []
    for module in pkgutil.iter_modules(catalog.__path__):
        enabled += importlib.import_module(f"{catalog.__name__}.{module.name}").providers(settings)
    return tuple(enabled)
