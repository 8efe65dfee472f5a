"""The client of a request: its family from the user agent, its session and agent from other headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

# As the real programs send them, the most specific first: a program that uses an SDK may still name itself.
_FAMILIES: tuple[tuple[str, str], ...] = (
    ("claude-cli/", "claude-code"),
    ("claude-code/", "claude-code"),
    ("codex_cli_rs/", "codex"),
    ("codex_exec/", "codex"),
    ("codex-tui/", "codex"),
    ("codex_vscode/", "codex"),
    ("codex-mcp-client/", "codex"),
    ("aider/", "aider"),
    ("opencode/", "opencode"),
    ("cline/", "cline"),
    ("roocode/", "roo-code"),
    ("zed/", "zed"),
    ("cursor/", "cursor"),
    ("litellm/", "litellm"),
    ("langchain", "langchain"),
    ("ai-sdk/", "ai-sdk"),
    ("asyncopenai/python", "openai-python"),
    ("openai/python", "openai-python"),
    ("openai/js", "openai-js"),
    ("asyncanthropic/python", "anthropic-python"),
    ("anthropic/python", "anthropic-python"),
    ("anthropic/js", "anthropic-js"),
)
_PRODUCT = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
_ID = re.compile(r"[\x21-\x7e]{1,128}")


def client_family(user_agent: str | None, title: str | None = None) -> str:
    """The family of a client, e.g. `claude-code`; else the user agent's first product name; `unknown` without one.

    `title` is the header `x-title`, by which programs that speak through an SDK name themselves (OpenRouter's
    convention, sent by Aider).
    """
    if title:
        named = _PRODUCT.match(title.strip().lower())
        if named:
            return named[0]
    agent = (user_agent or "").strip().lower()
    for mark, family in _FAMILIES:
        if mark in agent:
            return family
    product = _PRODUCT.match(agent)
    return product[0] if product else "unknown"


class Session(NamedTuple):
    """Ids that a client sends to group its requests; `None` where it sends none."""

    session: str | None = None
    agent: str | None = None
    parent_agent: str | None = None


def session_of(headers: Mapping[str, str]) -> Session:
    """Session and agent ids of Claude Code (`x-claude-code-*`) or Codex (`session-id`, `thread-id`).

    `headers` finds names without regard to case, as mitmproxy's do, or has them in lower case. Ids of unprintable or
    more than 128 characters count as none sent.
    """
    claude = _identifier(headers.get("x-claude-code-session-id"))
    if claude:
        return Session(
            claude,
            _identifier(headers.get("x-claude-code-agent-id")),
            _identifier(headers.get("x-claude-code-parent-agent-id")),
        )
    codex = _identifier(headers.get("session-id")) or _identifier(headers.get("session_id"))
    if codex:
        thread = _identifier(headers.get("thread-id"))  # a sub-agent runs in a thread of its own
        return Session(codex, thread if thread != codex else None)
    return Session()


def _identifier(value: str | None) -> str | None:
    return value if value and _ID.fullmatch(value) else None
