"""No secret gets through, wherever it stands and however a body is cut; what is none stays as it is."""

from __future__ import annotations

import base64
import json
import string
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, strategies as st

from ccproxy.redaction import REDACTED, Redaction

RULES = Redaction()
TOKEN_CHARACTERS = string.ascii_letters + string.digits


def jwt(claims: object) -> str:
    parts = (json.dumps({"alg": "none", "typ": "JWT"}), json.dumps(claims), "signature")
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)


BODY = st.text(TOKEN_CHARACTERS, min_size=14, max_size=40).map("{}9Zw".format)
TOKENS = st.one_of(
    BODY.map("sk-ant-oat01-{}".format),
    BODY.map("sk-{}".format),
    BODY.map("sk-proj-{}".format),
    st.dictionaries(st.text(TOKEN_CHARACTERS), st.text(), min_size=1).map(jwt),
    BODY.map("ghp_{}".format),
    st.text(TOKEN_CHARACTERS, min_size=30, max_size=40).map("AIza{}".format),
)
"""Secrets by their shape alone."""
OPAQUE = st.text(TOKEN_CHARACTERS + "-._~+/", min_size=8, max_size=40).map("Qx7{}9Zw".format)
"""Secrets by their place: in a named field, after Bearer, in a query."""
NAMES = st.sampled_from(
    ["access_token", "refresh_token", "id_token", "accessToken", "refreshToken", "client_secret", "api_key", "apiKey",
     "x-api-key", "OPENAI_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "Authorization", "password",
     "code_verifier", "chatgpt_account_id"]
)  # fmt: skip
PROSE = st.lists(
    st.sampled_from(
        ["hello", "wörld", "token", "😀", '"', "'", ":", ",", "{", "}", "[", "]", " ", "\n", "\t", "&", "?"]
    ),
    max_size=8,
).map("".join)


def nested(value: object, depth: int) -> object:
    """JSON as text within JSON, `depth` times."""
    for _ in range(depth):
        value = {"content": json.dumps(value)}
    return value


PLACES = st.one_of(
    st.tuples(TOKENS, PROSE, PROSE).map(lambda t: (t[0], f"{t[1]} {t[0]}\n{t[2]}")),
    st.tuples(TOKENS, PROSE).map(lambda t: (t[0], json.dumps({"text": f"{t[1]}\n{t[0]}", "more": t[1]}))),
    st.tuples(OPAQUE, NAMES, st.integers(0, 3), st.sampled_from([None, 2])).map(
        lambda t: (t[0], json.dumps(nested({"a": 1, t[1]: t[0], "z": "é"}, t[2]), indent=t[3]))
    ),
    st.tuples(OPAQUE, NAMES).map(lambda t: (t[0], f"data: {json.dumps({t[1]: t[0]})}\n\n")),
    st.tuples(OPAQUE, NAMES).map(lambda t: (t[0], repr({"a": {t[1]: t[0]}}))),
    st.tuples(OPAQUE, NAMES).map(lambda t: (t[0], f'{{"{t[1]}"  :\n\t "{t[0]}"}}')),
    BODY.map(lambda t: (f"{t}7", f"the header was Bearer {t}7, it said")),
    st.tuples(OPAQUE, st.sampled_from(["access_token", "code", "token", "key", "api_key"])).map(
        lambda t: (quote(t[0], safe=""), f"/cb?state=1&{urlencode({t[1]: t[0]})}&x=1")
    ),
    OPAQUE.map(lambda t: (quote(t, safe=""), urlencode({"grant_type": "refresh_token", "refresh_token": t}))),
    BODY.map(lambda t: (t, f"postgresql://me:{t}@db.example/x")),
)


@given(PLACES)
def test_no_secret_gets_through(place: tuple[str, str]) -> None:
    secret, text = place
    redacted = RULES.text(text)
    assert secret not in redacted
    assert secret[4:] not in redacted
    assert REDACTED in redacted
    assert RULES.data(text.encode()) == redacted.encode()
    assert RULES.text(redacted) == redacted


