from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ccproxy.errors import ConfigError
from ccproxy.settings.toml_edit import set_key

KEY = "providers.claude_api.identity"
WRITTEN = """# mine
[server]
port = 8123   # because

[providers.claude_api]
# sonnet only
models = { "gpt-*" = "claude-sonnet" }

[translate]
strict = true
"""


def test_everything_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(WRITTEN)
    path.chmod(0o644)
    assert set_key(path, KEY, value=True)
    assert path.read_text() == WRITTEN.replace('claude-sonnet" }\n', 'claude-sonnet" }\nidentity = true\n')
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set_key(path, KEY, value=False)
    assert path.read_text() == WRITTEN.replace('claude-sonnet" }\n', 'claude-sonnet" }\nidentity = false\n')
    assert [each.name for each in tmp_path.iterdir()] == ["config.toml"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "[providers.claude_api]\nidentity = true\n"),
        ("[providers.codex]\nauth = 'oauth'\n", "[providers.codex]\nauth = 'oauth'\n"),
        ("providers.claude_api.identity = false # no\n", "providers.claude_api.identity = true # no\n"),
        ("[providers]\nclaude_api = {identity = false}\n", "[providers]\nclaude_api = {identity = true}\n"),
        ("[providers.claude_api]\nidentity = 1\n", "[providers.claude_api]\nidentity = true\n"),
    ],
)
def test_however_it_is_spelt(tmp_path: Path, before: str, after: str) -> None:
    import tomllib

    path = tmp_path / "config.toml"
    path.write_text(before)
    assert set_key(path, KEY, value=True)
    assert after in path.read_text()
    assert tomllib.loads(path.read_text())["providers"]["claude_api"]["identity"] is True


def test_nothing_to_change(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("providers.claude_api.identity = true")
    before = path.stat()
    assert not set_key(path, KEY, value=True)
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_a_new_file_is_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "ccproxy" / "config.toml"
    assert set_key(path, "server.port", value=1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "[server]\nport = 1\n"


def test_a_link_stays_one(tmp_path: Path) -> None:
    target, link = tmp_path / "dotfiles.toml", tmp_path / "config.toml"
    target.write_text("")
    link.symlink_to(target)
    set_key(link, KEY, value=True)
    assert link.is_symlink()
    assert "identity = true" in target.read_text()


@pytest.mark.parametrize("text", ["[server\n", "providers = 1\n", "[providers]\nclaude_api = 'x'\n"])
def test_what_cannot_be_changed_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"config\.toml"):
        set_key(path, KEY, value=True)
    assert path.read_text() == text
    assert [each.name for each in tmp_path.iterdir()] == ["config.toml"]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be changed"):
        set_key(tmp_path, KEY, value=True)
