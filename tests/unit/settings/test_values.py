"""What a text in the settings may be: keys that a header can carry, addresses that can be connected to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ccproxy.errors import ConfigError
from ccproxy.settings import Settings, load
from ccproxy.settings.secrets import secret_keys
from ccproxy.settings.values import clean_key

KEYS = sorted(".".join(path).replace("*", "zai") for path in secret_keys() if path[-1] in {"api_key", "auth_token"})
URLS = ["providers.claude_api.base_url", "providers.codex.base_url", "providers.claude_sdk.base_url", "providers.zai.base_url"]  # fmt: skip
OAUTH_URLS = [
    f"providers.{name}.oauth.{key}"
    for name in ("claude_api", "codex")
    for key in ("authorize_url", "token_url", "redirect_uri")
]
ZAI = {"PROVIDERS__ZAI__PREFIX": "/zai", "PROVIDERS__ZAI__BASE_URL": "http://z.test"}


def read(folder: Path, key: str, value: str) -> Settings:
    """Load with one setting of the environment."""
    variables = ZAI if ".zai." in key else {}
    return load(environ={**variables, key.upper().replace(".", "__"): value}, folder=folder).settings


def value_of(settings: Any, key: str) -> Any:
    for part in key.split("."):
        settings = getattr(settings, part)
    return settings


# ---- keys


def test_there_are_keys() -> None:
    assert KEYS == [
        "providers.claude_api.api_key", "providers.claude_sdk.api_key", "providers.codex.api_key", "providers.zai.api_key", "server.auth_token",
    ]  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "copied", ["{}\n", "\r\n{}\r\n", "  {}\t", "\ufeff{}", "{}\u200b", "\u200b \u2060{}\u00a0", "\u2028{}\u3000", "\x00{}\x1f"]
)  # fmt: skip
def test_what_copying_leaves_around_a_key_is_removed(tmp_path: Path, key: str, copied: str) -> None:
    settings = read(tmp_path, key, copied.format("hush-hush"))
    assert value_of(settings, key).get_secret_value() == "hush-hush"


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    ("inside", "words"),
    [
        ("\n", "a line break"),
        ("\r\n", "a line break"),
        ("\u2028", "a line break"),
        (" ", "a blank"),
        ("\t", "a blank"),
        ("\u00a0", "a blank"),
        ("\u200b", "an invisible character"),
        ("\ufeff", "an invisible character"),
        ("\u00ad", "an invisible character"),
        ("\x00", "an invisible character"),
        ("\U000e0061", "an invisible character"),
        ("…", "a character that is not ASCII"),
        ("é", "a character that is not ASCII"),
    ],
)
def test_a_key_that_no_header_can_carry_stops_the_start(tmp_path: Path, key: str, inside: str, words: str) -> None:
    """It failed with every request, or reached the upstream as another key."""
    if key == "server.auth_token" and inside == "é":
        return  # ccproxy's own token may have letters of any script
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, key, f"hush{inside}hash")
    assert key in str(caught.value)
    assert f"contains {words}" in str(caught.value)
    assert "hush" not in str(caught.value)
    assert "hash" not in str(caught.value)


def test_ccproxys_own_token_may_have_letters_of_any_script(tmp_path: Path) -> None:
    for token in ("Schlüssel", "ключ", "鍵"):
        assert read(tmp_path, "server.auth_token", f" {token}\n").server.auth_token.get_secret_value() == token


@given(st.text())
def test_a_clean_key_fits_a_header(text: str) -> None:
    try:
        key = clean_key(text)
    except ValueError:
        return
    assert key.isascii()
    assert not any(character.isspace() or not character.isprintable() for character in key)
    assert clean_key(key) == key


# ---- addresses

IMPOSSIBLE = [
    "http://", "https://", "http:///path", "http://:80", "http://?x", "//host", "host", "host:80", "ftp://host", "file:///etc/passwd",
    "http://a b.test", "http://a.test/a b", "http://a\tb.test", "http://a\nb.test", "http://a\x00.test", "http://a\u200b.test", "http://a\\@b.test",
    "http://a..test", "http://.test", "http://.", "http://..", "http://-a.test", "http://a-.test", "http://a.test..", "http://a!b", "http://%41.test", "http://a.test%2f",
    "http://" + "a" * 64 + ".test", "http://" + ".".join(["a" * 60] * 5) + ".test", "http://" + "é" * 64 + ".test", "http://" + "a" * 5000,
    "http://a.test:0", "http://a.test:65536", "http://a.test:99999", "http://a.test:-1", "http://a.test:x", "http://a.test:", "http://a.test:8 0", "http://a.test:٣",
    "http://user@a.test", "http://user:hush@a.test", "http://@a.test", "http://a.test#x", "http://a.test/#",
    "http://[::1", "http://::1", "http://[::g]", "http://[1.2.3.4]", "http://[]", "http://münchen.test",
    "http://256.1.1.1", "http://1.2.3", "http://1.2.3.4.5", "http://2130706433",
]  # fmt: skip


@pytest.mark.parametrize("url", IMPOSSIBLE)
@pytest.mark.parametrize("key", [*URLS, *OAUTH_URLS])
def test_an_address_that_cannot_be_connected_to_stops_the_start(tmp_path: Path, key: str, url: str) -> None:
    if url.endswith(":0") and key.endswith("redirect_uri"):
        return  # any free port
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, key, url)
    assert key in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://a.test?x=1", "http://a.test/?"])
@pytest.mark.parametrize("key", URLS)
def test_a_base_url_has_no_query(tmp_path: Path, key: str, url: str) -> None:
    with pytest.raises(ConfigError, match="query"):
        read(tmp_path, key, url)


@pytest.mark.parametrize(
    ("url", "cleaned"),
    [
        ("https://api.test", "https://api.test"),
        (" https://api.test/\n", "https://api.test"),
        ("HTTPS://API.test/V1/", "https://api.test/V1"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://my_host:65535", "http://my_host:65535"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("http://[::1]:1/x", "http://[::1]:1/x"),
        ("http://[0:0:0:0:0:0:0:1]", "http://[::1]"),
        ("https://api.test./v1", "https://api.test./v1"),
        ("https://api.test/%7Euser/a;b=c", "https://api.test/%7Euser/a;b=c"),
    ],
)
@pytest.mark.parametrize("key", URLS)
def test_an_address_as_it_is_used(tmp_path: Path, key: str, url: str, cleaned: str) -> None:
    assert value_of(read(tmp_path, key, url), key) == cleaned


@pytest.mark.parametrize("key", OAUTH_URLS)
def test_an_oauth_address_may_have_a_query(tmp_path: Path, key: str) -> None:
    assert value_of(read(tmp_path, key, " https://a.test/x?y=z "), key) == "https://a.test/x?y=z"


@given(st.text())
def test_any_address_is_accepted_or_explained(tmp_path: Path, text: str) -> None:
    for url in (text, f"http://{text}", f"https://a.test:{text}", f"https://a.test/{text}"):
        if not url.strip():
            continue
        try:
            settings = read(tmp_path, "providers.claude_api.base_url", url)
        except ConfigError:
            continue
        assert settings.providers.claude_api.base_url.startswith(("http://", "https://"))


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("key", ["server.shutdown_grace", "server.connect_timeout", "permissions.timeout"])
def test_seconds_are_numbers(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=key):
        read(tmp_path, key, value)
