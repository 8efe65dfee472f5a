"""JSON as text."""

from __future__ import annotations

import json

import pytest

from ccproxy.translate import jsontext
from ccproxy.translate.exchange import translate_request
from ccproxy.translate.formats import Format
from tests.examples.answers import ASKING

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


def test_white_space_around_json_is_none_of_our_business() -> None:
    assert jsontext.parse(' {"a": 1} ') == {"a": 1}
    for text in ("", "{} {}", "nul"):
        with pytest.raises(jsontext.Garbled):
            jsontext.parse(text)
