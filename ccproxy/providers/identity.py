"""The Claude Code identity line, which Anthropic asks for with a subscription's token: opt-in, `providers.claude_api.identity`.

For all models but Haiku such a token works only where the first system text (or the second, behind a billing header) is one of a few lines;
without it the answer is 400 "This credential is only authorized for use with Claude Code" (https://github.com/anthropics/claude-code/issues/40515).
ccproxy adds the line only if its user has said so, only with a stored login, and only to requests that have none.
"""

from __future__ import annotations

from typing import Any, Final

from ccproxy.providers.spec import Provider

LINE: Final = "You are Claude Code, Anthropic's official CLI for Claude."
_KNOWN: Final = (
    LINE,
    "You are Claude Code, Anthropic's official CLI for Claude, running within the Claude Agent SDK.",
    "You are a Claude agent, built on Anthropic's Claude Agent SDK.",
)
REFUSED: Final = b"only authorized for use with Claude Code"
"""Part of the upstream's refusal where the line is missing."""


def applies(provider: Provider, model: str, *, by_login: bool) -> bool:
    """Whether the line belongs into a request: the user has said so, it is sent with their login, and the model asks for it."""
    return provider.adds_identity and by_login and "haiku" not in model.lower()


def with_line(system: Any) -> list[Any] | None:
    """The `system` of a Messages request with the line in front, all else as it was; None where it is there already."""
    blocks = [{"type": "text", "text": system}] if isinstance(system, str) and system else system or []
    if not isinstance(blocks, list) or any(_is_line(block) for block in blocks[:2]):
        return None
    return [{"type": "text", "text": LINE}, *blocks]


def _is_line(block: Any) -> bool:
    return isinstance(block, dict) and isinstance(block.get("text"), str) and block["text"].startswith(_KNOWN)
