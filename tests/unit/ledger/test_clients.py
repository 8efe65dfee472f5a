"""Clients and sessions, as their header fields name them."""

from __future__ import annotations

import pytest

from ccproxy.ledger.clients import Session, client_family, session_of


@pytest.mark.parametrize(
    ("user_agent", "family"),
    [
        ("claude-cli/2.1.330 (external, sdk-cli)", "claude-code"),
        ("codex_exec/0.169.0 (Debian 12.0.0; x86_64) dumb (codex_exec; 0.169.0)", "codex"),
        ("codex_cli_rs/0.169.0 (Mac OS 15.1; arm64)", "codex"),
        ("OpenAI/Python 3.54.0", "openai-python"),
        ("AsyncOpenAI/Python 3.54.0", "openai-python"),
        ("OpenAI/JS 6.1.0", "openai-js"),
        ("Anthropic/Python 2.12.0", "anthropic-python"),
        ("AsyncAnthropic/Python 2.12.0", "anthropic-python"),
        ("litellm/1.80.0", "litellm"),
        ("curl/8.5.0", "curl"),
        ("Mozilla/5.0 (X11; Linux x86_64) Cursor/1.2 Chrome/1", "cursor"),
        ("<script>", "unknown"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_client_families(user_agent: str | None, family: str) -> None:
    assert client_family(user_agent) == family


def test_a_program_may_name_itself_beside_its_sdk() -> None:
    assert client_family("OpenAI/Python 3.54.0", title="Aider") == "aider"
    assert client_family("OpenAI/Python 3.54.0", title="\x00") == "openai-python"


def test_sessions_of_claude_code_and_codex() -> None:
    claude = {"x-claude-code-session-id": "s1", "x-claude-code-agent-id": "a1", "x-claude-code-parent-agent-id": "p1"}
    assert session_of(claude) == Session("s1", "a1", "p1")
    assert session_of({"session-id": "s2", "thread-id": "s2"}) == Session("s2")
    assert session_of({"session-id": "s2", "thread-id": "t2"}) == Session("s2", "t2")
    assert session_of({"session_id": "old"}) == Session("old")
    assert session_of({}) == Session()
    assert session_of({"session-id": "x" * 129}) == session_of({"session-id": "a\nb"}) == Session()
