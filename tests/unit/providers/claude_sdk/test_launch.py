from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from ccproxy.errors import Unavailable
from ccproxy.providers.claude_sdk import config
from ccproxy.providers.claude_sdk.config import ClaudeSdkConfig
from ccproxy.providers.claude_sdk.launch import (
    Launch,
    Program,
    build_launch,
    child_environment,
    find_program,
    is_bare,
)
from ccproxy.providers.claude_sdk.request import plan_request
from ccproxy.providers.local import LocalRequest
from ccproxy.settings import keys

PARENT = {
    "HOME": "/home/me",
    "PATH": "/bin",
    "LC_ALL": "C",
    "HTTPS_PROXY": "http://proxy",
    "https_proxy": "http://proxy",
    "REQUESTS_CA_BUNDLE": "/ca.pem",
    "CLAUDE_CONFIG_DIR": "/conf",
    "CLAUDE_CODE_OAUTH_TOKEN": "token",
    "CLAUDE_CODE_USE_BEDROCK": "1",
    "CLAUDECODE": "1",
    "ANTHROPIC_API_KEY": "key",
    "ANTHROPIC_BASE_URL": "http://loop",
    "SERVER__AUTH_TOKEN": "secret",
    "PROVIDERS__CODEX__API_KEY": "secret",
    "EDITOR": "vi",
    "MY__OWN": "x",
}


def test_a_plain_child_gets_what_it_needs_and_no_more() -> None:
    env = child_environment(ClaudeSdkConfig(), PARENT)
    passed = {name for name in env if name in PARENT}
    assert "CCPROXY_AGENT_OF" not in env
    assert passed == {
        "HOME",
        "PATH",
        "LC_ALL",
        "HTTPS_PROXY",
        "https_proxy",
        "CLAUDE_CONFIG_DIR",
        "CLAUDE_CODE_OAUTH_TOKEN",
    }
    assert env["NODE_EXTRA_CA_CERTS"] == "/ca.pem"
    assert env["CLAUDE_CODE_MAX_RETRIES"] == "0"


def test_an_agent_works_in_the_user_s_environment_without_others_settings() -> None:
    env = child_environment(ClaudeSdkConfig(mode="agent", env={"CCPROXY_AGENT_OF": "1"}), PARENT)
    assert env["CCPROXY_AGENT_OF"] == str(os.getpid())
    assert env["EDITOR"] == "vi"
    assert env["MY__OWN"] == "x"
    assert env.keys().isdisjoint(
        {"CLAUDECODE", "CLAUDE_CODE_USE_BEDROCK", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"}
        | {"SERVER__AUTH_TOKEN", "PROVIDERS__CODEX__API_KEY"}
    )


def test_all_sections_of_the_configuration_are_known_without_it() -> None:
    assert keys.SECTIONS == config.SECTIONS


def test_what_is_configured_wins() -> None:
    made = ClaudeSdkConfig(api_key="hidden", base_url="http://up", env={"ANTHROPIC_BASE_URL": "http://other"})
    env = child_environment(made, PARENT)
    assert (env["ANTHROPIC_API_KEY"], env["ANTHROPIC_BASE_URL"]) == ("hidden", "http://other")
    assert "hidden" not in repr(made)
    assert "other" not in repr(made)


@pytest.mark.parametrize(
    ("settings", "bare"),
    [
        ({}, False),
        ({"api_key": "k"}, True),
        ({"env": {"ANTHROPIC_AUTH_TOKEN": "t"}}, True),
        ({"env": {"CLAUDE_CODE_OAUTH_TOKEN": "t"}}, False),
        ({"api_key": "k", "mode": "agent"}, False),
    ],
)
def test_only_a_key_and_a_plain_model_go_bare(settings: dict[str, Any], bare: bool) -> None:
    assert is_bare(ClaudeSdkConfig(**settings)) is bare


def launch(tmp_path: Path, *, mode: Any = "plain", body: dict[str, Any] | None = None, **settings: Any) -> Launch:
    request = LocalRequest({"model": "m", "messages": [{"role": "user", "content": "the prompt"}], **(body or {})})
    return build_launch(
        ClaudeSdkConfig(mode=mode, **settings),
        Program("/bin/claude", bundled=True),
        plan_request(request, mode),
        one_answer=True,
        cwd=tmp_path,
        folder=tmp_path / "p1",
        parent_env=PARENT,
    )


def test_prompts_and_secrets_stand_in_files_that_only_the_user_reads(tmp_path: Path) -> None:
    servers = {"x": {"type": "http", "url": "http://x", "headers": {"authorization": "secret words"}}}
    body = {"system": "secret words", "temperature": 0.5}
    for mode in ("plain", "agent"):
        folder = tmp_path / mode
        folder.mkdir()
        made = launch(folder, mode=mode, body=body, mcp_servers=servers, api_key="secret words")
        assert "secret words" not in " ".join(made.argv)
        assert stat.S_IMODE(made.folder.stat().st_mode) == 0o700
        for file in made.folder.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
        settings = json.loads((made.folder / "settings.json").read_text())
        assert json.loads(settings["env"]["CLAUDE_CODE_EXTRA_BODY"]) == {"temperature": 0.5}


def test_a_plain_model_is_nothing_else(tmp_path: Path) -> None:
    made = launch(tmp_path)
    argv = list(made.argv)
    assert argv[argv.index("--tools") + 1] == ""
    assert "--setting-sources=" in argv
    assert "--strict-mcp-config" in argv
    assert argv[argv.index("--permission-mode") + 1] == "dontAsk"
    assert "--bare" not in argv
    assert not made.has_children


def test_an_agent_has_what_the_settings_say(tmp_path: Path) -> None:
    made = launch(
        tmp_path,
        mode="agent",
        tools=("Bash", "Read"),
        setting_sources=("user",),
        permission_mode="acceptEdits",
        closed=(Path("/own/run"),),
        body={"tools": [{"name": "Bash", "input_schema": {}}, {"name": "a b", "input_schema": {}}]},
    )
    assert {"--tools=Bash,Read", "--setting-sources=user", "--permission-mode=acceptEdits"} <= set(made.argv)
    assert "--disallowedTools=Bash" in made.argv
    assert "--strict-mcp-config" not in made.argv
    settings = json.loads((made.folder / "settings.json").read_text())
    assert settings == {"permissions": {"deny": ["Read(//own/run)", "Edit(//own/run)"]}}
    assert made.has_children


def test_finding_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def program(name: str) -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        return str(path)

    on_path, bundled = program("bin/claude"), program("wheel/claude")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find_program("", tmp_path / "wheel") == Program(bundled, bundled=True)
    assert find_program("", tmp_path / "none") == Program(on_path, bundled=False)
    assert find_program("claude", tmp_path / "wheel") == Program(on_path, bundled=False)
    assert find_program(on_path, tmp_path / "wheel") == Program(on_path, bundled=False)
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    for cli_path in ("", "claude", str(tmp_path / "wheel" / "other")):
        with pytest.raises(Unavailable, match="Claude Code not found"):
            find_program(cli_path, None)
