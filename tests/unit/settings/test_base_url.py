"""Addresses of upstreams: one that cannot exist stops the start instead of the first request."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from ccproxy.providers.spec import Upstream
from ccproxy.settings import Settings


def base_url(value: str, provider: str = "claude_api") -> str:
    settings = Settings(providers={provider: {"base_url": value}})
    return str(getattr(settings.providers, provider).base_url)


@pytest.mark.parametrize(
    ("value", "host", "port", "path"),
    [
        ("https://api.anthropic.com", "api.anthropic.com", 443, ""), ("http://127.0.0.1:8", "127.0.0.1", 8, ""), ("http://[::1]:8/v1/", "::1", 8, "/v1"),
        ("HTTP://Box:80", "box", 80, ""), ("http://llm_server:1/a/b", "llm_server", 1, "/a/b"), ("http://a.b.", "a.b.", 80, ""),
        ("http://xn--bcher-kva.test", "xn--bcher-kva.test", 80, ""), (f"http://{'a' * 63}.test", "a" * 63 + ".test", 80, ""),
        ("http://3com.test", "3com.test", 80, ""),
        ("http://h.test/a%20b/~c", "h.test", 80, "/a%20b/~c"), ("http://h:65535//", "h", 65535, ""), ("http://[fe80::1]", "fe80::1", 80, ""),
    ],
)  # fmt: skip
def test_an_address_that_can_exist(value: str, host: str, port: int, path: str) -> None:
    upstream = Upstream.parse(base_url(value))
    assert (upstream.host, upstream.port, upstream.path) == (host, port, path)


@pytest.mark.parametrize("provider", ["claude_api", "codex", "claude_sdk"])
@pytest.mark.parametrize(
    "value",
    [
        "http://a..b", "http://.a", "http://a..", "http://-a.test", "http://a-.test", f"http://{'a' * 64}.test", f"http://{'a.' * 130}test", "http://a b",
        "http://b\u00fccher.test", "http://\u2460.test", "http://exa\nmple.test", "http://a\t.test", "http://a\x00b", "http://a_*b", "http://a,b", "http://300.1.1.1",
        "http://127.1", "http://1", "http://[::1", "http://[zz]", "http://::1", "http://h:0", "http://h:65536", "http://h:-1", "http://h:8x", "http://h:\u00b2",
        "http://h/a b", "http://h/\u00e4", "http://h/../x", "http://h/a/./b", "http://h//x", "http://h/a//b", "http://h\\@evil.test", "http://h/?", "http://h/#",
        "http://user@h", "http://user:word@h", "http://@h", "http:///v1", "http://", "h.test", "ftp://h.test", "//h.test", "http:h.test",
    ],
)  # fmt: skip
def test_an_address_that_cannot(provider: str, value: str) -> None:
    with pytest.raises(ValidationError):
        base_url(value, provider)


def test_claude_code_needs_no_address() -> None:
    assert base_url("", "claude_sdk") == ""


@given(value=st.text(st.sampled_from("htp:/.a1-_[]%@?#\\ \u00e9\x00\n"), max_size=20).map("http://{}".format))
def test_an_address_that_is_taken_can_be_put_into_a_header_and_a_url(value: str) -> None:
    try:
        upstream = Upstream.parse(base_url(value))
    except ValidationError:
        return
    upstream.host.encode("idna")
    assert upstream.host_header.isascii()
    assert upstream.host_header.isprintable()
    assert 0 < upstream.port < 65536
