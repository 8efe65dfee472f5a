from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ccproxy.errors import BadRequest
from ccproxy.providers.claude_sdk.config import Mode
from ccproxy.providers.claude_sdk.request import Plan, plan_request
from ccproxy.providers.local import LocalRequest


def plan(mode: Mode = "plain", headers: dict[str, str] | None = None, **body: Any) -> Plan:
    messages = [{"role": "user", "content": "hi"}]
    return plan_request(LocalRequest({"model": "m", "messages": messages, **body}, headers=headers or {}), mode)


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def result(identifier: str) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": identifier, "content": "r"}


def call(identifier: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": identifier, "name": "x", "input": {}}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "x"}, "messages"),
        ({"messages": ["x"]}, "messages[0].role"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [user(None)]}, "messages[0].content"),
        ({"messages": [user("")]}, "messages[0].content"),
        ({"messages": [user(["x"])]}, "messages[0].content[0]"),
        ({"messages": [user("a"), assistant("b")]}, "messages[1]"),
        ({"messages": [user([result("t")])]}, "messages[0].content[0].tool_use_id"),
        ({"messages": [user("a"), assistant("b"), user([result("t")])]}, "messages[2].content[0].tool_use_id"),
        ({"system": 5}, "system"),
        ({"system": [{"type": "image"}]}, "system[0]"),
        ({"tools": {}}, "tools"),
        ({"tools": ["x"]}, "tools[0]"),
    ],
)
def test_what_is_refused(body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        plan(**body)
    assert caught.value.param == param
    assert caught.value.message.startswith(re.sub(r"\[(\d+)\]", r".\1", param) + ": ")


def test_turns_of_one_role_are_joined() -> None:
    made = plan(messages=[user("a"), user([{"type": "text", "text": "b"}]), assistant("c"), assistant("d"), user("e")])
    assert [(turn.role, turn.messages) for turn in made.turns] == [
        ("user", (("user", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),)),
        ("assistant", (("assistant", [{"type": "text", "text": "c"}, {"type": "text", "text": "d"}]),)),
        ("user", (("user", "e"),)),
    ]


def test_breakpoints_are_taken_off_and_told_once() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    body = [user([{"type": "text", "text": "a", **mark}]), assistant([call("t")])]
    inner = {**result("t"), "content": [{"type": "text", "text": "r", **mark}], **mark}
    made = plan(messages=[*body, user([inner])])
    assert "cache_control" not in str(made.turns)
    assert [path for path, _ in made.losses] == ["messages[0].content[0].cache_control"]
    assert inner["content"][0]["cache_control"] == {"type": "ephemeral"}, "the client's own request is not changed"


def test_a_call_without_its_result_is_told() -> None:
    made = plan(
        messages=[user("a"), assistant([call("t"), call("u")]), user([result("u"), {"type": "text", "text": "x"}])]
    )
    assert [path for path, _ in made.losses] == ["messages[2]"]


def test_claude_code_s_own_marks_are_not_passed_on() -> None:
    system = [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=1;"},
        {"type": "text", "text": "Be kind."},
    ]
    made = plan(system=system, headers={"anthropic-beta": "claude-code-20250219, a-1,oauth-2025-04-20,b-2,a-1"})
    assert made.system == "Be kind."
    assert made.betas == ("a-1", "b-2")


def test_thinking_of_earlier_answers_is_not_for_agents() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    made = plan("agent", messages=[user("a"), assistant([thought, {"type": "text", "text": "b"}]), user("c")])
    assert made.turns[1].messages == (("assistant", [{"type": "text", "text": "b"}]),)
    assert [path for path, _ in made.losses] == ["messages"]


@given(st.lists(st.text("ab \n", min_size=1, max_size=5), min_size=1, max_size=4))
def test_an_answer_has_one_key_however_it_was_cut(parts: list[str]) -> None:
    def key(content: Any) -> str:
        return plan(messages=[user("q"), assistant(content), user("q")]).turns[1].key

    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    as_blocks = key([thought, *({"type": "text", "text": part} for part in parts)])
    assert as_blocks == key("".join(parts)) == key("\n\n".join(parts)) == key("".join(parts) + "\n")
    assert as_blocks != key("".join(parts) + "c")


def test_plans_with_one_key_differ_in_turns_only() -> None:
    base = plan(system="s", temperature=1)
    assert base.key == plan(system="s", temperature=1, messages=[user("other")], stream=True).key
    others = [
        plan(system="t", temperature=1),
        plan(system="s", temperature=0),
        plan(system="s", temperature=1, model="n"),
        plan(system="s", temperature=1, tools=[{"name": "x", "input_schema": {}}]),
        plan(system="s", temperature=1, thinking={"type": "adaptive"}),
        plan(system="s", temperature=1, headers={"anthropic-beta": "x"}),
    ]
    assert len({other.key for other in others} | {base.key}) == len(others) + 1


@pytest.mark.parametrize(
    ("thinking", "flags"),
    [
        ({"type": "enabled", "budget_tokens": 5}, ("--max-thinking-tokens=5",)),
        ({"type": "adaptive"}, ("--thinking=adaptive",)),
        ({"type": "disabled"}, ("--thinking=disabled",)),
    ],
)
def test_agents_think_by_flags(thinking: dict[str, Any], flags: tuple[str, ...]) -> None:
    assert plan("agent", thinking=thinking).flags == flags
    with pytest.raises(BadRequest):
        plan("agent", thinking={"type": "between_tools"})
