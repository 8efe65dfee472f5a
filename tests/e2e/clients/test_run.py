"""`ccproxy run` with a client program of the test's own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ccproxy.cli.run import run
from tests.e2e.clients.conftest import (
    LIMIT,
    Environment,
    at_a_terminal,
    ccproxy,
    health,
    invoked,
    listens,
    port_of,
    program,
    until,
)

pytestmark = pytest.mark.e2e

Start = Callable[..., subprocess.Popen[str]]

ASKS = """
import json, os, sys, urllib.request
body = json.dumps({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}).encode()
asked = urllib.request.Request(os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages", body, {"x-api-key": os.environ["ANTHROPIC_API_KEY"]})
answer = json.load(urllib.request.urlopen(asked))
print(json.dumps({"said": answer["content"][0]["text"], "arguments": sys.argv[1:], "environ": dict(os.environ)}))
sys.exit(7)
"""

WAITS = """
import os, pathlib, signal, sys, time
here = pathlib.Path(sys.argv[1])
seen = []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: (seen.append(int(number)), here.joinpath("seen").write_text(str(seen))))
here.joinpath("ready").write_text(os.environ["ANTHROPIC_BASE_URL"])
while not here.joinpath("go").exists():
    time.sleep(0.02)
sys.exit(9)
"""


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `ccproxy run ARGUMENTS`; what a failed test leaves behind is ended."""
    started: list[subprocess.Popen[str]] = []

    def begin(env: Environment, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-P", "-m", "ccproxy", "run", *arguments]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen(command, env=env, cwd=env["HOME"], text=True, start_new_session=True, **pipes))  # type: ignore[call-overload]
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def places(env: Environment, *names: str) -> list[Path]:
    found = [Path(env["HOME"]).parent / "work" / name for name in names]
    for folder in found:
        folder.mkdir()
    return found


def test_starts_a_proxy_tells_the_client_and_stops_it_afterwards(env: Environment) -> None:
    asks = program(env, "asks", ASKS)
    secrets = {
        "PROVIDERS__CLAUDE_API__API_KEY": "very-secret",
        "PROVIDERS__CLAUDE_SDK__ENV": '{"NAME": "very-secret"}',
        "PROVIDERS__CLAUDE_SDK__MCP_SERVERS__ONE__ENV__NAME": "very-secret",
        "LEDGER__URL": f"sqlite:///{env['HOME']}/very-secret.db",
        "PROVIDERS__CODEX__BASE_URL": "http://127.0.0.1:1",
    }
    done = ccproxy(
        "run", asks, "--format", "anthropic", "--via", "mock", "--", "-x", "two words", env={**env, **secrets}
    )
    assert done.returncode == 7, done.stderr
    told = json.loads(done.stdout)
    assert told["said"] == "You said: hello"
    assert told["arguments"] == ["-x", "two words"]
    assert told["environ"]["ANTHROPIC_BASE_URL"] == f"http://127.0.0.1:{port_of(env)}/mock"
    assert "127.0.0.1" in told["environ"]["NO_PROXY"]
    assert "very-secret" not in done.stdout
    assert told["environ"]["PROVIDERS__CODEX__BASE_URL"] == "http://127.0.0.1:1"
    assert done.stderr == ""
    assert not listens(port_of(env))
    folder = Path(env["XDG_DATA_HOME"]) / "ccproxy" / "run" / f"port-{port_of(env)}"
    assert sorted(each.name for each in folder.iterdir()) == ["door.lock", "proxy.log"]
    assert (folder / "proxy.log").stat().st_mode & 0o077 == 0


def test_uses_the_proxy_that_runs_and_leaves_it_running(serving: Environment) -> None:
    asks = program(serving, "asks", ASKS)
    done = ccproxy("run", asks, "--format", "anthropic", "--via", "mock", env=serving)
    assert done.returncode == 7, done.stderr
    assert health(port_of(serving)) == 200


def test_two_share_a_proxy_and_the_last_one_stops_it(start: Start, env: Environment) -> None:
    waits = program(env, "waits", WAITS)
    first_at, second_at = places(env, "first", "second")
    first = start(env, waits, "--format", "anthropic", "--via", "mock", "--", str(first_at))
    until(first_at.joinpath("ready").exists, "the first client")
    second = start(env, waits, "--format", "anthropic", "--via", "mock", "--", str(second_at))
    until(second_at.joinpath("ready").exists, "the second client")
    first_at.joinpath("go").touch()
    _, said = first.communicate(timeout=LIMIT)
    assert first.returncode == 9
    assert "continues for another client" in said
    assert health(port_of(env)) == 200
    second_at.joinpath("go").touch()
    _, said = second.communicate(timeout=LIMIT)
    assert (second.returncode, said) == (9, "")
    until(lambda: not listens(port_of(env)), "the end of the proxy")


def test_what_was_left_behind_by_a_kill_is_used_and_then_stopped(start: Start, env: Environment) -> None:
    waits = program(env, "waits", WAITS)
    killed_at, next_at = places(env, "killed", "next")
    killed = start(env, waits, "--format", "anthropic", "--via", "mock", "--", str(killed_at))
    until(killed_at.joinpath("ready").exists, "the client")
    killed.kill()
    killed_at.joinpath("go").touch()
    killed.communicate(timeout=LIMIT)
    assert health(port_of(env)) == 200
    following = start(env, waits, "--format", "anthropic", "--via", "mock", "--", str(next_at))
    next_at.joinpath("go").touch()
    following.communicate(timeout=LIMIT)
    until(lambda: not listens(port_of(env)), "the end of the proxy")


def test_signals_reach_the_client_and_the_end_is_clean(start: Start, serving: Environment) -> None:
    waits = program(serving, "waits", WAITS)
    (at,) = places(serving, "signals")
    running = start(serving, waits, "--format", "anthropic", "--via", "mock", "--", str(at))
    until(at.joinpath("ready").exists, "the client")
    running.send_signal(signal.SIGINT)
    until(at.joinpath("seen").exists, "the first signal")
    running.send_signal(signal.SIGTERM)
    until(lambda: at.joinpath("seen").read_text() == "[2, 15]", "the second signal")
    at.joinpath("go").touch()
    out, said = running.communicate(timeout=LIMIT)
    assert (running.returncode, out, said) == (9, "", "")


def test_a_closed_terminal_ends_the_client_and_then_the_proxy(start: Start, env: Environment) -> None:
    waits = program(env, "waits", WAITS)
    (at,) = places(env, "closed")
    running = start(env, waits, "--format", "anthropic", "--via", "mock", "--", str(at))
    until(at.joinpath("ready").exists, "the client")
    running.send_signal(signal.SIGHUP)
    running.communicate(timeout=LIMIT)
    assert running.returncode == 128 + signal.SIGHUP
    until(lambda: not listens(port_of(env)), "the end of the proxy")


def test_ctrl_c_at_a_terminal_reaches_the_client_once(env: Environment) -> None:
    """The terminal sends the signal to both; the client must not get it twice."""
    waits = program(env, "waits", WAITS)
    (at,) = places(env, "terminal")
    command = [
        sys.executable,
        "-P",
        "-m",
        "ccproxy",
        "run",
        waits,
        "--format",
        "anthropic",
        "--via",
        "mock",
        "--",
        str(at),
    ]
    process, terminal = at_a_terminal(command, env)
    try:
        until(at.joinpath("ready").exists, "the client")
        os.write(terminal, b"\x03")
        until(at.joinpath("seen").exists, "the signal")
        at.joinpath("go").touch()
        assert process.wait(LIMIT) == 9
        assert at.joinpath("seen").read_text() == "[2]"
        assert not listens(port_of(env))
    finally:
        os.close(terminal)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 128 + signal.SIGINT), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_an_end_while_the_proxy_starts_leaves_nothing_behind(
    number: int, code: int, start: Start, env: Environment
) -> None:
    waits = program(env, "waits", WAITS)
    running = start(env, waits, "--format", "anthropic", "--via", "mock", "--", env["HOME"])
    folder = Path(env["XDG_DATA_HOME"]) / "ccproxy" / "run" / f"port-{port_of(env)}"
    until((folder / "proxy.log").exists, "the start of the proxy")
    running.send_signal(number)
    _, said = running.communicate(timeout=LIMIT)
    assert running.returncode == code
    assert "Traceback" not in said
    assert not listens(port_of(env))
    assert sorted(each.name for each in folder.iterdir()) == ["door.lock", "proxy.log"]


