"""`ccproxy env`, as the real shells read its output."""

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
from ccproxy.cli.env import Shell, env, exports
from tests.fakes import ports

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
def free_port() -> int:
    """A port on which nothing listens."""
    return ports.free_port()


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
    minimal = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "ANTHROPIC_API_KEY": "old", "LANG": "C.UTF-8"}
    done = subprocess.run([*bare, feed], env={**minimal, "SCRIPT": script}, capture_output=True, check=True)
    assert not done.stderr, done.stderr.decode()
    return dict(each.split("=", 1) for each in done.stdout.decode().split("\0") if "=" in each)


@pytest.mark.parametrize("shell", list(Shell))
def test_the_shells_read_the_values_unchanged(shell: Shell) -> None:
    variables = [Variable(f"NASTY_{number}", value, "why # not") for number, value in enumerate(NASTY)]
    variables.append(Variable("ANTHROPIC_API_KEY", None, "removed"))
    values = printed(shell.value, "\n".join(exports(variables, fish=shell is Shell.FISH)))
    assert [values[f"NASTY_{number}"] for number in range(len(NASTY))] == NASTY
    assert "ANTHROPIC_API_KEY" not in values


@given(value=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40))
def test_bash_words_are_one_word(value: str) -> None:
    import shlex

    line = next(line for line in exports([Variable("X", value, "why")], fish=False) if not line.startswith("#"))
    assert shlex.split(line) == ["export", f"X={value}"]


def test_each_variable_has_its_comment(free_port: int) -> None:
    lines = invoke("claude", "--via", "mock", "--port", str(free_port), SHELL="/bin/bash").stdout.splitlines()
    comment = ""
    for line in lines:
        if line.startswith("#"):
            comment = line
        else:
            assert comment, f"no comment before {line}"
    assert f"# Nothing is listening on 127.0.0.1:{free_port}. Start ccproxy with: ccproxy serve" in lines


@pytest.mark.parametrize(
    ("login_shell", "line"),
    [
        ("/usr/bin/fish", "set -gx ANTHROPIC_MODEL 'm'"),
        ("/bin/zsh", "export ANTHROPIC_MODEL=m"),
        ("/bin/ksh", "export ANTHROPIC_MODEL=m"),
    ],
)
def test_the_exports_have_the_syntax_of_the_users_shell(login_shell: str, line: str, free_port: int) -> None:
    assert (
        line
        in invoke(
            "claude", "--via", "mock", "--model", "m", "--port", str(free_port), SHELL=login_shell
        ).stdout.splitlines()
    )


@pytest.mark.parametrize("shell", list(Shell))
def test_codex_becomes_a_function_that_forwards_its_arguments(shell: Shell, free_port: int, tmp_path: Any) -> None:
    codex = tmp_path / "codex"
    codex.write_text('#!/bin/sh\nfor word in "$@"; do printf "%s\\n" "$word"; done\n')
    codex.chmod(0o755)
    program = shutil.which(shell.value)
    if program is None:
        pytest.skip(f"{shell.value} is not installed")
    script = invoke("codex", "--via", "mock", "--shell", shell.value, "--port", str(free_port)).stdout
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


def test_json_has_variables_and_arguments(free_port: int) -> None:
    body = json.loads(invoke("codex", "--via", "mock", "--json", "--port", str(free_port)).stdout)
    assert body["variables"]["CCPROXY_KEY"] == "ccproxy"
    assert body["arguments"][0] == "-c"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["emacs"], 2, "Unknown client"),
        (["claude", "--via", "gemini"], 2, "Unknown provider 'gemini'"),
        (["claude", "--port", "0"], 2, "Set a fixed port"),
        (["claude", "--via", "codex"], 1, "ccproxy auth login-openai"),
    ],
)
def test_errors_are_reported_on_stderr(arguments: list[str], code: int, says: str, free_port: int) -> None:
    more = [] if "--port" in arguments else ["--port", str(free_port)]
    result = invoke(*arguments, *more)
    assert result.exit_code == code
    assert says in result.stderr
    assert result.stdout == ""
