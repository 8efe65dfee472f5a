"""What an upstream accepts: guessed from a name, or read from its own list of models."""

from __future__ import annotations

from typing import Any

import pytest

from ccproxy.translate.formats import Format
from ccproxy.translate.profiles import AnthropicProfile, ChatProfile, ResponsesProfile, clamp_effort, default_profile

Json = dict[str, Any]
A, C, R = Format

CARD: Json = {
    "id": "claude-x",
    "max_tokens": 128_000,
    "capabilities": {
        "thinking": {
            "supported": True,
            "types": {
                "adaptive": {"supported": True},
                "enabled": {"supported": False},
                "disabled": {"supported": True},
            },
        },
        "effort": {
            "supported": True,
            "low": {"supported": True},
            "high": {"supported": True},
            "max": {"supported": False},
            "xhigh": None,
        },
    },
}


def test_a_models_own_card_says_what_it_can() -> None:
    profile = AnthropicProfile.of_model("claude-sonnet-4-5", CARD, max_tokens=500_000)
    assert profile.thinking == {"adaptive", "disabled"}
    assert profile.efforts == ("low", "high")
    assert (profile.limit, profile.max_tokens) == (128_000, 128_000)
    for odd in ({}, {"capabilities": 3}, {"capabilities": {"thinking": 3, "effort": 3}, "max_tokens": "x"}):
        assert AnthropicProfile.of_model("claude-sonnet-4-5", odd).thinking == {"enabled", "disabled"}
    assert (
        AnthropicProfile.of_model("claude-x", {"capabilities": {"thinking": {"supported": False}}}).thinking
        == frozenset()
    )
    assert AnthropicProfile.of_model("claude-x", {"capabilities": {"thinking": {"supported": True}}}).thinking


@pytest.mark.parametrize(
    ("model", "thinking", "sampling", "mid_system"),
    [
        ("claude-3-5-sonnet-20241022", set(), True, False),
        ("claude-3-7-sonnet-latest", {"enabled", "disabled"}, True, False),
        ("claude-sonnet-4-20250514", {"enabled", "disabled"}, True, False),
        ("claude-opus-4-1-20250805", {"enabled", "disabled"}, True, False),
        ("claude-haiku-4-5-20251001", {"enabled", "disabled"}, True, False),
        ("claude-opus-4-6", {"enabled", "disabled", "adaptive"}, True, False),
        ("claude-opus-4-7", {"adaptive"}, False, False),
        ("claude-opus-4-8", {"adaptive"}, False, True),
        ("claude-sonnet-5", {"adaptive", "disabled"}, False, True),
        ("claude-haiku-5-5", {"adaptive", "disabled"}, False, True),
        ("claude-fable-5-1", {"adaptive"}, False, True),
        ("claude-of-tomorrow", {"adaptive", "disabled"}, False, True),
        ("glm-4.6", {"enabled", "disabled"}, True, False),
    ],
)
def test_what_can_be_guessed_of_a_claude(model: str, thinking: set[str], sampling: bool, mid_system: bool) -> None:
    profile = AnthropicProfile.of_model(model)
    assert profile.thinking == thinking
    assert profile.takes_sampling is sampling
    assert profile.mid_system is mid_system


def test_what_the_codex_catalogue_says() -> None:
    entry = {
        "slug": "x",
        "use_responses_lite": True,
        "supported_reasoning_levels": [{"effort": "low"}, {"effort": "ultra"}, {"effort": "odd"}, 3],
    }
    profile = ResponsesProfile.of_model("gpt-5.5", entry, codex=True)
    assert profile.lite
    assert profile.efforts == ("low", "ultra")
    assert not ResponsesProfile.of_model("gpt-6.1-sol", {"use_responses_lite": False}, codex=True).lite
    assert ResponsesProfile.of_model("gpt-6.1-sol", codex=True).lite
    assert not ResponsesProfile.of_model("gpt-6.1-sol").lite
    assert [
        ResponsesProfile.of_model(name).reasons
        for name in ("o3-mini", "gpt-5", "gpt-4o", "gpt-4.1", "openai/gpt-5.2", "llama")
    ] == [True, True, False, False, True, False]


def test_efforts_are_clamped_to_the_nearest_and_ties_go_up() -> None:
    assert clamp_effort("minimal", ("low", "high")) == "low"
    assert clamp_effort("medium", ("low", "high")) == "high"
    assert clamp_effort("none", ("minimal",)) == "minimal"
    assert clamp_effort("max", ("low",)) == "low"
    assert clamp_effort("odd", ("low", "medium")) == "medium"
    assert clamp_effort("low", ()) == ""


def test_profiles_by_default() -> None:
    assert isinstance(default_profile(A, "x"), AnthropicProfile)
    assert isinstance(default_profile(C, "x"), ChatProfile)
    assert isinstance(default_profile(R, "x"), ResponsesProfile)
