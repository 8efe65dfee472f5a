"""api.anthropic.com: https://docs.claude.com/en/api/overview."""

from __future__ import annotations

from ccproxy.providers.endpoints import reads_anthropic_list, table
from ccproxy.providers.profiles import CLAUDE_MODELS, anthropic_profiles
from ccproxy.providers.spec import ModelCatalogue, Provider, Upstream
from ccproxy.settings import Settings
from ccproxy.translate.formats import Format


def providers(settings: Settings) -> list[Provider]:
    """Return the provider, if it is enabled."""
    own = settings.providers.claude_api
    if not own.enabled:
        return []
    provider = Provider(
        name="claude_api",
        prefix=own.prefix,
        format=Format.ANTHROPIC,
        upstream=Upstream.parse(own.base_url),
        endpoints=table(Format.ANTHROPIC),
        native_root="/v1/",
        profile_for=anthropic_profiles(
            max_tokens=own.max_tokens, fast=own.fast, auto_cache_control=settings.translate.auto_cache_control
        ),
        adds_identity=own.identity,
        models=own.models,
        catalogue=ModelCatalogue(
            target="/v1/models?limit=1000",
            describes=True,
            fallback=CLAUDE_MODELS,
            is_native=reads_anthropic_list,
        ),
        retries=frozenset(own.retries),
        default_headers=(("anthropic-version", "2023-06-01"),),
        vendor="anthropic",
        family="anthropic",
    )
    return [provider]
