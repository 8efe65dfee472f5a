"""The translator's profile of each provider's models."""

from __future__ import annotations

from typing import Any

from ccproxy.providers.registry import providers
from ccproxy.providers.spec import Provider
from ccproxy.settings import Settings
from ccproxy.translate.policy import Target

OWN = {
    "zai": {"prefix": "/zai", "base_url": "http://z.test"},
    "chatty": {"prefix": "/chatty", "format": "openai_chat", "base_url": "http://c.test/v1"},
    "respy": {"prefix": "/respy", "format": "openai_responses", "base_url": "http://r.test"},
}


def named(**more: Any) -> dict[str, Provider]:
    return {provider.name: provider for provider in providers(Settings(providers={**OWN, **more}))}


PROVIDERS = named()


def test_profiles_of_each_provider() -> None:
    def profile(name: str, enabled: dict[str, Provider], **more: Any) -> Any:
        return enabled[name].profile_for("gpt-5.5", None, **{"version": "2023-06-01", **more})

    assert profile("codex", PROVIDERS).target is Target.CODEX
    assert profile("respy", PROVIDERS, refused={"top_k"}).refused == {"top_k"}
    assert profile("respy", PROVIDERS).target is Target.RESPONSES
    assert profile("chatty", PROVIDERS).target is Target.CHAT
    configured = named(claude_api={"max_tokens": 7, "fast": True})
    assert (profile("claude_api", configured).max_tokens, profile("zai", configured).fast) == (7, True)
    assert profile("claude_api", PROVIDERS, version="2026-10-21").version == "2026-10-21"
    assert profile("claude_api", PROVIDERS).auto_cache_control
    assert not profile("claude_sdk", PROVIDERS).auto_cache_control
