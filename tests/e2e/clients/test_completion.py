"""Shell completion, in the real shells."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.clients.conftest import LIMIT, Environment, at_a_terminal, program

pytestmark = pytest.mark.e2e


@pytest.fixture
def installed(env: Environment) -> Environment:
    """`ccproxy` as a command on PATH."""
    program(
        env,
        "ccproxy",
        "import sys\nsys.path = [p for p in sys.path if not p.endswith('/bin')]\nfrom ccproxy.cli import main\nmain()",
    )
    return {**env, "TERM": "dumb"}


def shell(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def script(name: str, env: Environment) -> str:
    done = subprocess.run(
        ["ccproxy"],
        env={**env, "_CCPROXY_COMPLETE": f"source_{name}"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    )
    return done.stdout


CASES = [
    (["ro"], {"routes"}),
    (["run", "c"], {"claude", "codex", "curl"}),
    (["run", "claude", "--via", "c"], {"claude_api", "codex"}),
    (["doctor", "cu"], {"curl", "cursor"}),
]


def test_bash(installed: Environment) -> None:
    asks = [script("bash", installed)]
    for words, _ in CASES:
        line = " ".join(["ccproxy", *words])
        asks += [
            f'COMP_WORDS=({line}); COMP_CWORD={len(words)}; COMP_LINE="{line}"; COMP_POINT={len(line)}; COMPREPLY=()',
            f'_ccproxy_completion ccproxy "{words[-1]}"; echo ${{COMPREPLY[@]}}',
        ]
    assert answers([shell("bash"), "--norc", "-c", "\n".join(asks)], installed) == [expected for _, expected in CASES]


def test_fish(installed: Environment) -> None:
    asks = [script("fish", installed)]
    asks += [f"echo (complete -C '{' '.join(['ccproxy', *words])}' | string split -f1 \\t)" for words, _ in CASES]
    assert answers([shell("fish"), "--no-config", "-c", "\n".join(asks)], installed) == [
        expected for _, expected in CASES
    ]


def answers(command: list[str], env: Environment) -> list[set[str]]:
    """The words of each line that a shell prints."""
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=LIMIT, check=True)
    return [set(line.split()) for line in done.stdout.splitlines()]


def test_zsh(installed: Environment) -> None:
    """A person presses Tab at an interactive zsh."""
    program_path = shell("zsh")
    folder = Path(installed["HOME"])
    (folder / "completion.zsh").write_text(script("zsh", installed))
    process, terminal = at_a_terminal([program_path, "-f", "-i"], {**installed, "TERM": "vt100"})
    try:
        os.write(terminal, b"PS1='rea''dy> '; autoload -Uz compinit; compinit -u -D; source ./completion.zsh\n")
        read(terminal, b"ready> ")
        os.write(terminal, b"ccproxy run claude --via moc\t")
        read(terminal, b"mock")
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def read(terminal: int, wanted: bytes) -> bytes:
    seen = b""
    deadline = time.monotonic() + LIMIT
    while wanted not in seen:
        left = deadline - time.monotonic()
        ready, _, _ = select.select([terminal], [], [], max(left, 0))
        assert ready, seen
        seen += os.read(terminal, 65536)
    return seen


def test_the_option_that_users_know_shows_the_same_script(installed: Environment) -> None:
    environ = {**installed, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    command = [sys.executable, "-P", "-m", "ccproxy", "--show-completion", "bash"]
    shown = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert shown.stdout.strip() == script("bash", installed).strip(), shown.stderr