@given(st.lists(PLACES, min_size=1, max_size=4), st.data())
def test_no_secret_gets_through_however_a_body_is_cut(places: list[tuple[str, str]], data: st.DataObject) -> None:
    body = "\n".join(text for _, text in places).encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(body)), max_size=12)))
    stream = RULES.stream()
    pieces = [stream.feed(body[a:b]) for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    redacted = b"".join([*pieces, stream.close()]).decode()
    for secret, _ in places:
        assert secret not in redacted
        assert secret[4:] not in redacted


@given(PLACES, st.data())
def test_no_part_of_a_secret_is_left_where_a_body_was_cut_off(place: tuple[str, str], data: st.DataObject) -> None:
    secret, text = place
    body = text.encode()
    stream = RULES.stream()
    out = stream.feed(body[: data.draw(st.integers(0, len(body)))]) + stream.close(truncated=True)
    assert not any(secret[:size].encode() in out for size in range(12, len(secret)))


@given(st.text())
def test_text_without_secrets_stays_as_it_is(text: str) -> None:
    harmless = text.replace("=", "").replace("://", "").replace(":", "")
    assert RULES.text(harmless) == harmless
    assert RULES.text(json.dumps({"usage": {"text": harmless}})) == json.dumps({"usage": {"text": harmless}})


@given(st.lists(st.binary(max_size=40)))
def test_bytes_of_any_kind_pass_in_order(pieces: list[bytes]) -> None:
    plain = [piece.replace(b"=", b"").replace(b":", b"") for piece in pieces]
    stream = RULES.stream()
    assert b"".join([*map(stream.feed, plain), stream.close()]) == b"".join(plain)


@pytest.mark.parametrize(
    "text",
    [
        "a task-management-system on the desk-jockey's disk-partition",
        '{"max_tokens": 100, "input_tokens": 5, "prompt_cache_key": "abc-123", "key": "value", "token": "Hello"}',
        '{"tools":[{"name":"login","input_schema":{"properties":{"password":{"type":"string"}}}}]}',
        "Bearer authentication is used",
        "https://host:8080/a@b and http://127.0.0.1:8000",
        "the id_token of the flow; access_token, refresh_token",
        '{"signature":"EqQBCkYIBxgCKkD+Zm9vYmFy/ZXlKaGJHY2lPaUpJVXpJMU5pSjk="}',
    ],
)
def test_what_only_looks_a_little_like_a_secret_stays(text: str) -> None:
    assert RULES.text(text) == text


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("Authorization", "Bearer abc", "Bearer [redacted]"),
        ("authorization", "Basic dTpw", "Basic [redacted]"),
        ("authorization", "abc", "[redacted]"),
        ("Proxy-Authorization", "Basic dTpw", "Basic [redacted]"),
        ("X-Api-Key", "abc", "[redacted]"),
        ("api-key", "abc", "[redacted]"),
        ("x-goog-api-key", "abc", "[redacted]"),
        ("cookie", "a=b", "[redacted]"),
        ("Set-Cookie", "a=b; HttpOnly", "[redacted]"),
        ("chatgpt-account-id", "0000", "[redacted]"),
        ("x-ccproxy-token", "abc", "[redacted]"),
        ("x-amz-security-token", "abc", "[redacted]"),
        ("location", "http://localhost/cb?code=abc&state=1", "http://localhost/cb?code=[redacted]&state=1"),
        ("sec-websocket-protocol", "realtime, openai-insecure-api-key.sk-" + "a" * 20,
         "realtime, openai-insecure-api-key.[redacted]"),
        ("anthropic-ratelimit-input-tokens-remaining", "5000", "5000"),
        ("x-ratelimit-reset-tokens", "6ms", "6ms"),
        ("content-type", "application/json", "application/json"),
        ("anthropic-beta", "oauth-2025-04-20", "oauth-2025-04-20"),
        ("x-claude-code-session-id", "6abdf252", "6abdf252"),
    ],
)  # fmt: skip
def test_header_fields(name: str, value: str, expected: str) -> None:
    assert RULES.header(name, value) == expected
    assert RULES.headers([(name, value)]) == [(name, expected)]


def test_secrets_known_by_value() -> None:
    rules = Redaction(['pass "word" ü/1', "abc", "longer-secret", "longer-secret-still"])
    secret = 'pass "word" ü/1'
    for form in (secret, json.dumps(secret), json.dumps(secret, ensure_ascii=False), quote(secret, safe="")):
        assert REDACTED in rules.text(f"x {form} y")
        assert "word" not in rules.text(f"x {form} y")
        assert "word" not in rules.data(f"x {form} y".encode()).decode()
    assert rules.text("abc") == "abc"  # too short to be replaced wherever it stands
    assert rules.text("longer-secret-still") == REDACTED
    assert rules.header("x-note", "longer-secret") == REDACTED


def test_a_token_right_after_an_escape_is_found() -> None:
    token = "sk-" + "a" * 20
    for before in ("\\n", "\\u0020", "%20", '"', "(", "key:", "\n"):
        assert token not in RULES.text(before + token)
