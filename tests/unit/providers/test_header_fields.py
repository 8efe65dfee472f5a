"""Model maps, the Codex backend's rules, and which header fields go on."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st

from ccproxy.providers.header_fields import (
    MAX_VALUE,
    is_port,
    mapped_model,
    number_in,
    public_fields,
    public_target,
    request_fields,
    response_fields,
    safe_value,
    strangers_fields,
)
from ccproxy.providers.registry import providers
from ccproxy.secret_names import SECRET_QUERY_NAMES
from ccproxy.settings import Settings
from tests.fakes.scaling import assert_linear

MODELS = {
    "claude-opus-4": "opus-exact",
    "claude-*": "claude-glob",
    "*": "other",
    "claude-haiku-*": "never: an earlier glob matches",
}


@pytest.mark.parametrize(
    ("model", "mapped"),
    [
        ("claude-opus-4", "opus-exact"),
        ("claude-haiku-1", "claude-glob"),
        ("gpt-x", "other"),
        ("", "other"),
        ("CLAUDE-x", "other"),
    ],
)
def test_an_exact_name_wins_over_globs_and_the_first_glob_over_later_ones(model: str, mapped: str) -> None:
    assert mapped_model(MODELS, model) == mapped


def test_no_map_no_change() -> None:
    assert mapped_model({}, "m") == "m"
    assert mapped_model({"other-*": "x"}, "m") == "m"


# ---- header fields

BUILT_IN = providers(
    Settings(
        providers={
            "claude_api": {"base_url": "http://u.test:81"},
            "mine": {"base_url": "http://m.test", "prefix": "/mine"},
        }
    )
)
(CLAUDE,) = [provider for provider in BUILT_IN if provider.name == "claude_api"]


def test_fields_of_a_request() -> None:
    assert CLAUDE.upstream
    fields = (
        (b"host", b"localhost"), (b"X-A", b"1"), (b"Connection", b"keep-alive, x-hop , close"), (b"x-hop", b"2"), (b"x-a", b"3"), (b"Keep-Alive", b"4"),
        (b"x-ccproxy-token", b"5"), (b"X-CCPROXY-Other", b"6"), (b"TE", b"trailers"), (b"anthropic-version", b"of the client"), (b"Expect", b"7"),
        (b"Transfer-Encoding", b"chunked"),
    )  # fmt: skip
    sent = request_fields(fields, CLAUDE.upstream, CLAUDE)
    assert sent == (
        (b"Host", b"u.test:81"), (b"X-A", b"1"), (b"x-a", b"3"), (b"anthropic-version", b"of the client"), (b"Transfer-Encoding", b"chunked"),
    )  # fmt: skip


@pytest.mark.parametrize("named", [b"host", b"content-length", b"transfer-encoding", b"close", b"Content-Length, Host"])
def test_a_connection_header_cannot_take_off_what_frames_the_message(named: bytes) -> None:
    assert CLAUDE.upstream
    fields = ((b"Connection", named), (b"Content-Length", b"2"), (b"Transfer-Encoding", b"x"))
    assert [name for name, _ in request_fields(fields, CLAUDE.upstream, CLAUDE)][:3] == [
        b"Host",
        b"Content-Length",
        b"Transfer-Encoding",
    ]
    assert [name for name, _ in response_fields(fields, "f", from_upstream=True)] == [
        b"Content-Length",
        b"Transfer-Encoding",
        b"x-ccproxy-flow",
    ]


def test_private_fields() -> None:
    names = (b"Authorization", b"X-API-KEY", b"Cookie", b"x-ccproxy-token", b"Proxy-Authorization", b"Api-Key", b"x")
    fields = tuple((name, b"v") for name in names)
    public, private = public_fields(fields)
    assert [name for name, _ in public] == [b"x"]
    assert [name for name, _ in private] == [b"Authorization", b"X-API-KEY", b"x-ccproxy-token"]
    _, private = public_fields(fields, frozenset({b"api-key"}))
    assert [name for name, _ in private] == [b"Authorization", b"X-API-KEY", b"x-ccproxy-token", b"Api-Key"]


def test_a_long_name_is_no_way_around() -> None:
    name = b"x" * 70_000 + b"-api-key"
    assert public_fields(((name, b"v"),)) == ((), ())


@pytest.mark.parametrize(
    "name",
    [
        b"Origin", b"REFERER", b"Sec-Fetch-Site", b"Sec-CH-UA-Platform", b"X-Forwarded-For", b"X-Forwarded-Anything-New", b"X-Real-IP", b"Forwarded",
        b"Via", b"True-Client-IP", b"CF-Connecting-IP", b"CF-Ray", b"CDN-Loop", b"Api-Key", b"X-Goog-Api-Key", b"Ocp-Apim-Subscription-Key",
        b"X-Functions-Key", b"X-Auth-Token", b"Cookie", b"Proxy-Authorization", b"X-Ccproxy-Token", b"X-Ccproxy-Anything", b"Proxy-Connection",
        b"X_Forwarded_For", b"x_api_key", b"X_Ccproxy_Token", b"Fly-Client-IP", b"X-Vercel-Forwarded-For", b"x-amz-security_token", b"Proxy_Authorization",
    ],
)  # fmt: skip
def test_what_is_not_for_an_upstream(name: bytes) -> None:
    assert CLAUDE.upstream
    public, _ = public_fields(((name, b"v"),))
    assert name not in dict(request_fields(public, CLAUDE.upstream, CLAUDE))
    assert name not in dict(strangers_fields(((name, b"v"),), "other.test"))


@pytest.mark.parametrize(
    "name",
    [
        b"User-Agent", b"anthropic-beta", b"x-stainless-lang", b"session-id", b"x-codex-turn-state", b"x-app", b"Idempotency-Key", b"x-request-id",
        b"X-OpenAI-Internal-Codex-Responses-Lite", b"cf-aig-metadata", b"traceparent", b"openai-organization", b"via-x", b"origin-x",
        b"x-claude-code-session-id", b"x-ratelimit-remaining-tokens", b"x-title", b"http-referer",
    ],
)  # fmt: skip
def test_what_is_for_the_upstream_passes(name: bytes) -> None:
    assert CLAUDE.upstream
    public, _ = public_fields(((name, b"v"),))
    assert (name, b"v") in request_fields(public, CLAUDE.upstream, CLAUDE)


def test_a_key_that_a_script_adds_goes_to_the_providers_host_only() -> None:
    """What a client sent was taken off the flow: what is there is the user's own doing."""
    assert CLAUDE.upstream
    fields = ((b"authorization", b"Bearer scripted"), (b"proxy-authorization", b"x"), (b"x-ccproxy-token", b"x"))
    assert fields[0] in request_fields(fields, CLAUDE.upstream, CLAUDE)
    assert not {b"proxy-authorization", b"x-ccproxy-token"} & set(dict(request_fields(fields, CLAUDE.upstream, CLAUDE)))
    assert strangers_fields(fields, "other.test") == ((b"Host", b"other.test"),)


