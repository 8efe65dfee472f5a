"""OpenAI's Codex backend, which speaks Responses, streamed only, below `/backend-api/codex` of chatgpt.com."""

from __future__ import annotations

from ccproxy import __version__
from ccproxy.providers.endpoints import table
from ccproxy.providers.spec import Provider, Upstream
from ccproxy.settings import Settings
from ccproxy.translate.formats import Format


def providers(settings: Settings) -> list[Provider]:
    """The provider, if it is enabled."""
    own = settings.providers.codex
    if not own.enabled:
        return []
    provider = Provider(
        name="codex",
        prefix=own.prefix,
        format=Format.OPENAI_RESPONSES,
        upstream=Upstream.parse(own.base_url),
        endpoints=table(Format.OPENAI_RESPONSES, roots=("", "/v1"), upstream_root=""),
        native_root="/",
        strips_version=True,
        sessions=True,
        key_header="authorization",
        models=own.models,
        retries=frozenset(own.retries),
        profile="codex",
        default_headers=(("originator", "ccproxy"), ("user-agent", f"ccproxy/{__version__}")),
    )
    return [provider]
