from __future__ import annotations

import pytest

from ccproxy.providers.identity import LINE, applies, with_line
from ccproxy.providers.registry import providers
from ccproxy.settings import Settings

BLOCK = {"type": "text", "text": LINE}


@pytest.mark.parametrize("system", [None, "", []])
def test_alone_where_there_is_no_system(system: object) -> None:
    assert with_line(system) == [BLOCK]


def test_in_front_of_what_the_client_wrote() -> None:
    own = {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
    assert with_line("Be brief.") == [BLOCK, {"type": "text", "text": "Be brief."}]
    assert with_line([own]) == [BLOCK, own]


@pytest.mark.parametrize(
    "text",
    [
        LINE,
        f"{LINE}\nMore.",
        "You are Claude Code, Anthropic's official CLI for Claude, running within the Claude Agent SDK.",
        "You are a Claude agent, built on Anthropic's Claude Agent SDK.",
    ],
)
def test_not_twice_and_behind_a_billing_block_too(text: str) -> None:
    assert with_line([{"type": "text", "text": text}]) is None
    assert (
        with_line([{"type": "text", "text": "x-anthropic-billing-header: a"}, {"type": "text", "text": text}]) is None
    )
    assert with_line(text) is None


CLAUDE = next(
    provider
    for provider in providers(Settings(providers={"claude_api": {"identity": True}}))
    if provider.name == "claude_api"
)


def test_for_those_who_want_it_with_their_login_only() -> None:
    assert applies(CLAUDE, "claude-sonnet-5-5", by_login=True)
    assert not applies(CLAUDE, "claude-sonnet-5-5", by_login=False)
    assert not any(applies(provider, "claude-sonnet-5-5", by_login=True) for provider in providers(Settings()))


def test_haiku_does_without() -> None:
    assert not applies(CLAUDE, "Claude-Haiku-5-5", by_login=True)
