"""Free text in a JSON argument, wrapped and unwrapped while it streams."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from ccproxy.translate.freeform import Unwrapper, unwrap_object, unwrap_text, wrap_end, wrap_start, wrap_text


@given(
    text=st.text(),
    steps=st.lists(st.integers(1, 9), min_size=1, max_size=30),
    ascii_only=st.booleans(),
    spaces=st.sampled_from(["", " ", "\n  "]),
)
def test_free_text_is_unwrapped_while_it_streams(text: str, steps: list[int], ascii_only: bool, spaces: str) -> None:
    written = f'{{{spaces}"input"{spaces}:{spaces}{json.dumps(text, ensure_ascii=ascii_only)}{spaces}}}'
    unwrapper, out, at = Unwrapper(), "", 0
    for step in steps:
        out += unwrapper.feed(written[at : at + step])
        assert text.startswith(out)
        at += step
    out += unwrapper.feed(written[at:])
    out += unwrapper.close(written)
    assert out == text == unwrapper.text == unwrap_text(written)


@given(st.text(), st.lists(st.integers(0, 20), max_size=4))
def test_free_text_is_wrapped_while_it_streams(text: str, cuts: list[int]) -> None:
    places = sorted(min(cut, len(text)) for cut in cuts)
    pieces = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    assert json.loads(wrap_start() + "".join(wrap_text(piece) for piece in pieces) + wrap_end()) == {"input": text}


@pytest.mark.parametrize("written", ['{"other": "x"}', '{"input": 3}', "plain", '{"input": "x', '["input"]', ""])
def test_what_does_not_keep_to_the_schema_is_passed_on_whole(written: str) -> None:
    unwrapper = Unwrapper()
    out = unwrapper.feed(written)
    out += unwrapper.close(written)
    assert out in (written, "x"), "what was given cannot be taken back"


def test_objects_of_arguments() -> None:
    assert unwrap_object("") == {}
    assert unwrap_object('{"a": 1}') == {"a": 1}
    assert unwrap_object("[1]") == {"_raw_arguments": "[1]"}
    assert unwrap_object("{") == {"_raw_arguments": "{"}


def test_a_broken_escape_gives_what_can_be_given() -> None:
    unwrapper = Unwrapper()
    assert unwrapper.feed('{"input": "a\\x') == ""
    assert unwrapper.close('{"input": "a\\xb"}') == '{"input": "a\\xb"}'
