"""Changes to single top-level keys that leave every other byte as it was."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ccproxy.errors import BadRequest
from ccproxy.providers.json_edit import REMOVE, edited, glance, loads, members
from tests.fakes.scaling import assert_linear_work

_SPACE = st.text(" \t\r\n", max_size=3)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
_KEYS = st.sampled_from(["model", "stream", "store", "a", "b", "ü", 'q"uote', "{", "}", ",", ""]) | st.text(max_size=6)


@st.composite
def objects(draw: st.DrawFn) -> tuple[str, list[tuple[str, str]]]:
    """The text of an object with white space and escapes at will, and its members as (key, text of value)."""
    found: list[tuple[str, str]] = []
    parts = []
    for key in draw(st.lists(_KEYS, max_size=6, unique=True)):
        value = json.dumps(draw(_VALUES), ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
        found.append((key, value))
        name = json.dumps(key, ensure_ascii=draw(st.booleans()))
        parts.append(draw(_SPACE) + name + draw(_SPACE) + ":" + draw(_SPACE) + value + draw(_SPACE))
    body = ",".join(parts) or draw(_SPACE)
    return draw(_SPACE) + "{" + body + "}" + draw(_SPACE), found


@given(made=objects())
def test_members_are_found_where_they_stand(made: tuple[str, list[tuple[str, str]]]) -> None:
    text, expected = made
    found = list(members(text))
    assert [(member.key, text[member.value_start : member.end]) for member in found] == expected
    assert {member.key: member.value for member in found} == json.loads(text)
    for member in found:
        assert text[member.start] == '"'


@given(made=objects(), changes=st.dictionaries(_KEYS, _VALUES | st.just(REMOVE), max_size=4))
def test_only_what_is_asked_for_changes(made: tuple[str, list[tuple[str, str]]], changes: dict[str, Any]) -> None:
    text, expected = made
    after = edited(text, list(members(text)), changes)
    wanted = {key: value for key, value in {**json.loads(text), **changes}.items() if value is not REMOVE}
    assert json.loads(after) == wanted
    found = list(members(after))
    assert len(found) == len(wanted)
    # What was not asked for stands as it stood, in the order in which it stood, and what is new comes last.
    kept = [(key, value) for key, value in expected if key not in changes]
    now = [(member.key, after[member.value_start : member.end]) for member in found]
    assert [(key, value) for key, value in now if key not in changes] == kept
    order = [key for key, _ in expected if changes.get(key) is not REMOVE]
    assert [member.key for member in found][: len(order)] == order
    assert after.endswith(text[text.rindex("}") :])
    assert after.startswith(text[: text.index("{") + 1])


@given(made=objects())
def test_no_change_is_no_change(made: tuple[str, list[tuple[str, str]]]) -> None:
    text, _ = made
    assert edited(text, list(members(text)), {}) == text


@given(made=objects(), change=_VALUES)
def test_one_value_changes_in_place(made: tuple[str, list[tuple[str, str]]], change: Any) -> None:
    text, expected = made
    for member in members(text):
        after = edited(text, list(members(text)), {member.key: change})
        assert after[: member.value_start] == text[: member.value_start]
        assert after.endswith(text[member.end :])
    assert len(expected) == len(list(members(text)))


@pytest.mark.parametrize(
    ("text", "changes", "after"),
    [
        ('{"a":1}', {"a": 2}, '{"a":2}'),
        ('{ "a" : 1 , "b" : 2 }', {"a": REMOVE}, '{ "b" : 2 }'),
        ('{"a":1,"b":2}', {"b": REMOVE}, '{"a":1}'),
        ('{"a":1,"b":2,"c":3}', {"b": REMOVE}, '{"a":1,"c":3}'),
        ('{"a":1,"b":2}', {"a": REMOVE, "b": REMOVE}, "{}"),
        ('{"a":1}', {"b": False}, '{"a":1,"b":false}'),
        ("{}", {"b": ""}, '{"b":""}'),
        ('{"a":1}', {"a": REMOVE, "b": 1}, '{"b":1}'),
        ('{"a":1,"a":2}', {"a": 3}, '{"a":3,"a":3}'),
        ('{"a":1,"a":2}', {"a": REMOVE}, "{}"),
        ('{"a":"}"}', {"b": 1}, '{"a":"}","b":1}'),
        (r'{"\u0061":1}', {"a": 2}, r'{"\u0061":2}'),
    ],
)
def test_examples(text: str, changes: dict[str, Any], after: str) -> None:
    assert re.sub(r"\s", "", edited(text, list(members(text)), changes)) == re.sub(r"\s", "", after)


def test_half_a_surrogate_pair_can_be_written() -> None:
    after = edited("{}", [], {"a": "\ud83d", "b": "ü"})
    assert json.loads(after.encode()) == {"a": "\ud83d", "b": "ü"}


@given(text=st.text(st.sampled_from('{}[]",:\\ \nabc01tfn.-+eE'), max_size=24))
def test_what_is_no_object_is_refused_with_its_place(text: str) -> None:
    try:
        parsed = json.loads(text)
    except ValueError:
        with pytest.raises(BadRequest, match=r"not valid JSON: .* at line \d+, column \d+|must be a JSON object"):
            list(members(text))
        with pytest.raises(BadRequest, match=r"not valid JSON: .* at line \d+, column \d+"):
            loads(text.encode())
    else:
        if isinstance(parsed, dict):
            assert {member.key: member.value for member in members(text)} == parsed
        else:
            with pytest.raises(BadRequest, match="must be a JSON object"):
                list(members(text))


# --- size and odd bodies ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blank", [" ", "\n", "\t\r\n "])
@pytest.mark.parametrize(
    "where", ['%s{"a":1}', "{%s}", '{"a"%s:1}', '{"a":%s1}', '{"a":1%s}', '{"a":1,%s"b":2}', '{"a":1}%s']
)
def test_blanks_of_any_number_are_linear(blank: str, where: str) -> None:
    def prepare(n: int) -> Callable[[], object]:
        text = where.replace("%s", blank * n)
        return lambda: edited(text, list(members(text)), {"a": REMOVE, "c": 3})

    assert_linear_work(prepare, 200_000)


def test_20_mb_of_blanks_take_a_moment() -> None:
    """One step of Python for each of them took ten seconds."""
    text = '{"a":' + " " * 20_000_000 + "1}"
    assert [(member.key, member.value) for member in members(text)] == [("a", 1)]


def test_very_many_members_are_refused() -> None:
    with pytest.raises(BadRequest, match="at most 1000 top-level keys"):
        list(members("{" + ",".join(f'"k{i}":1' for i in range(1001)) + "}"))
    assert len(list(members("{" + ",".join(f'"k{i}":1' for i in range(1000)) + "}"))) == 1000


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b'{"a": 1e400}', "1e400 is too large a number"),
        (b'{"a": ' + b"9" * 5000 + b"}", "too many digits"),
        (b"[" * 100_000, "nested too deeply"),
        (b"\xff", "byte 0 is not UTF-8"),
    ],
    ids=["NaN", "infinity", "1e400", "5000 digits", "deep", "bytes"],
)
def test_a_body_that_could_not_be_written_again_is_refused(body: bytes, says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        loads(body)
    if body != b"\xff":
        with pytest.raises(BadRequest, match=says):
            list(members(body.decode()))


def test_what_is_only_looked_at_may_hold_any_number() -> None:
    assert glance(b'{"model": "m", "a": 1e400, "b": ' + b"9" * 400 + b"}")["model"] == "m"
    assert glance(b'{"model": "\\ud800"}')["model"] == "\ud800"
    for body in (b'{"a": NaN}', b"[" * 100_000, b"{", b"\xff"):
        with pytest.raises(BadRequest, match="not valid JSON"):
            glance(body)


def test_a_change_that_is_nested_too_deeply_is_refused() -> None:
    value: Any = 1
    for _ in range(300):
        value = [value]
    with pytest.raises(BadRequest, match="nested too deeply"):
        edited("{}", [], {"a": value})
