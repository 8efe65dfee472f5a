"""Finds the providers of the catalog and makes them from the settings."""

from __future__ import annotations

import importlib
import pkgutil

from ccproxy.providers import catalog
from ccproxy.providers.spec import Provider
from ccproxy.settings import Settings


def providers(settings: Settings) -> tuple[Provider, ...]:
    """Every enabled provider, built-in and the user's own."""
    found: list[Provider] = []
    for module in pkgutil.iter_modules(catalog.__path__):
        found += importlib.import_module(f"{catalog.__name__}.{module.name}").providers(settings)
    return tuple(found)
