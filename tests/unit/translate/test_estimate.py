"""Estimates of input tokens."""

from __future__ import annotations

from typing import Any

import pytest

from ccproxy.errors import BadRequest
from ccproxy.translate.estimate import IMAGE_TOKENS, PDF_PAGE_TOKENS, estimate_tokens
from ccproxy.translate.formats import Format
from tests.examples.requests import RICH

Json = dict[str, Any]
A, C, R = Format


def test_an_estimate_grows_with_the_text() -> None:
    small = estimate_tokens(A, {"model": "m", "messages": [{"role": "user", "content": "Hello, world"}]})
    assert 5 <= small <= 20
    long = estimate_tokens(A, {"model": "m", "messages": [{"role": "user", "content": "Hello, world " * 1000}]})
    assert 2500 <= long <= 4500
    chinese = estimate_tokens(A, {"model": "m", "messages": [{"role": "user", "content": "你好世界" * 100}]})
    assert 300 <= chinese <= 700
    for fmt, body in RICH.items():
        assert estimate_tokens(fmt, body) > IMAGE_TOKENS + PDF_PAGE_TOKENS
    opaque = {
        "role": "assistant",
        "content": [{"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x" * 400}}],
    }
    assert estimate_tokens(A, {"model": "m", "messages": [opaque]}) > 100
    document = {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "x" * 400}]}}
    assert estimate_tokens(A, {"model": "m", "messages": [{"role": "user", "content": [document]}]}) > 100
    with pytest.raises(BadRequest):
        estimate_tokens(C, {"model": "m"})


def test_a_messages_request_without_parts_of_much_weight() -> None:
    def tokens_of(content: Any, **more: Any) -> int:
        return estimate_tokens(A, {"model": "m", "messages": [{"role": "user", "content": content}], **more})

    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 100_000}}
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "A" * 100_000}}
    assert 1 <= tokens_of("hi") < 10
    assert tokens_of([image]) - tokens_of("hi") < 2000
    assert 2000 <= tokens_of([pdf]) < 10_000
    assert tokens_of("hi", tools=[{"name": "x", "input_schema": {}}]) > 300
    assert tokens_of("hi", system="word " * 1000) > 1000