def test_an_account_goes_to_a_provider_of_accounts_only() -> None:
    fields = ((b"ChatGPT-Account-ID", b"a"), (b"X-OpenAI-Fedramp", b"true"))
    for provider in BUILT_IN:
        if provider.upstream:
            sent = request_fields(public_fields(fields)[0], provider.upstream, provider)
            assert (set(fields) <= set(sent)) is (provider.name == "codex")
    assert strangers_fields(fields, "other.test") == ((b"Host", b"other.test"),)


@pytest.mark.parametrize("named", [b"content-type", b"Content-Encoding, close", b"content-length"])
def test_a_connection_header_cannot_take_off_what_describes_the_body(named: bytes) -> None:
    fields = ((b"Connection", named), (b"Content-Type", b"a"), (b"Content-Encoding", b"b"), (b"Content-Length", b"1"))
    assert [name for name, _ in response_fields(fields, "f", from_upstream=True)][:3] == [
        b"Content-Type",
        b"Content-Encoding",
        b"Content-Length",
    ]


def test_an_upstream_says_nothing_in_our_name() -> None:
    fields = (
        (b"X-Ccproxy-Flow", b"theirs"), (b"x-ccproxy-loss", b"theirs"), (b"X-CCPROXY-cost-usd", b"0"), (b"x-ccproxy-", b"a"), (b"x-ccproxyz", b"ok"),
        (b"Connection", b"x-hop"), (b"X-Hop", b"1"), (b"Proxy-Authenticate", b"Basic"), (b"Upgrade", b"h2c"), (b"Set-Cookie", b"stays"), (b"Vary", b"origin"),
    )  # fmt: skip
    assert response_fields(fields, "ours", from_upstream=True) == (
        (b"x-ccproxyz", b"ok"),
        (b"Set-Cookie", b"stays"),
        (b"Vary", b"origin"),
        (b"x-ccproxy-flow", b"ours"),
    )


# ---- query parameters


