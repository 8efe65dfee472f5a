"""What an upstream accepts, as values: version and capabilities of a Claude model, the kind of a Responses backend.

The upstream's own list of models fills these in. What it leaves open is derived from the model's name by the short tables here, which follow the vendors'
migration guides (https://platform.claude.com/docs/en/about-claude/models/migration-guide) and the Codex catalogue. Parameters of Codex: `codex`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ccproxy.translate.formats import Format
from ccproxy.translate.labels import MAX_LABEL
from ccproxy.translate.policy import Target

Json = Mapping[str, Any]

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra")
"""Every effort of any provider, from least to most."""

PINNED_VERSION = "2023-06-01"
"""The `anthropic-version` that still accepts sampling parameters; sent when the client chose none."""
_NO_SAMPLING_SINCE = "2026-10-21"


def clamp_effort(effort: str, offered: Iterable[str]) -> str:
    """Return the nearest effort that is offered, the greater of two that are equally near; "" when none is offered."""
    ranks = sorted(EFFORTS.index(name) for name in offered if name in EFFORTS)
    if not ranks:
        return ""
    rank = EFFORTS.index(effort if effort in EFFORTS else "medium")
    return EFFORTS[min(ranks, key=lambda other: (abs(other - rank), -other))]


def effort_of_budget(budget: int) -> str:
    """Return the effort that corresponds to a thinking budget in tokens."""
    if budget < 2048:
        return "low"
    if budget < 8192:
        return "medium"
    return "high" if budget < 24576 else "xhigh"


# --- Anthropic -------------------------------------------------------------------------------------------------------

_CLAUDE = re.compile(r"claude-(?P<family>[a-z]+)-(?P<major>\d{1,2})(?:[-.](?P<minor>\d{1,2}))?(?!\d)")
_CLAUDE_3 = re.compile(r"claude-(?:3|2|instant)")
_ADAPTIVE = frozenset(("adaptive",))
_MANUAL = frozenset(("enabled", "disabled"))


@dataclass(frozen=True, slots=True)
class AnthropicProfile:
    """A Claude model behind the Messages API. The defaults are those of the newest models."""

    max_tokens: int = 32_000
    """Sent when the client set no limit: the API requires one."""
    limit: int | None = None
    """The most output tokens of the model."""
    version: str = PINNED_VERSION
    thinking: frozenset[str] = frozenset(("adaptive", "disabled"))
    """The `thinking.type` values that the model accepts."""
    efforts: tuple[str, ...] = ("low", "medium", "high", "xhigh", "max")
    sampling: bool = False
    mid_system: bool = True
    """Does it accept `role: system` inside the conversation?"""
    forced_choice: bool = True
    """Does it accept a tool choice of `any` or `tool`?"""
    fast: bool = False
    """May `service_tier: priority` become the paid `speed: fast`?"""
    auto_cache_control: bool = True

    @property
    def target(self) -> Target:
        return Target.ANTHROPIC

    @property
    def takes_sampling(self) -> bool:
        return self.sampling and self.version < _NO_SAMPLING_SINCE

    @classmethod
    def of_model(
        cls,
        model: str,
        card: Json | None = None,
        *,
        max_tokens: int = 32_000,
        version: str = PINNED_VERSION,
        fast: bool = False,
        auto_cache_control: bool = True,
    ) -> AnthropicProfile:
        """Return the profile of a model. `card` is its object from `GET /v1/models/{id}`, if there is one."""
        guess = _guess_claude(model[:MAX_LABEL])  # longer ones would fill the cache
        thinking, efforts, limit = guess.thinking, guess.efforts, guess.limit
        if card is not None:
            capabilities = card.get("capabilities")
            if isinstance(capabilities, Mapping):
                thinking = _card_thinking(capabilities, thinking)
                efforts = _card_efforts(capabilities, efforts)
            most = card.get("max_tokens")
            limit = most if isinstance(most, int) and most > 0 else limit
        return cls(
            max_tokens if limit is None else min(max_tokens, limit),
            limit,
            version,
            thinking,
            efforts,
            guess.sampling,
            guess.mid_system,
            guess.forced_choice,
            fast,
            auto_cache_control,
        )


def _supported(value: object) -> bool:
    return isinstance(value, Mapping) and value.get("supported") is True


def _card_thinking(capabilities: Json, guess: frozenset[str]) -> frozenset[str]:
    thinking = capabilities.get("thinking")
    if not isinstance(thinking, Mapping):
        return guess
    types = thinking.get("types")
    if isinstance(types, Mapping):
        return frozenset(kind for kind, value in types.items() if _supported(value))
    return guess if _supported(thinking) else frozenset()


def _card_efforts(capabilities: Json, guess: tuple[str, ...]) -> tuple[str, ...]:
    effort = capabilities.get("effort")
    if not isinstance(effort, Mapping):
        return guess
    return tuple(name for name in EFFORTS if _supported(effort.get(name)))


@functools.lru_cache(maxsize=256)
def _guess_claude(model: str) -> AnthropicProfile:
    name = model.lower()
    if _CLAUDE_3.search(name):
        thinking = _MANUAL if "3-7" in name or "3.7" in name else frozenset[str]()
        return AnthropicProfile(
            limit=64_000 if thinking else 8192, thinking=thinking, efforts=(), sampling=True, mid_system=False
        )
    parts = _CLAUDE.search(name)
    if parts is None:
        if "claude" in name:  # a new one
            return AnthropicProfile()
        # Another vendor's model behind an Anthropic-compatible server, which implements the older API.
        return AnthropicProfile(thinking=_MANUAL, efforts=(), sampling=True, mid_system=False)
    family = parts["family"]
    generation = (int(parts["major"]), int(parts["minor"] or 0))
    if family in ("fable", "mythos"):
        return AnthropicProfile(thinking=_ADAPTIVE, forced_choice=False)
    if generation < (4, 6):
        efforts = ("low", "medium", "high") if (family, generation) == ("opus", (4, 5)) else ()
        limit = 32_000 if family == "opus" and generation < (4, 5) else 64_000
        return AnthropicProfile(limit=limit, thinking=_MANUAL, efforts=efforts, sampling=True, mid_system=False)
    if generation == (4, 6):
        return AnthropicProfile(
            thinking=_MANUAL | _ADAPTIVE, efforts=("low", "medium", "high", "max"), sampling=True, mid_system=False
        )
    if generation < (5, 0):
        return AnthropicProfile(thinking=_ADAPTIVE, mid_system=generation >= (4, 8))
    return AnthropicProfile()


# --- OpenAI ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChatProfile:
    """A Chat Completions server: OpenAI's own, or a compatible one."""

    limit_field: str = "max_completion_tokens"
    """The field of the output limit; `max_tokens` for servers that know only the older one."""
    custom_tools: bool = False
    """Does it support tools of type `custom`? If not, they become functions with one text field, which every server supports."""

    @property
    def target(self) -> Target:
        return Target.CHAT


