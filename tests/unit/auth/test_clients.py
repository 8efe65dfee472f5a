from __future__ import annotations

import pytest

from ccproxy.auth.clients import CLAUDE, CODEX, is_loopback_url, is_safe
from ccproxy.errors import ConfigError


def test_empty_settings_change_nothing() -> None:
    assert CLAUDE.configured() == CLAUDE
    assert CODEX.configured(scopes="", base_url="https://chatgpt.com/backend-api/codex") == CODEX
    assert CLAUDE.configured(base_url="https://api.anthropic.com/") == CLAUDE


def test_a_moved_token_endpoint_takes_everything_with_it_that_gets_tokens() -> None:
    client = CODEX.configured(
        token_url="http://127.0.0.1:9/oauth/token", base_url="http://127.0.0.1:8/backend-api/codex"
    )
    assert client.device is not None
    hosts = {client.revoke_url, client.device.code, client.device.poll, client.device.page, client.device.redirect_uri}
    assert all(url.startswith("http://127.0.0.1:9/") for url in hosts)
    assert client.limits_url == "http://127.0.0.1:8/backend-api/wham/usage"
    assert (
        CLAUDE.configured(token_url="https://login.example/token").revoke_url == "https://login.example/v1/oauth/revoke"
    )


def test_a_tests_login_is_never_shown_to_a_real_host() -> None:
    assert CLAUDE.limits_allowed
    assert not CLAUDE.configured(token_url="http://127.0.0.1:9/token").limits_allowed
    assert CLAUDE.configured(token_url="http://127.0.0.1:9/token", base_url="http://127.0.0.1:8").limits_allowed
    assert not CLAUDE.configured(base_url="http://gateway.example").limits_allowed


def test_redirects() -> None:
    listening = CODEX.configured(redirect_uri="http://localhost:1455/auth/callback")
    assert (listening.redirect_uri, listening.fallback_ports) == ("http://localhost:1455/auth/callback", ())
    shown = CLAUDE.configured(redirect_uri="https://console.example/code")
    assert (shown.redirect_uri, shown.manual_redirect_uri) == (CLAUDE.redirect_uri, "https://console.example/code")
    for wrong in ("https://127.0.0.1/callback", "http://page.example/code", "page", "http://[::1"):
        with pytest.raises(ConfigError, match=r"providers\.codex\.oauth\.redirect_uri"):
            CODEX.configured(redirect_uri=wrong)


@pytest.mark.parametrize(
    "url", ["http://login.example/token", "ftp://x/token", "login.example", "https://", "https://h:x/", "//h/t"]
)
@pytest.mark.parametrize("key", ["authorize_url", "token_url"])
def test_a_secret_goes_nowhere_unsafe(key: str, url: str) -> None:
    with pytest.raises(ConfigError, match=rf"providers\.claude_api\.oauth\.{key}"):
        CLAUDE.configured(**{key: url})


def test_user_info_is_refused_and_not_quoted() -> None:
    with pytest.raises(ConfigError) as caught:
        CLAUDE.configured(token_url="https://user:hidden@login.example/token")
    assert "hidden" not in str(caught.value)


def test_scopes_as_words_or_as_a_list() -> None:
    assert CLAUDE.configured(scopes="a b").scopes == CLAUDE.configured(scopes=["a", "b"]).scopes == ("a", "b")


@pytest.mark.parametrize("client", [CLAUDE, CODEX])
def test_the_defaults_are_safe(client: object) -> None:
    for name in ("authorize_url", "token_url", "revoke_url", "limits_url"):
        url = getattr(client, name)
        assert is_safe(url)
        assert not is_loopback_url(url)
