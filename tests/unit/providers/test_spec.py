"""Addresses of upstreams."""

from __future__ import annotations

import pytest

from ccproxy.providers.spec import Upstream


@pytest.mark.parametrize(
    ("url", "upstream", "host"),
    [
        ("https://a.test", Upstream("https", "a.test", 443, ""), "a.test"),
        ("https://a.test:80/x/", Upstream("https", "a.test", 80, "/x"), "a.test:80"),
        ("http://a.test:80", Upstream("http", "a.test", 80, ""), "a.test"),
        ("http://[::1]:8", Upstream("http", "::1", 8, ""), "[::1]:8"),
    ],
)
def test_an_address_and_its_host_header(url: str, upstream: Upstream, host: str) -> None:
    assert Upstream.parse(url) == upstream
    assert upstream.host_header == host
