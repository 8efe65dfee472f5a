"""Which header fields and query parameters carry a credential."""

from __future__ import annotations

import pytest

from ccproxy.secret_names import SECRET_HEADERS, SECRET_QUERY_NAMES, is_secret_header, is_secret_query


@pytest.mark.parametrize(
    "name",
    [
        *(
            "Authorization",
            "Proxy-Authorization",
            "X-Api-Key",
            "api-key",
            "x-goog-api-key",
            "Ocp-Apim-Subscription-Key",
        ),
        *("x-functions-key", "X-Auth-Token", "Cookie", "Set-Cookie", "x-ccproxy-token", "x-amz-security-token"),
        *("my-company-secret", "x_internal_api_key", "token", "x-anything-token", "chatgpt-account-id", " cookie "),
    ],
)
def test_secret_headers(name: str) -> None:
    assert is_secret_header(name.encode())


@pytest.mark.parametrize(
    "name",
    [
        *("anthropic-ratelimit-input-tokens-remaining", "x-ratelimit-reset-tokens", "content-type", "anthropic-beta"),
        *("idempotency-key", "sec-websocket-key", "session-id", "x-stainless-retry-count", "mytoken", "accept", ""),
    ],
)
def test_other_headers(name: str) -> None:
    assert not is_secret_header(name.encode())


@pytest.mark.parametrize(
    "name",
    ["key", "Key", "api_key", "api-key", "access_token", "token", "subscription-key", "sig", "code", "X-Amz-Signature"],
)
def test_secret_query_names(name: str) -> None:
    assert is_secret_query(name)


@pytest.mark.parametrize("name", ["beta", "limit", "after_id", "state", "model", "page_token", "api-version", ""])
def test_other_query_names(name: str) -> None:
    assert not is_secret_query(name)


def test_the_lists_are_in_lower_case() -> None:
    assert all(name == name.lower() for name in SECRET_HEADERS)
    assert all(name == name.lower() for name in SECRET_QUERY_NAMES)
