"""Native requests to the Codex backend: what has to change so that it accepts them, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from ccproxy.providers.codex import native_changes, unsendable_items
from ccproxy.providers.json_edit import REMOVE
from ccproxy.translate.codex import ACCEPTED, OPTIONAL, PARAMETERS, REFUSED, Native

FINE: dict[str, Any] = {
    "model": "m",
    "store": False,
    "stream": True,
    "instructions": "be brief",
    "input": [{"role": "user", "content": "x"}],
}


def test_what_the_backend_takes_is_not_changed() -> None:
    assert native_changes(FINE, {}) == {}
    assert native_changes({**FINE, "instructions": ""}, {}) == {}


@pytest.mark.parametrize("key", sorted(REFUSED))
def test_what_it_refuses_by_name_is_taken_out(key: str) -> None:
    assert native_changes({**FINE, key: 1}, {}) == {key: REMOVE}


@pytest.mark.parametrize(
    "key",
    [
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "reasoning",
        "include",
        "text",
        "prompt_cache_key",
        "client_metadata",
        "service_tier",
        "new_next_year",
    ],
)
def test_what_it_takes_stays(key: str) -> None:
    assert native_changes({**FINE, key: "anything"}, {}) == {}


@pytest.mark.parametrize("store", [True, None, 0, "false"])
def test_store_must_be_false(store: Any) -> None:
    changes = {"store": False, "include": ["reasoning.encrypted_content"]}
    assert native_changes({**FINE, "store": store}, {}) == changes
    assert native_changes({key: value for key, value in FINE.items() if key != "store"}, {}) == changes


@pytest.mark.parametrize("stream", [False, None, 1])
def test_stream_must_be_true(stream: Any) -> None:
    assert native_changes({**FINE, "stream": stream}, {}) == {"stream": True}


def test_input_must_be_a_list_and_has_no_role_system() -> None:
    (item,) = native_changes({**FINE, "input": "hi"}, {})["input"]  # type: ignore[misc]
    assert item == {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
    said = [
        {"role": "system", "content": "s", "id": "i"},
        {"type": "reasoning", "encrypted_content": "e"},
        {"role": "user", "content": "u"},
    ]
    assert native_changes({**FINE, "input": said}, {}) == {"input": [{**said[0], "role": "developer"}, *said[1:]]}


@pytest.mark.parametrize(
    ("said", "headers", "added"),
    [
        ([{"role": "user", "content": "x"}], {}, True),
        ("x", {}, True),
        ([], {}, True),
        (None, {}, True),
        ([{"type": "additional_tools", "role": "developer"}], {}, False),
        ([{"type": "message", "role": "developer", "content": []}], {}, False),
        ([{"role": "user", "content": "x"}], {"x-openai-internal-codex-responses-lite": "true"}, False),
    ],
)
def test_instructions_are_added_where_the_conversation_brings_none(
    said: Any, headers: dict[str, str], added: bool
) -> None:
    for without in (
        {**FINE, "input": said, "instructions": None},
        {**{k: v for k, v in FINE.items() if k != "instructions"}, "input": said},
    ):
        assert ("instructions" in native_changes(without, headers)) is added


@pytest.mark.parametrize("key", [name for name, parameter in PARAMETERS.items() if parameter.native is Native.LEAVE])
def test_what_would_change_the_answer_is_left_for_the_backend_to_refuse(key: str) -> None:
    assert native_changes({**FINE, key: "anything"}, {}) == {}


STORED = [
    {"role": "user", "content": "x"},
    {"type": "item_reference", "id": "msg_1"},
    {"type": "reasoning", "id": "rs_1", "summary": []},
    {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "sealed"},
    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
]


def test_without_a_store_nothing_can_be_referred_to() -> None:
    changes = native_changes({**FINE, "input": STORED, "store": True}, {})
    assert changes["input"] == [STORED[0], *STORED[3:]]
    assert unsendable_items({**FINE, "input": STORED, "store": True}) == ["input[1]", "input[2]"]
    assert "input" not in native_changes({**FINE, "input": STORED}, {}), "the client knows that nothing is stored"
    assert unsendable_items({**FINE, "input": STORED}) == []
    assert unsendable_items({**FINE, "input": "text", "store": True}) == []


@pytest.mark.parametrize(
    ("include", "changed"),
    [
        (None, ["reasoning.encrypted_content"]),
        ([], ["reasoning.encrypted_content"]),
        (["file_search_call.results"], ["file_search_call.results", "reasoning.encrypted_content"]),
        (["reasoning.encrypted_content"], None),
        ("odd", None),
    ],
)
def test_reasoning_comes_back_encrypted_where_it_is_not_stored(include: Any, changed: Any) -> None:
    assert native_changes({**FINE, "include": include, "store": True}, {}).get("include") == changed
    assert "include" not in native_changes({**FINE, "include": include}, {})


def test_the_table_is_consistent() -> None:
    assert ACCEPTED.isdisjoint(REFUSED)
    assert OPTIONAL.isdisjoint({"model", "input", "instructions", "tools", "tool_choice", "store", "stream", "text"})
    assert {name.partition(".")[0] for name in OPTIONAL} <= set(PARAMETERS)
    assert all(parameter.why for parameter in PARAMETERS.values())