@pytest.mark.parametrize(
    ("target", "public"),
    [
        ("/p", "/p"), ("/p?", "/p?"), ("/p?beta=true", "/p?beta=true"), ("/p?key=s", "/p"), ("/p?key", "/p"), ("/p?KEY=s", "/p"),
        ("/p?a=1&key=s&b=2", "/p?a=1&b=2"), ("/p?key=s&a=1", "/p?a=1"), ("/p?a=1&key=s", "/p?a=1"), ("/p?key=s&key=t", "/p"),
        ("/p?a=%2F&b=+&&c==&key=s&d=%zz", "/p?a=%2F&b=+&&c==&d=%zz"), ("/p?%6Bey=s&a", "/p?a"), ("/p?k%65%79=s", "/p"), ("/p?a=1;key=s;b=2", "/p?a=1;b=2"),
        ("/p?api_key=s", "/p"), ("/p?api-key=s&x=1", "/p?x=1"), ("/p?subscription-key=s", "/p"), ("/p?access_token=s", "/p"), ("/p?code=s", "/p"),
        ("/p?sig=s", "/p"), ("/p?key[]=s", "/p"), ("/p?key%5B0%5D=s", "/p"), ("/p?+key=s", "/p"), ("/p?a=1?key=2", "/p?a=1?key=2"),
        ("/p?keys=1&monkey=2&page_token=3&after_id=4", "/p?keys=1&monkey=2&page_token=3&after_id=4"), ("/p?a=key=1", "/p?a=key=1"),
        ("/p?&key=s&", "/p?&"), ("/p?key=s&", "/p?"), ("/p?=s", "/p?=s"), ("/p?%=1&%k=2", "/p?%=1&%k=2"), ("/p?ключ=1&key=s", "/p?ключ=1"),
        ("/p?\udcff=1&key=s", "/p?\udcff=1"),
    ],
)  # fmt: skip
def test_parameters_that_carry_a_key_are_removed_and_no_other_byte(target: str, public: str) -> None:
    assert public_target(target) == public


@pytest.mark.parametrize("name", sorted(SECRET_QUERY_NAMES))
def test_every_listed_parameter_is_removed_however_it_is_written(name: str) -> None:
    encoded = "".join(f"%{ord(character):02x}" for character in name)
    for spelling in (name, name.upper(), encoded, encoded.upper(), f"{name}[0]"):
        assert public_target(f"/p?a=1&{spelling}=secret&b=2") == "/p?a=1&b=2"


@given(
    query=st.lists(
        st.sampled_from(["a", "b=1", "key=s", "%6bey=s", "&", ";", "=", "%", "KEY", "code=", "x=%26key=s", ""])
    ).map("&".join)
)
def test_what_is_left_of_a_query_is_in_its_order_and_has_no_key(query: str) -> None:
    target = public_target(f"/p?{query}")
    assert "s" not in target.replace("x=%26key=s", "")
    assert public_target(target) == target
    rest = iter(re.split("[&;]", query))
    assert all(part in rest for part in re.split("[&;]", target.partition("?")[2]) if part)


@pytest.mark.parametrize("piece", ["&", "%", ";", "=", "a&", "key=1&", "%6bey&", "key", "%25", "[", "+"])
def test_a_long_query_takes_linear_time(piece: str) -> None:
    assert_linear(lambda size: public_target("/p?" + piece * (size // len(piece))))


# ---- values that ccproxy makes


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("tools[0].name, top_k", b"tools[0].name, top_k"),
        ("", b""),
        ("a\r\nSet-Cookie: x", b"a\\r\\nSet-Cookie: x"),
        ("a\x00b\x1bc\x7fd\te", b"a\\x00b\\x1bc\\x7fd\\te"),
        ("caf\xe9 \u2028 \U0001f600 \ud800", b"caf\\xe9 \\u2028 \\U0001f600 \\ud800"),
        ("  padded  ", b"padded"),
        ("back\\slash", b"back\\slash"),
    ],
)
def test_a_value_that_ccproxy_makes_is_one_line_of_printable_ascii(text: str, value: bytes) -> None:
    assert safe_value(text) == value


@given(text=st.text(st.characters(codec=None), max_size=200), limit=st.integers(0, 100))
def test_no_text_makes_a_value_that_ends_its_line(text: str, limit: int) -> None:
    value = safe_value(text, limit)
    assert len(value) <= limit
    assert all(0x20 <= byte <= 0x7E for byte in value)
    assert value == value.strip()


def test_a_value_is_bounded_whatever_it_is_made_of() -> None:
    for character in ("a", "\r", "\U0001f600", "\ud800", " "):
        assert len(safe_value(character * 5_000_000)) <= MAX_VALUE


# ---- numbers in header values


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("1", 1), ("007", 7), ("1.5", 1.5), ("0.25", 0.25), ("5e-05", 0.00005), ("9" * 13, 9999999999999)],
)
def test_a_number_in_a_header(text: str, number: float) -> None:
    assert number_in(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "", " ", " 1", "1 ", "1\n", "\u00b2", "1_0", "\u0664", "\uff11", "-1", "+1", "inf", "nan", "1e9",
        "1e400", "0x10", "1.", ".5", "1.2.3", "9" * 14, "9" * 5000,
        "Sun, 06 Nov 1994 08:49:37 GMT", "1,2", "\u2460", "1\x00",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_number(text: str) -> None:
    assert number_in(text) is None


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("80", True),
        ("65535", True),
        ("0", True),
        ("", False),
        ("\u00b2", False),
        ("\u0664", False),
        ("123456", False),
        ("8a", False),
        ("-1", False),
    ],
)
def test_a_port(text: str, valid: bool) -> None:
    assert is_port(text) is valid
