"""The built-in provider for trying ccproxy: deterministic, without credentials or network."""

from __future__ import annotations

from ccproxy.providers.endpoints import table
from ccproxy.providers.profiles import anthropic_profiles
from ccproxy.providers.spec import Provider
from ccproxy.settings import Settings
from ccproxy.translate.formats import Format


def providers(settings: Settings) -> list[Provider]:
    """Return the provider, if it is enabled."""
    own = settings.providers.mock
    if not own.enabled:
        return []
    claude = settings.providers.claude_api
    provider = Provider(
        name="mock",
        prefix=own.prefix,
        format=Format.ANTHROPIC,
        endpoints=table(None),
        profile_for=anthropic_profiles(max_tokens=claude.max_tokens, fast=claude.fast, auto_cache_control=False),
        family="mock",
        terms="none: requests do not leave ccproxy",
    )
    return [provider]
