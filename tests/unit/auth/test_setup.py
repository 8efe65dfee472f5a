from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import SecretStr

from ccproxy.auth import setup
from ccproxy.auth.clients import CLAUDE, CODEX
from ccproxy.auth.sources import Mode
from ccproxy.errors import ConfigError


@dataclass
class Keys:
    client_id: str = ""
    authorize_url: str = ""
    token_url: str = ""
    redirect_uri: str = ""
    scopes: tuple[str, ...] = ()


@dataclass
class Provider:
    base_url: str
    auth: Mode = "auto"
    api_key: SecretStr = field(default_factory=lambda: SecretStr(""))
    oauth: Keys = field(default_factory=Keys)
    header: str = "x-api-key"


@dataclass
class Providers:
    claude_api: Provider = field(default_factory=lambda: Provider("https://api.anthropic.com"))
    codex: Provider = field(default_factory=lambda: Provider("https://chatgpt.com/backend-api/codex"))
    custom: dict[str, Provider] = field(default_factory=dict)


def test_the_defaults() -> None:
    claude, codex = setup.providers(Providers())
    assert (claude.provider, claude.client, claude.wants_login) == ("claude_api", CLAUDE, True)
    assert (codex.provider, codex.client, codex.key_header) == ("codex", CODEX, "authorization")


def test_settings_reach_their_place() -> None:
    keys = Keys(client_id="mine", token_url="http://127.0.0.1:9/token", scopes=("a", "b"))
    settings = Providers(
        claude_api=Provider("http://127.0.0.1:8", auth="oauth", oauth=keys),
        custom={"mine": Provider("https://gateway.example", api_key=SecretStr("key"), header="x-key")},
    )
    claude, _, mine = setup.providers(settings)
    assert claude.client is not None
    assert (claude.client.client_id, claude.client.scopes) == ("mine", ("a", "b"))
    assert claude.client.limits_url == "http://127.0.0.1:8/api/oauth/usage"
    assert (mine.provider, mine.api_key, mine.key_header, mine.client) == ("mine", SecretStr("key"), "x-key", None)


def test_a_wrong_setting_is_named() -> None:
    settings = Providers(codex=Provider("https://x.example", oauth=Keys(authorize_url="http://x.example")))
    with pytest.raises(ConfigError, match=r"providers\.codex\.oauth\.authorize_url"):
        setup.providers(settings)


def test_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert setup.store(str(tmp_path)).folder == tmp_path
    assert setup.store("~/logins").folder == tmp_path / "logins"
    assert setup.store("").folder.is_relative_to(tmp_path)
