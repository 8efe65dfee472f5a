"""OpenAI's Codex backend, which speaks Responses, streamed only, below `/backend-api/codex` of chatgpt.com."""

from __future__ import annotations

import re

from ccproxy.providers.endpoints import table
from ccproxy.providers.spec import CredentialRule, Provider, Upstream
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
        credential=CredentialRule(
            header="authorization",
            own_shape=re.compile(
                r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"
            ),  # a JWT, as a ChatGPT login has it
            setting="providers.codex.api_key",
            login="ccproxy auth login-openai",
        ),
        auth=own.auth,
        api_key=own.api_key.get_secret_value(),
        models=own.models,
        retries=frozenset(own.retries),
        profile="codex",
    )
    return [provider]
