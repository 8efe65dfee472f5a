"""The Claude Code identity line, which Anthropic requires with a subscription's token: opt-in, `providers.claude_api.identity`.

For all models except Haiku, such a token works only if the first system text (or the second, after a billing header) is one of a few lines;
without it the response is 400 "This credential is only authorized for use with Claude Code" (https://github.com/anthropics/claude-code/issues/40515).
ccproxy adds the line only if the user enables it, only with a stored login, and only to requests that do not have one.
"""

from __future__ import annotations

from typing import Any, Final

from ccproxy.providers.spec import Provider

LINE: Final = "You are Claude Code, Anthropic's official CLI for Claude."
_LINES: Final = (
    LINE,
    "You are Claude Code, Anthropic's official CLI for Claude, running within the Claude Agent SDK.",
    "You are a Claude agent, built on Anthropic's Claude Agent SDK.",
)
REFUSED: Final = b"only authorized for use with Claude Code"
"""Part of the upstream's message when the line is missing."""


def applies(provider: Provider, model: str, *, by_login: bool) -> bool:
    """Return whether a request needs the line: the user has enabled it, their login is used, and the model requires it."""
    return provider.adds_identity and by_login and "haiku" not in model.lower()


def with_line(system: Any) -> list[Any] | None:
    """Return the `system` of a Messages request with the line first and the rest unchanged; None if it has the line already."""
    blocks = [{"type": "text", "text": system}] if isinstance(system, str) and system else system or []
    if not isinstance(blocks, list) or any(_is_line(block) for block in blocks[:2]):
        return None
    return [{"type": "text", "text": LINE}, *blocks]


def _is_line(block: Any) -> bool:
    return isinstance(block, dict) and isinstance(block.get("text"), str) and block["text"].startswith(_LINES)
