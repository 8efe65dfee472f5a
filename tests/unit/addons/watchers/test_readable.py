"""Requests and answers as people read them, of every format, streamed, whole and cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st
from mitmproxy import contentviews, http
from mitmproxy.test import taddons, tflow

from ccproxy.addons.watchers import contentview
from ccproxy.addons.watchers.readable import readable
from ccproxy.translate.formats import Format
from tests.examples.answers import EVENTS, sse
from tests.examples.requests import RICH

FORMATS = pytest.mark.parametrize("fmt", list(Format), ids=lambda fmt: fmt.value)


@FORMATS
def test_a_request(fmt: Format) -> None:
    text = readable(json.dumps(RICH[fmt]).encode())
    assert "── user" in text
    assert "── tools" in text
    assert "[calls " in text
    assert "[result of " in text
    assert "model " in text


@FORMATS
def test_a_stream(fmt: Format) -> None:
    text = readable(sse(fmt, EVENTS[fmt]))
    assert "[calls " in text
    assert "[thinking]" in text
    assert "── usage" in text
    assert "tokens: " in text


@FORMATS
def test_a_stream_that_was_cut_anywhere(fmt: Format) -> None:
    data = sse(fmt, EVENTS[fmt])
    for end in range(600, len(data), 997):
        assert readable(data[:end])


@pytest.mark.parametrize("body", [
    b'{"type":"error","error":{"type":"overloaded_error","message":"busy"}}',
    b'{"error":{"type":"server_error","message":"busy","code":null}}',
    b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"busy"}}\n\n',
])  # fmt: skip
def test_an_error(body: bytes) -> None:
    assert "_error: busy" in readable(body)


JSON = st.recursive(
    st.none() | st.text() | st.integers(),
    lambda inner: st.dictionaries(st.sampled_from(["a", "object", "x"]), inner) | st.lists(inner),
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_what_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - JSON's own errors are among them
        readable(data)


@pytest.mark.skipif(not hasattr(contentviews, "Contentview"), reason="mitmproxy 11 has no such views")
def test_mitmproxy_shows_it() -> None:
    assert contentview.register()
    prettify: Any = contentviews.prettify_message  # type: ignore[attr-defined]
    flow = tflow.tflow(resp=True)
    flow.response = http.Response.make(
        200, sse(Format.ANTHROPIC, EVENTS[Format.ANTHROPIC]), {"content-type": "text/event-stream; charset=utf-8"}
    )
    with taddons.context():
        assert prettify(flow.response, flow).view_name == contentview.NAME
    flow.response = http.Response.make(200, b'{"hello": "world"}', {"content-type": "application/json"})
    with taddons.context():
        assert prettify(flow.response, flow).view_name == "JSON"


@pytest.mark.skipif(hasattr(contentviews, "Contentview"), reason="this is about mitmproxy 11")
def test_mitmproxy_11_does_without() -> None:
    assert not contentview.register()
