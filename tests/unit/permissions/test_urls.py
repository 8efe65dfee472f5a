"""Rules for `WebFetch` against URLs that Python and a browser's parser read differently."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ccproxy.permissions.rules import Rule


def allows(rule: str, url: Any) -> bool:
    return Rule(f"WebFetch({rule})", "allow").matches("WebFetch", {"url": url})


def denies(rule: str, url: Any) -> bool:
    denied = Rule(f"WebFetch({rule})", "deny").matches("WebFetch", {"url": url})
    assert Rule(f"WebFetch({rule})", "ask").matches("WebFetch", {"url": url}) is denied
    return denied


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "http://example.com/",
        "HTTPS://EXAMPLE.com/a/../b?x=\\@evil.test#@evil.test",
        "https://example.com:8443/\\@evil.test",
        "https://example.com?@evil.test/",
        "https://example.com#@evil.test/",
        "https://example.com/\t@evil.test",
        "https://example.com/ä b",
    ],
)
def test_urls_that_every_parser_reads_alike(url: str) -> None:
    assert allows("domain:example.com", url)
    assert denies("domain:example.com", url)
    assert not denies("domain:evil.test", url)


# What a browser makes of them is in the comments; no parser's opinion may count.
ODD = [
    "http://evil.test\\@example.com/",  # evil.test
    "http://evil.test\\\\@example.com/",
    "http:\\\\evil.test\\@example.com/",
    "http://example.com\\@evil.test/",
    "http://user@example.com/",  # example.com
    "http://user:pass@example.com/",
    "http://example.com@evil.test/",  # evil.test
    "http://example.com:80@evil.test/",
    "http://example.com%40evil.test/",
    "http://exa\tmple.com/",  # example.com
    "http://example.com\t.evil.test/",  # example.com.evil.test
    "http://example.com\n.evil.test/",
    "http://example.com\n",
    "ht\ntp://example.com/",
    " http://example.com/",
    "\x00http://example.com/",
    "\ufeffhttp://example.com/",
    "http:example.com/",
    "http:/example.com/",
    "http:///example.com/",
    "http:////example.com/",
    "//example.com/",
    "http://ex%61mple.com/",
    "http://example%2ecom/",
    "http://example%00.com/",
    "http://example\u3002com/",  # ideographic full stop
    "http://\uff45xample.com/",  # full-width e
    "http://examp\u00adle.com/",  # soft hyphen
    "http://example.com\u2100/",
    "http://example.com./",
    "http://example..com/",
    "http://.example.com/",
    "http://faß.example/",
    "http://\u212a.example/",
    "http://example.com:/",
    "http://example.com:99999999/",
    "http://example.com:8_0/",
    "http://[::1/",
    "http://[::1%25eth0]/",
    "http://[::1%2525]/",
    "http://[example.com]/",
    "http://127.1/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://2130706433/",
    "http://0177.0.0.1/",
    "http://127.0.0.01/",
    "http://127.0.0.256/",
    "http://1.2.3.4.5/",
    "http://example.0x/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "data:text/html,x",
    "javascript:alert(1)",
    "blob:https://example.com/x",
    "example.com",
    "",
]


@pytest.mark.parametrize("url", ODD)
@pytest.mark.parametrize("rule", ["domain:example.com", "domain:*", "domain:127.0.0.1", "http://example.com/*"])
def test_urls_that_parsers_read_differently_are_denied_and_not_allowed(rule: str, url: str) -> None:
    assert not allows(rule, url)
    assert denies(rule, url)


@pytest.mark.parametrize(
    ("rule", "url", "expected"),
    [
        ("domain:EXAMPLE.com.", "https://example.com/", True),
        ("domain:example.com", "https://www.example.com/", False),
        ("domain:example.com", "https://example.com.evil.org/", False),
        ("domain:example.com", "https://notexample.com/", False),
        ("domain:*.example.com", "https://a.b.example.com/", True),
        ("domain:*.example.com", "https://example.com/", False),
        ("domain:*.example.com", "https://evil.test/.example.com", False),
        ("domain:xn--bcher-kva.example", "https://xn--bcher-kva.example/", True),
        ("domain:127.0.0.1", "http://127.0.0.1:8000/x", True),
        ("domain:127.0.0.1", "http://[::ffff:127.0.0.1]/", True),
        ("domain:[::1]", "http://[0:0:0:0:0:0:0:1]/", True),
        ("domain:[::1]", "http://[::2]/", False),
        ("domain:my_host", "http://my_host/", True),
        ("https://example.com/*", "https://example.com/a", True),
        ("https://example.com/*", "https://example.com", True),
        ("https://example.com/*", "https://example.com?x", True),
        ("https://example.com/*", "https://example.com:443/", True),
        ("https://example.com/*", "https://example.com:444/", False),
        ("https://example.com/*", "https://example.com.evil.org/", False),
        ("https://*.example.com/*", "https://evil.test/.example.com/x", False),
        ("https://example.com/docs/*", "https://example.com/other", False),
    ],
)
def test_hosts_and_paths(rule: str, url: str, expected: bool) -> None:
    assert allows(rule, url) is expected


@pytest.mark.parametrize(
    "path",
    [
        "/docs/../secret",
        "/docs/%2e%2e/secret",
        "/docs/.%2E",
        "/docs/./x",
        "/docs\\..\\secret",
        "/docs/\t../x",
        "/docs/..",
    ],
)
def test_a_path_that_a_parser_rewrites(path: str) -> None:
    assert not allows("https://example.com/docs/*", f"https://example.com{path}")
    assert denies("https://example.com/secret", f"https://example.com{path}")


def test_a_denied_url_is_denied_in_other_spellings() -> None:
    for url in (
        "http://example.com/secret",
        "https://example.com:8443/secret",
        "https://EXAMPLE.com/s%65cret",
        "https://example.com/secret",
    ):
        assert denies("https://example.com/secret*", url)
    assert not denies("https://example.com/secret*", "https://example.com/other")
    assert not denies("https://example.com:8443/secret*", "https://example.com/secret")


@given(
    st.text(st.sampled_from("http:/\\@.aexmplco%2e40\t\n #?[]:0178x＠。\u00ad"), max_size=30),
    st.sampled_from(["http://", "https://", ""]),
)
def test_an_allowed_url_names_its_host_literally(rest: str, scheme: str) -> None:
    url = scheme + rest
    if allows("domain:*ex*", url):
        # The host stands right behind the scheme and ends where every parser ends it.
        assert re.match(r"https?://[a-z0-9._-]*ex[a-z0-9._-]*(:\d+)?([/?#]|$)", url, re.IGNORECASE)
    else:
        assert not allows("domain:*", url) or denies("domain:*ex*", url) is False
