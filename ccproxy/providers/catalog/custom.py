"""Providers that the user defines: `[providers.NAME]`."""

from __future__ import annotations

from ccproxy.providers.endpoints import table
from ccproxy.providers.spec import Provider, Upstream
from ccproxy.settings import Settings
from ccproxy.settings.model import CustomProviderSettings
from ccproxy.translate.formats import Format

_PROFILES = {Format.ANTHROPIC: "anthropic", Format.OPENAI_CHAT: "openai", Format.OPENAI_RESPONSES: "openai"}


def providers(settings: Settings) -> list[Provider]:
    """The user's own providers that are enabled."""
    return [_provider(name, own) for name, own in settings.providers.custom.items() if own.enabled]


def _provider(name: str, own: CustomProviderSettings) -> Provider:
    fmt = Format(own.format)
    upstream = Upstream.parse(own.base_url)
    # Base URLs are written as each field's own SDK takes them: OpenAI's end in /v1 (a bare origin means the same), Anthropic's do not.
    has_version = upstream.path.endswith("/v1") or (fmt is not Format.ANTHROPIC and upstream.path != "")
    return Provider(
        name=name,
        prefix=own.prefix,
        format=fmt,
        upstream=upstream,
        endpoints=table(fmt, upstream_root="" if has_version else "/v1"),
        native_root="/v1/",
        strips_version=has_version,
        key_header=own.header,
        wants_credential=own.auth != "auto" or bool(own.api_key.get_secret_value()),
        models=own.models,
        retries=frozenset(own.retries),
        profile=_PROFILES[fmt],
        default_headers=(("anthropic-version", "2023-06-01"),) if fmt is Format.ANTHROPIC else (),
    )
