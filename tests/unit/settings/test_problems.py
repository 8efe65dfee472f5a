from __future__ import annotations

from pathlib import Path

import pytest

from ccproxy.errors import ConfigError
from ccproxy.settings import load
from ccproxy.settings.layers import Layer
from ccproxy.settings.problems import place


def test_the_place_of_a_key() -> None:
    text = "# a comment\n[server]\nport = 1\n[providers.zai]\n'base_url' = 'x'\noauth.token_url = 'y'\n"
    layer = Layer("file.toml", {}, text)
    assert place(layer, ("server", "port")) == "file.toml:3"
    assert place(layer, ("providers", "zai", "base_url")) == "file.toml:5"
    assert place(layer, ("providers", "zai", "oauth", "token_url")) == "file.toml:6"
    assert place(layer, ("ledger", "url")) == "file.toml"
    variables = {("server", "port"): "SERVER__PORT"}
    assert place(Layer("environment", {}, variables=variables), ("server", "port")) == "environment SERVER__PORT"
    assert place(Layer("/x/.env", {}, variables=variables), ("server", "port")) == "/x/.env: SERVER__PORT"


def test_a_message_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load({"server": {"port": "x" * 10_000, "y" * 10_000: 1}}, environ={}, folder=tmp_path)
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize(
    "values",
    [
        {"ledger": {"url": ["hush"]}},
        {"providers": {"zai": {"prefix": "/zai", "base_url": "http://z.test", "api_key": ["hush"]}}},
        {"providers": {"claude_sdk": {"mcp_servers": {"one": "hush"}, "mode": "x"}}},
        {"server": {"auth_token": {"hush": "hush"}}},
    ],
)
def test_no_secret_in_a_message(tmp_path: Path, values: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(values, environ={}, folder=tmp_path)
    assert "hush" not in str(caught.value).replace("auth_token.hush", "")