_REASONS = re.compile(r"(?:^|[/_-])(?:o\d|gpt-(?:[5-9]|\d\d)|codex)")
_LITE = re.compile(r"gpt-(?:5\.[6-9]|[6-9])")
_OPENAI_EFFORTS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (re.compile(r"(?:^|/)o\d"), ("low", "medium", "high")),
    (re.compile(r"gpt-5(?:-|$)"), ("minimal", "low", "medium", "high")),
    (re.compile(r"gpt-5\.1"), ("none", "low", "medium", "high")),
    (re.compile(r"gpt-5\.[2-5]"), ("none", "low", "medium", "high", "xhigh")),
    (re.compile(r"gpt-"), ("none", "low", "medium", "high", "xhigh", "max")),
)
_CODEX_EFFORTS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (_LITE, ("low", "medium", "high", "xhigh", "max")),
    (re.compile(""), ("low", "medium", "high", "xhigh")),
)


@dataclass(frozen=True, slots=True)
class ResponsesProfile:
    """A Responses backend: OpenAI's public API, or the Codex backend, which accepts fewer parameters."""

    codex: bool = False
    lite: bool = False
    """The Responses-Lite shape of the Codex backend: tools and instructions are input items."""
    reasons: bool = True
    """Is it a reasoning model, which accepts no sampling parameters?"""
    efforts: tuple[str, ...] = ("low", "medium", "high", "xhigh")
    refused: frozenset[str] = field(default_factory=frozenset)
    """Parameters that the backend refused by name for this model: they are not sent again."""

    @property
    def target(self) -> Target:
        return Target.CODEX if self.codex else Target.RESPONSES

    @classmethod
    def of_model(
        cls, model: str, entry: Json | None = None, *, codex: bool = False, refused: Iterable[str] = ()
    ) -> ResponsesProfile:
        """Return the profile of a model. `entry` is its object in the Codex catalogue, if there is one."""
        name = model.lower()
        lite = codex and bool(_LITE.search(name))
        table = _CODEX_EFFORTS if codex else _OPENAI_EFFORTS
        efforts = next((efforts for pattern, efforts in table if pattern.search(name)), ())
        if entry is not None:
            lite = codex and entry.get("use_responses_lite") is True
            levels = entry.get("supported_reasoning_levels")
            if isinstance(levels, list):
                efforts = tuple(
                    level["effort"] for level in levels if isinstance(level, Mapping) and level.get("effort") in EFFORTS
                )
        reasons = codex or bool(_REASONS.search(name))
        return cls(codex, lite, reasons, efforts if reasons else (), frozenset(refused))


Profile = AnthropicProfile | ChatProfile | ResponsesProfile


def default_profile(upstream: Format, model: str) -> Profile:
    """Return the profile that the format of an upstream and the name of a model suggest."""
    match upstream:
        case Format.ANTHROPIC:
            return AnthropicProfile.of_model(model)
        case Format.OPENAI_CHAT:
            return ChatProfile()
        case Format.OPENAI_RESPONSES:
            return ResponsesProfile.of_model(model)
