"""Whatever a client sends is either translated or refused by name."""

from __future__ import annotations

import contextlib
import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ccproxy.errors import BadRequest
from ccproxy.providers import json_edit
from ccproxy.translate.exchange import translate_request
from ccproxy.translate.formats import Format
from ccproxy.translate.profiles import Profile
from tests.property.strategies import bent_requests, routes, values

Json = dict[str, Any]


@settings(max_examples=400, deadline=None)
@given(data=st.data(), route=routes(native=True))
def test_a_bent_request_is_translated_or_refused(data: st.DataObject, route: tuple[Format, Format, Profile]) -> None:
    client, upstream, profile = route
    body = data.draw(bent_requests(client))
    before = deepcopy(body)
    try:
        exchange = translate_request(client, upstream, body, profile)
        assert json.loads(exchange.encode()) is not None
        header = exchange.loss_header()
        assert header.isascii()
        assert header.isprintable()
        assert len(header) <= 4096
    except BadRequest:
        pass
    assert body == before, "the client's body is never changed"


@settings(max_examples=100, deadline=None)
@given(
    route=routes(),
    body=st.dictionaries(st.sampled_from(["model", "messages", "input", "tools", "system", "max_tokens"]), values),
)
def test_an_arbitrary_object_is_translated_or_refused(route: tuple[Format, Format, Profile], body: Json) -> None:
    client, upstream, profile = route
    with contextlib.suppress(BadRequest):
        translate_request(client, upstream, body, profile).encode()


@settings(max_examples=200)
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_arbitrary_bytes_are_json_or_a_bad_request(data: bytes) -> None:
    with contextlib.suppress(BadRequest):
        json_edit.loads(data)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"model": "m",}', r"line 1, column 1\d"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": 1e999}', "too large a number"),
        (b'{"a": "\xff"}', "byte 7 is not UTF-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "too many digits"),
        (b"", "line 1, column 1"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_with_the_place(data: bytes, says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        json_edit.loads(data)


@pytest.mark.parametrize("client", list(Format))
def test_a_body_nested_too_deeply_is_refused(client: Format) -> None:
    deep: Any = {}
    for _ in range(100_000):
        deep = {"a": deep}
    body: Json = {
        "model": "m",
        "max_tokens": 1,
        "messages": [{"role": "user", "content": "hi"}],
        "input": "hi",
        "tools": [{"type": "custom", "name": "t", "input_schema": deep}],
    }
    if client is Format.OPENAI_CHAT:
        body["tools"] = [{"type": "function", "function": {"name": "t", "parameters": deep, "strict": True}}]
    if client is Format.OPENAI_RESPONSES:
        body["tools"] = [{"type": "function", "name": "t", "parameters": deep, "strict": True}]
    for upstream in Format:
        if upstream is not client:
            with pytest.raises(BadRequest):
                translate_request(client, upstream, body).encode()
    while deep:  # taken apart by hand: the interpreter's own way is recursive
        deep = deep.pop("a")
