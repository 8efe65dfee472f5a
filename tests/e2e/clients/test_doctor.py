"""`ccproxy doctor` as a program: with a proxy that runs and without one."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from ccproxy.cli.doctor import doctor
from tests.e2e.clients.conftest import LIMIT, Environment, at_a_terminal, ccproxy, invoked, port_of, program

pytestmark = pytest.mark.e2e


def findings(*arguments: str, env: Environment) -> tuple[int, dict[str, dict[str, Any]]]:
    done = invoked(doctor, "--offline", "--json", *arguments, env=env)
    assert done.stderr == ""
    return done.exit_code, {each["subject"]: each for each in json.loads(done.stdout)}


def test_a_running_proxy_gets_real_requests(serving: Environment) -> None:
    _, found = findings(env=serving)
    assert found["port"]["severity"] == "ok"
    assert found["request Anthropic Messages"]["what"] == "works, whole and streamed"
    assert {"request OpenAI Chat Completions", "request OpenAI Responses", "python", "files", "clock"} <= set(found)
    assert found["upstreams"]["severity"] == "skipped"


def test_without_a_proxy_the_command_that_starts_it_is_named(env: Environment) -> None:
    code, found = findings(env=env)
    assert code == 0
    assert found["port"]["fix"] == "ccproxy serve"
    assert found["requests"]["severity"] == "skipped"


def test_each_problem_comes_with_its_fix(env: Environment) -> None:
    wrong = {
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port_of(env)}/api/v1",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{port_of(env)}/api",
        "HTTPS_PROXY": "http://proxy.invalid:8080",
        "PROVIDERS__CODEX__AUTH": "oauth",
    }
    code, found = findings(env={**env, **wrong})
    assert code == 1
    assert found["ANTHROPIC_BASE_URL"]["fix"] == f"export ANTHROPIC_BASE_URL=http://127.0.0.1:{port_of(env)}/api"
    assert found["OPENAI_BASE_URL"]["fix"] == f"export OPENAI_BASE_URL=http://127.0.0.1:{port_of(env)}/api/v1"
    assert found["NO_PROXY"]["severity"] == "broken"
    assert "ccproxy auth login-openai" in found["login codex"]["fix"]


def test_a_configuration_that_does_not_load(env: Environment) -> None:
    code, found = findings(env={**env, "SERVER__PORT": "eight"})
    assert code == 1
    assert "SERVER__PORT" in found["configuration"]["what"]


def test_keys_that_others_can_read(env: Environment) -> None:
    config = Path(env["XDG_CONFIG_HOME"]) / "ccproxy" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[providers.codex]\napi_key = "k"\n')
    config.chmod(0o644)
    code, found = findings(env=env)
    assert (code, found["files"]["fix"]) == (1, f"chmod 600 {config}")
    config.chmod(0o600)
    assert findings(env=env)[1]["files"]["severity"] == "ok"


def test_clients_and_their_versions(env: Environment) -> None:
    program(env, "claude", "print('2.1.180 (Claude Code)')")
    program(env, "codex", "print('codex-cli 0.169.0')")
    folder = Path(env["HOME"]) / ".codex"
    folder.mkdir()
    (folder / "config.toml").write_text(
        f'[model_providers.mine]\nbase_url = "http://127.0.0.1:{port_of(env)}/api"\nwire_api = "chat"\n'
    )
    assert "prompt cache" in invoked(doctor, "claude", "--offline", env=env).stdout
    code, found = findings("codex", env=env)
    assert (code, found["codex"]["severity"]) == (1, "ok")
    assert found["codex provider mine"]["severity"] == "broken"
    assert "ccproxy run openai" in findings("openai", env=env)[1]["openai base url"]["fix"]
    assert findings("cursor", env=env)[0] == 1


def test_an_unknown_client(env: Environment) -> None:
    done = invoked(doctor, "emacs", env=env)
    assert done.exit_code == 2
    assert "Known clients: claude" in done.stderr


def test_the_text_has_no_colours_in_a_pipe(env: Environment) -> None:
    done = ccproxy("doctor", "--offline", env=env)
    assert "warn    port" in done.stdout
    assert re.search(r"^ +fix: ccproxy serve$", done.stdout, re.MULTILINE)
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize(("variables", "coloured"), [({"NO_COLOR": "1"}, False), ({}, True)])
def test_a_terminal_gets_colours_unless_it_says_no(variables: dict[str, str], coloured: bool, env: Environment) -> None:
    command = [sys.executable, "-P", "-m", "ccproxy", "doctor", "--offline"]
    process, terminal = at_a_terminal(command, {**env, "TERM": "xterm-256color", **variables})
    seen = b""
    try:
        while piece := os.read(terminal, 65536):
            seen += piece
    except OSError:
        pass  # Linux tells the end of a terminal so
    process.wait(LIMIT)
    os.close(terminal)
    assert b"ccproxy serve" in seen
    assert (b"\x1b[33m" in seen) is coloured
