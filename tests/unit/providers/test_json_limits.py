from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from ccproxy.errors import BadRequest
from ccproxy.providers.json_limits import MOST_DEPTH, MOST_MESSAGES, MOST_VALUES, bracketed, check_values, member


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"a": [{"b": "\ud800"}]}, "a[0].b"),
        ({"a": {"b": ["x", "y\udfff"]}}, "a.b[1]"),
        ({"a": {"\udc00": 1}}, 'a["\\udc00"]'),
        ({"a": float("inf")}, "a"),
        ({"a": [float("-inf")]}, "a[0]"),
        ({"a": float("nan")}, "a"),
        ({"a": 2**64}, "a"),
        ({"a": -(10**400)}, "a"),
        ({"x,\r\n\x7fé": [float("nan")]}, '["x\\u002c\\r\\n\\u007f\\u00e9"][0]'),
        ({"messages": [0] * (MOST_MESSAGES + 1)}, "messages"),
        (nested(MOST_DEPTH + 1), ".".join(["a"] * 20)),
    ],
)
def test_what_is_not_portable_is_named(body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        check_values(body)
    assert caught.value.param == param
    assert param.isascii()
    assert param.isprintable()


def test_what_is() -> None:
    body = {"a": [None, True, 1.5, "\U0001f600\0", -(2**53)], "": {}, "b": nested(MOST_DEPTH - 1)}
    assert check_values(body) is None
    assert check_values({"a": [1, {"b": 2**53 + 1}, 2**60]}) == "a[2]"
    assert check_values({"a": [1, {"b": 2**53 + 1}]}) == "a[1].b"


def test_values_are_counted() -> None:
    check_values({"a": [0] * (MOST_VALUES - 1)})
    with pytest.raises(BadRequest):
        check_values({"a": [0] * MOST_VALUES})


@given(st.text(max_size=100))
def test_a_path_fits_into_a_header(key: str) -> None:
    path = member("a", key)
    assert path.isascii()
    assert path.isprintable()
    assert "," not in path
    assert len(path) < 12 * 64 + 10


def test_paths_with_brackets() -> None:
    assert bracketed("messages.3.content.0.text") == "messages[3].content[0].text"
