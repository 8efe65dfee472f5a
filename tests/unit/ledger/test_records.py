"""Records and who asked."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from ccproxy.ledger.clients import Session, client_family, session_of
from ccproxy.ledger.records import Outcome, Record
from ccproxy.translate.stops import StopClass, stop_class

Make = Callable[..., Record]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("end_turn", StopClass.END),
        ("stop", StopClass.END),
        ("completed", StopClass.END),
        ("max_tokens", StopClass.LENGTH),
        ("length", StopClass.LENGTH),
        ("max_output_tokens", StopClass.LENGTH),
        ("tool_use", StopClass.TOOL_USE),
        ("tool_calls", StopClass.TOOL_USE),
        ("content_filter", StopClass.REFUSAL),
        ("pause_turn", StopClass.PAUSE),
        ("failed", StopClass.ERROR),
        ("something_new", StopClass.OTHER),
        (None, None),
    ],
)
def test_stop_reasons_of_all_formats_have_one_class(record: Make, reason: str | None, expected: Any) -> None:
    assert stop_class(reason) is expected
    assert record(stop_reason=reason).stop is expected


def test_an_exchange_that_failed_stopped_by_error(record: Make) -> None:
    assert record(stop_reason="end_turn", outcome=Outcome.ERROR).stop is StopClass.ERROR
    assert record(stop_reason="completed", stop=StopClass.TOOL_USE).stop is StopClass.TOOL_USE


def test_the_model_is_the_one_that_answered_else_the_one_asked_for(record: Make) -> None:
    assert record(model_asked="a", model_answered="b").model == "b"
    assert record(model_asked="a").model == "a"
    assert record().model is None


def test_what_a_refused_request_cost_is_not_unknown(record: Make) -> None:
    assert record().cost_unknown
    assert not record(price=Decimal(0)).cost_unknown
    assert not record(status=429).cost_unknown
    assert not record(status=None).cost_unknown
    assert not record(operation="count_tokens").cost_unknown


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
