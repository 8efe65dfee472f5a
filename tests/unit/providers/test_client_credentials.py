"""Where a client's credential travels and what it looks like."""

from __future__ import annotations

import pytest

from ccproxy.providers.client_credentials import (
    KEY_HEADERS,
    KEY_SHAPES,
    TOKEN_HEADERS,
    is_access_token,
    jwt_claims,
    key_of,
)
from ccproxy.secret_names import is_secret_header
from tests.fakes.oauth import jwt


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (b"k", "k"), (b" k ", "k"), (b"Bearer k", "k"), (b"bearer   k ", "k"), (b"BEARER k", "k"), (b"Basic k", "Basic k"), (b"", ""),
        (b"Bearer", ""), (b"Bearer ", ""), (b"Bearerk", "Bearerk"), (b"\xe4", "\xe4"), (b"Bearer a b", "a b"),
    ],
)  # fmt: skip
def test_a_key_is_read_without_its_scheme(value: bytes, key: str) -> None:
    assert key_of(value) == key


def test_every_header_of_a_key_is_kept_off_flows_and_logs() -> None:
    assert KEY_HEADERS < TOKEN_HEADERS
    assert all(is_secret_header(name) for name in TOKEN_HEADERS)


@pytest.mark.parametrize(
    ("provider", "key", "fits"),
    [
        ("claude_api", "sk-ant-" + "dummy", True), ("claude_api", "sk-" + "dummy", False), ("claude_api", "sk-ant-" + "a b", False),
        ("claude_api", jwt(), False), ("codex", jwt(), True), ("codex", "sk-ant-" + "dummy", False), ("codex", "", False),
    ],
)  # fmt: skip
def test_a_key_passes_to_its_own_vendor_only(provider: str, key: str, fits: bool) -> None:
    assert KEY_SHAPES[provider](key) is fits


def test_access_tokens_of_the_vendors_own_programs() -> None:
    assert is_access_token("claude_api", "sk-ant-" + "oat-dummy")
    assert not is_access_token("claude_api", "sk-ant-" + "api-dummy")
    assert is_access_token("codex", jwt())
    assert not is_access_token("zai", jwt())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.b",
        "a.b.c",
        "..",
        "sk-ant-dummy",
        "e30.e30.c2ln",
        "a.b.c.d",
        "W10.e30.c2ln",
        "é.é.é",
        jwt().rpartition(".")[0],
    ],
)
def test_what_is_no_jwt(text: str) -> None:
    assert jwt_claims(text) is None


def test_what_is_a_jwt() -> None:
    assert jwt_claims(jwt(sub="somebody")) == {"sub": "somebody"}
