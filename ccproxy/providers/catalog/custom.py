"""User-defined providers: `[providers.NAME]`."""

from __future__ import annotations

from ccproxy.providers.endpoints import reads_anthropic_list, reads_openai_list, table
from ccproxy.providers.profiles import CLAUDE_MODELS, anthropic_profiles, chat_profiles, responses_profiles
from ccproxy.providers.spec import ModelCatalogue, ProfileMaker, Provider, Upstream
from ccproxy.settings import Settings
from ccproxy.settings.model import CustomProviderSettings
from ccproxy.translate.formats import Format


def providers(settings: Settings) -> list[Provider]:
    """Return the enabled ones."""
    return [_provider(name, own, settings) for name, own in settings.providers.custom.items() if own.enabled]


def _provider(name: str, own: CustomProviderSettings, settings: Settings) -> Provider:
    fmt = Format(own.format)
    is_anthropic = fmt is Format.ANTHROPIC
    upstream = Upstream.parse(own.base_url)
    # Base URLs have the form that each vendor's SDK expects: OpenAI's end in /v1 (a bare origin means the same), Anthropic's do not.
    has_version = upstream.path.endswith("/v1") or (not is_anthropic and upstream.path != "")
    root = "" if has_version else "/v1"
    wants_credential = own.auth != "auto" or bool(own.api_key.get_secret_value())
    return Provider(
        name=name,
        prefix=own.prefix,
        format=fmt,
        upstream=upstream,
        endpoints=table(fmt, upstream_root=root),
        native_root="/v1/",
        strips_version=has_version,
        key_header=own.header,
        wants_credential=wants_credential,
        profile_for=_profiles(fmt, settings),
        models=own.models,
        catalogue=ModelCatalogue(
            target=f"{root}/models?limit=1000",
            # A server without a key is the user's own: its list is not fetched, and the model's name decides.
            describes=is_anthropic and wants_credential,
            fallback=CLAUDE_MODELS if is_anthropic else (),
            is_native=reads_anthropic_list if is_anthropic else reads_openai_list,
        ),
        retries=frozenset(own.retries),
        default_headers=(("anthropic-version", "2023-06-01"),) if is_anthropic else (),
    )


def _profiles(fmt: Format, settings: Settings) -> ProfileMaker:
    match fmt:
        case Format.ANTHROPIC:
            claude = settings.providers.claude_api
            cached = settings.translate.auto_cache_control
            return anthropic_profiles(max_tokens=claude.max_tokens, fast=claude.fast, auto_cache_control=cached)
        case Format.OPENAI_CHAT:
            return chat_profiles()
        case Format.OPENAI_RESPONSES:
            return responses_profiles(codex=False)
