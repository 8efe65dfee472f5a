"""api.anthropic.com: https://docs.claude.com/en/api/overview."""

from __future__ import annotations

from ccproxy.providers.endpoints import table
from ccproxy.providers.spec import Provider, Upstream
from ccproxy.settings import Settings
from ccproxy.translate.formats import Format


def providers(settings: Settings) -> list[Provider]:
    """The provider, if it is enabled."""
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
        models=own.models,
        retries=frozenset(own.retries),
        profile="anthropic",
        default_headers=(("anthropic-version", "2023-06-01"),),
    )
    return [provider]
