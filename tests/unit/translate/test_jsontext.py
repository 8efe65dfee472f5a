"""JSON as text."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ccproxy.translate import jsontext
from ccproxy.translate.exchange import translate_request
from ccproxy.translate.formats import Format
from tests.examples.answers import ASKING
from tests.fakes.scaling import assert_linear_work

A, C, R = Format


def test_json_with_lone_surrogates_goes_out_as_it_came() -> None:
    for text in ('{"a":"\\ud83d"}', '{"a":"\\ude00x"}'):
        assert json.loads(jsontext.dump_bytes(json.loads(text))) == json.loads(text)
    first = b'data: {"choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}\n\n'
    second = b'data: {"choices":[{"index":0,"delta":{"content":"\\ude00"},"finish_reason":"stop"}]}\n\n'
    stream = translate_request(A, C, ASKING[A]).stream_translator()
    out = stream.feed(first + second) + stream.close()
    assert b'"text":"\\ud83d"' in out
    assert b'"text":"\\ude00"' in out


def test_white_space_around_json_is_ignored() -> None:
    assert jsontext.parse(' {"a": 1} ') == {"a": 1}
    for text in ("", "{} {}", "nul"):
        with pytest.raises(jsontext.Garbled):
            jsontext.parse(text)


def nested(depth: int, leaf: Any = 1) -> Any:
    value = leaf
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


@pytest.mark.parametrize("leaf", [1, 10**30, "\ud800", {}], ids=["small", "large", "surrogate", "empty"])
def test_depth_is_counted(leaf: Any) -> None:
    extra = int(leaf == {})
    for limit in (1, 5, 200, 250):
        assert not jsontext.is_deep(nested(limit - extra, leaf), limit)
        assert jsontext.is_deep(nested(limit - extra + 1, leaf), limit)
    assert not jsontext.is_deep(leaf, 1)
    assert jsontext.dump(nested(240, leaf))
    assert jsontext.dump_bytes(nested(240, leaf))
    for deep in (nested(260, leaf), nested(5000, leaf)):
        with pytest.raises(jsontext.TooDeep):
            jsontext.dump(deep)
        with pytest.raises(jsontext.TooDeep):
            jsontext.dump_bytes(deep)


def test_what_is_read_can_be_written_in_something_larger() -> None:
    at_most, too_deep = ("[" * depth + "1" + "]" * depth for depth in (200, 201))
    assert jsontext.dump({"a": {"b": jsontext.parse(at_most)}})
    assert jsontext.parse_bytes(at_most.encode())
    for depth in (201, 1000, 100_000):
        text = "[" * depth + "]" * depth
        with pytest.raises(jsontext.Garbled):
            jsontext.parse(text)
        with pytest.raises(jsontext.Garbled):
            jsontext.parse_bytes(text.encode())
    with pytest.raises(jsontext.Garbled):
        jsontext.parse(too_deep)
    assert jsontext.parse("[" + "[]," * 5000 + "1]"), "wide is not deep"


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "[Infinity]", "1e400", "-1e400", '{"a": 1e999}', "9" * 5000])
def test_numbers_that_cannot_be_written_again_are_not_read(text: str) -> None:
    with pytest.raises(jsontext.Garbled):
        jsontext.parse(text)
    with pytest.raises(jsontext.Garbled):
        jsontext.parse_bytes(text.encode())


@given(st.text(st.characters() | st.characters(categories=["Cs"])))
def test_utf_8_of_json_holds_every_string(text: str) -> None:
    assert json.loads(jsontext.utf8(jsontext.quote(text))) == text


@pytest.mark.parametrize("piece", ["0" * 18 + "a", "x0", '"a"', "9", "-"])
def test_looking_for_large_numbers_is_linear(piece: str) -> None:
    def prepare(n: int) -> Callable[[], object]:
        data = b'{"a":"' + (piece.replace('"', "") * n).encode() + b'"}'
        return lambda: jsontext.exact(data)

    assert_linear_work(prepare, 100_000)
