"""Claude through the local Claude Code SDK, inside this process."""

from __future__ import annotations

from ccproxy.providers.endpoints import table
from ccproxy.providers.profiles import anthropic_profiles
from ccproxy.providers.spec import Provider
from ccproxy.settings import Settings
from ccproxy.translate.formats import Format


def providers(settings: Settings) -> list[Provider]:
    """Return the provider, if it is enabled."""
    own = settings.providers.claude_sdk
    if not own.enabled:
        return []
    claude = settings.providers.claude_api
    provider = Provider(
        name="claude_sdk",
        prefix=own.prefix,
        format=Format.ANTHROPIC,
        endpoints=table(None),
        sessions=True,
        # Claude Code does its own caching.
        profile_for=anthropic_profiles(max_tokens=claude.max_tokens, fast=claude.fast, auto_cache_control=False),
        vendor="anthropic",
        family="anthropic",
        by_subscription=not own.api_key.get_secret_value(),
        terms="your own Claude Code",
    )
    return [provider]
