"""The real command line, in an environment and on a port of its own."""

from __future__ import annotations

import http.client
import os
import pty
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from tests.fakes.ports import free_port

ROOT = Path(__file__).parents[3]
LIMIT = 60

Environment = dict[str, str]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, f"waited {LIMIT} s for {what}"
        time.sleep(0.02)


def ccproxy(*arguments: str, env: Environment) -> subprocess.CompletedProcess[str]:
    """`ccproxy ARGUMENTS` to its end."""
    command = [sys.executable, "-P", "-m", "ccproxy", *arguments]
    return subprocess.run(
        command,
        env=env,
        cwd=env["HOME"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


_WITH_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def at_a_terminal(command: list[str], env: Environment) -> tuple[subprocess.Popen[bytes], int]:
    """A program at a terminal of its own; returns the terminal's other end too."""
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _WITH_A_TERMINAL, *command],
        env=env,
        cwd=env["HOME"],
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    )
    os.close(its)
    return process, ours


def invoked(command: Callable[..., None], *arguments: str, env: Environment) -> Result:
    """A command of ccproxy in this process, with nothing of this process's environment."""
    app = typer.Typer()
    app.command()(command)
    removed = dict.fromkeys(set(os.environ) - set(env))
    before = Path.cwd()
    os.chdir(env["HOME"])
    try:
        return CliRunner().invoke(app, list(arguments), env={**removed, **env})
    finally:
        os.chdir(before)


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    """Nothing of the machine's own but Python; programs of the test go into `bin`."""
    return environment(tmp_path)


def environment(folder: Path) -> Environment:
    for name in ("home", "bin", "work"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    home = str(folder / "home")
    return {
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "HOME": home, "XDG_CONFIG_HOME": f"{home}/config", "XDG_DATA_HOME": f"{home}/data",
        "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", "SERVER__PORT": str(free_port()), "PROVIDERS__CLAUDE_SDK__ENABLED": "false",
        "LEDGER__ENABLED": "false",
    }  # fmt: skip


def port_of(env: Environment) -> int:
    return int(env["SERVER__PORT"])


def program(env: Environment, name: str, code: str) -> str:
    """A client program written for the test, in Python."""
    path = Path(env["HOME"]).parent / "bin" / name
    path.write_text(f"#!{sys.executable}\n{code}", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """A proxy that somebody has started, and the environment that it was started in."""
    env = environment(tmp_path_factory.mktemp("serving"))
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "ccproxy", "serve"], env=env, cwd=env["HOME"], stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        until(lambda: listens(port_of(env)), "the proxy")
        yield env
    finally:
        process.terminate()
        process.wait(LIMIT)


def health(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status
    finally:
        connection.close()
