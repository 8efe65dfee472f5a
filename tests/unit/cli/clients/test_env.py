"""`ccproxy env`: what it prints is what the real shells read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any

import pytest
import typer
from hypothesis import given, strategies as st
from typer.testing import CliRunner, Result

from ccproxy.cli.clients import Variable
from ccproxy.cli.env import Shell, _exports, env
from tests.fakes.ports import free_port

NASTY = [
    "plain",
    "two words",
    "it's",
    'say "hi"',
    "$(touch x)",
    "`id`",
    "back\\slash\\",
    "new\nline",
    "ünï✓",
    "a;b|c&d",
    "!bang",
    "*",
    "~",
    "#",
    "%s",
    "-n",
]


@pytest.fixture
def nobody() -> int:
    """A port on which nobody listens."""
    return free_port()


def invoke(*arguments: str, **environ: str) -> Result:
    app = typer.Typer()
    app.command()(env)
    return CliRunner().invoke(app, list(arguments), env=environ)


def printed(shell: str, script: str) -> dict[str, str]:
    """The environment that a shell has after reading the script."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    bare = {"fish": [program, "--no-config", "-c"], "zsh": [program, "-f", "-c"], "bash": [program, "--norc", "-c"]}[
        shell
    ]
    feed = 'source (printf "%s" $SCRIPT | psub); env -0' if shell == "fish" else 'eval "$SCRIPT"; env -0'
    kept = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "ANTHROPIC_API_KEY": "old", "LANG": "C.UTF-8"}
    done = subprocess.run([*bare, feed], env={**kept, "SCRIPT": script}, capture_output=True, check=True)
    assert not done.stderr, done.stderr.decode()
    return dict(each.split("=", 1) for each in done.stdout.decode().split("\0") if "=" in each)


@pytest.mark.parametrize("shell", list(Shell))
def test_the_shells_read_values_as_they_were(shell: Shell) -> None:
    variables = [Variable(f"NASTY_{number}", value, "why # not") for number, value in enumerate(NASTY)]
    variables.append(Variable("ANTHROPIC_API_KEY", None, "taken away"))
    found = printed(shell.value, "\n".join(_exports(variables, fish=shell is Shell.FISH)))
    assert [found[f"NASTY_{number}"] for number in range(len(NASTY))] == NASTY
    assert "ANTHROPIC_API_KEY" not in found


@given(value=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40))
def test_bash_words_are_one_word(value: str) -> None:
    import shlex

    line = next(line for line in _exports([Variable("X", value, "why")], fish=False) if not line.startswith("#"))
    assert shlex.split(line) == ["export", f"X={value}"]


def test_each_variable_has_its_comment(nobody: int) -> None:
    lines = invoke("claude", "--via", "mock", "--port", str(nobody), SHELL="/bin/bash").stdout.splitlines()
    said = ""
    for line in lines:
        if line.startswith("#"):
            said = line
        else:
            assert said, f"no comment before {line}"
    assert f"# 127.0.0.1:{nobody}: nobody answers there now; start ccproxy with: ccproxy serve" in lines


@pytest.mark.parametrize(
    ("login_shell", "line"),
    [
        ("/usr/bin/fish", "set -gx ANTHROPIC_MODEL 'm'"),
        ("/bin/zsh", "export ANTHROPIC_MODEL=m"),
        ("/bin/ksh", "export ANTHROPIC_MODEL=m"),
    ],
)
def test_the_users_own_shell_is_written_for(login_shell: str, line: str, nobody: int) -> None:
    assert (
        line
        in invoke(
            "claude", "--via", "mock", "--model", "m", "--port", str(nobody), SHELL=login_shell
        ).stdout.splitlines()
    )


@pytest.mark.parametrize("shell", list(Shell))
def test_codex_becomes_a_function_that_passes_its_arguments_on(shell: Shell, nobody: int, tmp_path: Any) -> None:
    codex = tmp_path / "codex"
    codex.write_text('#!/bin/sh\nfor word in "$@"; do printf "%s\\n" "$word"; done\n')
    codex.chmod(0o755)
    program = shutil.which(shell.value)
    if program is None:
        pytest.skip(f"{shell.value} is not installed")
    script = invoke("codex", "--via", "mock", "--shell", shell.value, "--port", str(nobody)).stdout
    call = "\ncodex exec 'two words'\n"
    quiet = {"fish": ["--no-config"], "zsh": ["-f"], "bash": ["--norc"]}[shell.value]
    done = subprocess.run(
        [program, *quiet, "-c", script + call],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    words = done.stdout.splitlines()
    assert words[:2] == ["-c", 'model_provider="ccproxy"']
    assert words[-2:] == ["exec", "two words"]


def test_json_has_variables_and_arguments(nobody: int) -> None:
    body = json.loads(invoke("codex", "--via", "mock", "--json", "--port", str(nobody)).stdout)
    assert body["variables"]["CCPROXY_KEY"] == "ccproxy"
    assert body["arguments"][0] == "-c"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["emacs"], 2, "unknown client"),
        (["claude", "--via", "gemini"], 2, "no provider 'gemini'"),
        (["claude", "--port", "0"], 2, "give ccproxy a port that stays"),
        (["claude", "--via", "codex"], 1, "ccproxy auth login-openai"),
    ],
)
def test_what_is_wrong_is_said_on_stderr(arguments: list[str], code: int, says: str, nobody: int) -> None:
    more = [] if "--port" in arguments else ["--port", str(nobody)]
    result = invoke(*arguments, *more)
    assert result.exit_code == code
    assert says in result.stderr
    assert result.stdout == ""
