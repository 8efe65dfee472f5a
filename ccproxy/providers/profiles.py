"""What models accept: makers of translation profiles, for the providers of the catalog to choose from. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from ccproxy.providers.spec import ProfileMaker
from ccproxy.translate.profiles import AnthropicProfile, ChatProfile, Profile, ResponsesProfile

CLAUDE_MODELS: Final = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5")
"""The models to list while an upstream of Anthropic's format does not respond."""


def anthropic_profiles(*, max_tokens: int, fast: bool, auto_cache_control: bool) -> ProfileMaker:
    """Profiles of Claude models behind the Messages API, with the user's settings."""

    def profile(model: str, card: Mapping[str, Any] | None, *, version: str, refused: Collection[str] = ()) -> Profile:
        del refused  # the Messages API has no parameter that only some models of one generation refuse
        return AnthropicProfile.of_model(
            model, card, max_tokens=max_tokens, version=version, fast=fast, auto_cache_control=auto_cache_control
        )

    return profile


def chat_profiles() -> ProfileMaker:
    """The one profile of a Chat Completions server: what its models accept is not described anywhere."""

    def profile(model: str, card: Mapping[str, Any] | None, *, version: str, refused: Collection[str] = ()) -> Profile:
        del model, card, version, refused
        return ChatProfile()

    return profile


def responses_profiles(*, codex: bool) -> ProfileMaker:
    """Profiles of models behind a Responses API: OpenAI's public one, or the Codex backend."""

    def profile(model: str, card: Mapping[str, Any] | None, *, version: str, refused: Collection[str] = ()) -> Profile:
        del version
        return ResponsesProfile.of_model(model, card, codex=codex, refused=refused)

    return profile
