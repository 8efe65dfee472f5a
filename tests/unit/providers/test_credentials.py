"""The source of each provider's credential, and how to configure one."""

from __future__ import annotations

from typing import Any

import pytest

from ccproxy.providers.credentials import CredentialState, credential
from ccproxy.settings import Settings

KEY, LOGIN, CLIENT, UNNEEDED, MISSING = CredentialState


@pytest.mark.parametrize(
    ("name", "own", "has_login", "state"),
    [
        ("claude_api", {}, False, CLIENT), ("claude_api", {}, True, LOGIN), ("claude_api", {"api_key": "k"}, True, KEY),
        ("claude_api", {"auth": "oauth", "api_key": "k"}, True, LOGIN), ("claude_api", {"auth": "oauth"}, False, MISSING),
        ("claude_api", {"auth": "api_key"}, True, MISSING), ("codex", {"auth": "passthrough", "api_key": "k"}, True, CLIENT), ("codex", {}, False, CLIENT),
        ("mine", {}, False, UNNEEDED), ("mine", {"api_key": "k"}, False, KEY), ("mine", {"auth": "passthrough"}, False, CLIENT),
        ("claude_sdk", {}, False, UNNEEDED), ("mock", {}, False, UNNEEDED),
    ],
)  # fmt: skip
def test_the_source_of_a_credential(name: str, own: dict[str, Any], has_login: bool, state: CredentialState) -> None:
    mine = {"prefix": "/mine", "base_url": "http://m.test"}
    settings = Settings(providers={"mine": mine, name: {**(mine if name == "mine" else {}), **own}})
    source = credential(settings, name, has_login=has_login)
    assert source.state is state
    assert source.state.is_own is (state in {KEY, LOGIN, UNNEEDED})


@pytest.mark.parametrize(
    ("name", "auth", "remedy"),
    [
        ("claude_api", "auto", "run `ccproxy auth login` or set a key: ccproxy config set providers.claude_api.api_key KEY"),
        ("codex", "auto", "run `ccproxy auth login-openai` or set a key: ccproxy config set providers.codex.api_key KEY"),
        ("codex", "api_key", "set a key: ccproxy config set providers.codex.api_key KEY"),
    ],
)  # fmt: skip
def test_the_remedy_names_the_command(name: str, auth: str, remedy: str) -> None:
    assert credential(Settings(providers={name: {"auth": auth}}), name).remedy == remedy