def test_a_client_that_dies_of_a_signal_ends_as_shells_tell_it(serving: Environment) -> None:
    dies = program(serving, "dies", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)")
    assert ccproxy("run", dies, "--format", "openai", "--via", "mock", env=serving).returncode == 128 + signal.SIGTERM


def test_a_port_that_somebody_else_has(start: Start, env: Environment) -> None:
    asks = program(env, "asks", ASKS)
    with socket.create_server(("127.0.0.1", port_of(env))) as server:
        server.settimeout(LIMIT)
        done = start(env, asks, "--format", "anthropic", "--via", "mock")
        for _ in range(4):  # each look connects twice: to see whether anybody listens, and to ask
            connection, _ = server.accept()
            connection.sendall(b"SSH-2.0-something\r\n")
            connection.close()
        _, said = done.communicate(timeout=LIMIT)
    assert done.returncode == 1
    assert f"127.0.0.1:{port_of(env)} is in use by another program" in said
    assert "--port" in said


def test_a_proxy_with_another_token(serving: Environment, env: Environment) -> None:
    asks = program(env, "asks", ASKS)
    locked = {**env, "SERVER__AUTH_TOKEN": "tok"}
    server = subprocess.Popen(
        [sys.executable, "-P", "-m", "ccproxy", "serve"],
        env=locked,
        cwd=env["HOME"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: listens(port_of(env)), "the proxy")
        done = ccproxy("run", asks, "--format", "anthropic", "--via", "mock", env=env)
        assert done.returncode == 1
        assert "requires another token. Set server.auth_token" in done.stderr
        done = ccproxy("run", asks, "--format", "anthropic", "--via", "mock", env=locked)
        assert done.returncode == 7, done.stderr
        assert "SERVER__AUTH_TOKEN" not in json.loads(done.stdout)["environ"]
        done = ccproxy("run", "curl", "--via", "mock", "--", "-s", "/v1/models", env=locked)
        assert json.loads(done.stdout)["data"], done.stderr
    finally:
        server.terminate()
        server.wait(LIMIT)


def test_a_proxy_with_another_configuration(serving: Environment) -> None:
    asks = program(serving, "asks", ASKS)
    other = {**serving, "PROVIDERS__MOCK__PREFIX": "/elsewhere"}
    done = ccproxy("run", asks, "--format", "anthropic", "--via", "mock", env=other)
    assert done.returncode == 1
    assert "runs with another configuration, without mock at /elsewhere" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["claude", "--via", "mock"], 2, "claude is not on PATH. Install Claude Code first"),
        (["emacs"], 2, "Unknown client 'emacs'"),
        (["asks", "--format", "anthropic", "--via", "gemini"], 2, "Unknown provider 'gemini'"),
        (["asks", "--format", "anthropic", "--via", "codex"], 1, "ccproxy auth login-openai"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_started(
    arguments: list[str], code: int, says: str, env: Environment
) -> None:
    program(env, "asks", ASKS)
    done = invoked(run, *arguments, env={**env, "PATH": str(Path(env["HOME"]).parent / "bin")})
    assert done.exit_code == code
    assert says in done.stderr
    assert not (Path(env["XDG_DATA_HOME"]) / "ccproxy" / "run").exists()


def test_a_proxy_that_does_not_start_tells_why_and_where_its_log_is(env: Environment) -> None:
    asks = program(env, "asks", ASKS)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        web = {"SERVER__WEB": "true", "SERVER__WEB_PORT": str(taken.getsockname()[1])}
        done = ccproxy("run", asks, "--format", "anthropic", "--via", "mock", env={**env, **web})
    assert done.returncode == 1
    assert "The proxy did not start" in done.stderr
    log = Path(env["XDG_DATA_HOME"]) / "ccproxy" / "run" / f"port-{port_of(env)}" / "proxy.log"
    assert str(log) in done.stderr
    assert log.read_text().strip().splitlines()[-1] in done.stderr


def test_claude_codes_own_settings_are_warned_of(serving: Environment) -> None:
    program(serving, "claude", "print('ran')")
    folder = Path(serving["HOME"]) / ".claude"
    folder.mkdir()
    (folder / "settings.json").write_text('{"env": {"ANTHROPIC_BASE_URL": "https://elsewhere.invalid"}}')
    done = ccproxy("run", "claude", "--via", "mock", env=serving)
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert "settings.json sets ANTHROPIC_BASE_URL" in done.stderr


def test_no_module_of_the_current_folder_is_run(env: Environment) -> None:
    """The current folder may be somebody else's repository."""
    asks = program(env, "asks", ASKS)
    for name in ("ccproxy", "typer", "mitmproxy"):
        (Path(env["HOME"]) / f"{name}.py").write_text("raise SystemExit('this is not ccproxy')")
    assert ccproxy("run", asks, "--format", "anthropic", "--via", "mock", env=env).returncode == 7
