"""The special behaviour of each provider is a value."""

from __future__ import annotations

from typing import Any

from ccproxy.providers.registry import providers
from ccproxy.providers.spec import Provider
from ccproxy.settings import Settings

OWN = {
    "zai": {"prefix": "/zai", "base_url": "http://z.test"},
    "chatty": {"prefix": "/chatty", "format": "openai_chat", "base_url": "http://c.test/v1"},
    "respy": {"prefix": "/respy", "format": "openai_responses", "base_url": "http://r.test"},
}


def named(**more: Any) -> dict[str, Provider]:
    return {provider.name: provider for provider in providers(Settings(providers={**OWN, **more}))}


PROVIDERS = named()


def test_what_is_special_about_each_provider() -> None:
    codex, claude, sdk, mock, zai, chatty, respy = (
        PROVIDERS[name] for name in ("codex", "claude_api", "claude_sdk", "mock", "zai", "chatty", "respy")
    )
    assert [
        p.name for p in PROVIDERS.values() if p.streams_only or p.refuses_by_name or p.native_edit or p.session_header
    ] == ["codex"]
    assert codex.session_header == "session-id"
    assert (codex.vendor, claude.vendor, sdk.vendor, mock.vendor, zai.vendor) == (
        "openai",
        "anthropic",
        "anthropic",
        None,
        None,
    )
    assert (codex.family, claude.family, sdk.family, mock.family, zai.family) == (
        "codex",
        "anthropic",
        "anthropic",
        "mock",
        "",
    )
    assert [p.name for p in PROVIDERS.values() if p.by_subscription] == ["claude_sdk"]
    assert not any(p.by_subscription for p in named(claude_sdk={"api_key": "k"}).values())
    assert not claude.adds_identity
    assert [p.name for p in named(claude_api={"identity": True}).values() if p.adds_identity] == ["claude_api"]
    assert {p.name for p in PROVIDERS.values() if p.terms} == {"claude_sdk", "mock"}
    assert {p.name for p in PROVIDERS.values() if p.catalogue is None} == {"claude_sdk", "mock"}
    assert [p.catalogue.target for p in (claude, zai, chatty, respy) if p.catalogue] == [
        "/v1/models?limit=1000", "/v1/models?limit=1000", "/models?limit=1000", "/v1/models?limit=1000",
    ]  # fmt: skip
    assert {p.name for p in PROVIDERS.values() if p.catalogue and p.catalogue.describes} == {"claude_api", "codex"}
