"""OpenAI's Codex backend: Responses, streamed only, below `/backend-api/codex` of chatgpt.com."""

from __future__ import annotations

from typing import Final

from ccproxy import __version__
from ccproxy.providers.codex import native_changes, unsendable_items
from ccproxy.providers.endpoints import reads_codex_list, table
from ccproxy.providers.profiles import responses_profiles
from ccproxy.providers.spec import ModelCatalogue, Provider, Upstream
from ccproxy.settings import Settings
from ccproxy.translate.formats import Format

CATALOGUE_VERSION: Final = "0.169.0"
"""The backend lists models by the version of its protocol that a client speaks: this is the one that ccproxy's rules were written for."""

FALLBACK_MODELS: Final = (
    *("gpt-6.1-sol", "gpt-6.1-terra", "gpt-6-astra", "gpt-6-sol", "gpt-6-luna"),
    *("gpt-5.6-sol", "gpt-5.6-terra", "gpt-5.6-luna", "gpt-5.5"),
)


def providers(settings: Settings) -> list[Provider]:
    """Return the provider, if it is enabled."""
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
        session_header="session-id",
        key_header="authorization",
        has_accounts=True,
        profile_for=responses_profiles(codex=True),
        native_edit=native_changes,
        native_losses=unsendable_items,
        streams_only=True,
        refuses_by_name=True,
        models=own.models,
        catalogue=ModelCatalogue(
            target=f"/models?client_version={CATALOGUE_VERSION}",
            key="models",
            describes=True,
            fallback=FALLBACK_MODELS,
            is_native=reads_codex_list,
        ),
        retries=frozenset(own.retries),
        default_headers=(("originator", "ccproxy"), ("user-agent", f"ccproxy/{__version__}")),
        vendor="openai",
        family="codex",
    )
    return [provider]
