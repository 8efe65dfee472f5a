from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ccproxy.cli import permissions
from ccproxy.cli.permissions import Board, Endpoint, app, visible
from ccproxy.permissions.broker import PermissionBroker
from ccproxy.permissions.rules import Rule
from ccproxy.settings.runtime import publish
from tests.fakes.permissions_server import PermissionsServer

ROOT = Path(__file__).parents[3]


@pytest.fixture
def saved() -> list[Rule]:
    return []


@pytest.fixture
def server(saved: list[Rule], monkeypatch: pytest.MonkeyPatch) -> Iterator[PermissionsServer]:
    with PermissionsServer(PermissionBroker(remember=saved.append), "the-token") as running:
        monkeypatch.setattr(permissions, "endpoint", lambda: Endpoint(running.url, "the-token"))
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("COLUMNS", "200")
        yield running


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(words))
    return done.exit_code, done.output


def pending(server: PermissionsServer) -> list[dict[str, Any]]:
    return list(server.broker.listing()["pending"])


def test_listing(server: PermissionsServer) -> None:
    assert run("list") == (0, "No requests are waiting. Requests without a rule: ask\n")
    server.ask("Bash", command="rm \x1b[2K\u202ex")
    code, output = run("list")
    assert code == 0
    assert r"rm \u001b[2K\u202ex" in output
    assert "\x1b[2K" not in output
    code, output = run("list", "--json")
    assert json.loads(output)["pending"][0]["tool"] == "Bash"


def test_deciding(server: PermissionsServer, saved: list[Rule]) -> None:
    asking = [server.ask("Bash", command=command) for command in ("git a", "git b", "ls", "pwd")]
    ids = [request["id"] for request in pending(server)]
    assert run("allow", ids[0][:12], "--rule", "Bash(git *)") == (0, "Allowed from now on: Bash(git *)\n")
    assert saved == [Rule("Bash(git *)", "allow")]
    assert run("deny", ids[2], "--message", "No.") == (0, "Denied\n")
    assert run("allow", ids[3], "--input", '{"command": "pwd -P"}') == (0, "Allowed\n")

    async def verdicts() -> list[Any]:
        return [await task for task in asking]

    first, second, third, fourth = server.run(verdicts())
    assert (first.allowed, first.by) == (True, "person")
    assert (second.allowed, second.by) == (True, "rule")
    assert (third.allowed, third.message) == (False, "No.")
    assert fourth.updated_input == {"command": "pwd -P"}


def test_refusals(server: PermissionsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.ask("Bash", command="a")
    server.ask("Bash", command="b")
    assert run("allow", "zzz") == (1, "ccproxy: No waiting request has an id that begins with 'zzz'\n")
    assert run("allow", "") == (1, "ccproxy: More than one waiting request has an id that begins with ''\n")
    assert run("allow", pending(server)[0]["id"], "--input", "{")[0] == 2
    assert run("allow", pending(server)[0]["id"], "--rule", "Bash(")[0] == 1
    assert run("watch") == (
        2,
        "ccproxy: This command needs a terminal. In scripts, use: ccproxy permissions list --json\n",
    )
    monkeypatch.setattr(permissions, "endpoint", lambda: Endpoint(server.url, "guess"))
    assert run("list") == (1, "ccproxy: ccproxy needs its token\n")
    monkeypatch.setattr(permissions, "endpoint", lambda: Endpoint("http://127.0.0.1:9", ""))
    code, output = run("list")
    assert code == 1
    assert "ccproxy serve" in output
    assert len(pending(server)) == 2


def test_the_token_is_read_from_the_file_of_the_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert permissions.endpoint() == Endpoint("http://127.0.0.1:8000", "")
    published = publish("minted", ("127.0.0.1", "::1"), 8000)
    other = publish("of another", ("127.0.0.2",), 8000)
    assert permissions.endpoint() == Endpoint("http://127.0.0.1:8000", "minted")
    assert "minted" not in repr(permissions.endpoint())
    monkeypatch.setenv("SERVER__HOST", "127.0.0.2")
    assert permissions.endpoint() == Endpoint("http://127.0.0.2:8000", "of another")
    monkeypatch.setenv("SERVER__HOST", "[::1]")
    assert permissions.endpoint() == Endpoint("http://[::1]:8000", "minted")
    published.withdraw()
    other.withdraw()
    monkeypatch.setenv("SERVER__AUTH_TOKEN", "configured")
    assert permissions.endpoint() == Endpoint("http://[::1]:8000", "configured")


def request(identifier: str, **arguments: Any) -> dict[str, Any]:
    return {
        "type": "asked",
        "id": identifier,
        "tool": "Bash",
        "input": arguments,
        "description": "",
        "session_id": None,
        "asked_at": 0,
        "expires_at": time.time() + 9,
        "rule": f"Bash({identifier})",
    }


def test_keys_on_the_board() -> None:
    board = Board()
    board.change({"type": "listing", "mode": "ask", "pending": [request("one")]})
    board.change(request("two"))
    assert board.key("a") == ("one", {"decision": "allow"})
    assert board.key("n") is None
    assert board.key("D") == ("two", {"decision": "deny", "remember": "Bash(two)"})
    assert board.key("x") is None
    board.change({"type": "decided", "id": "two", "tool": "Bash", "allowed": False, "by": "person"})
    assert board.key("A") == ("one", {"decision": "allow", "remember": "Bash(one)"})
    board.change({"type": "decided", "id": "one", "tool": "Bash", "allowed": True, "by": "timeout"})
    assert board.key("a") is None
    assert board.note == "Bash allowed by timeout"


def test_no_output_acts_on_the_terminal() -> None:
    assert visible("a\x1b[31mb\rc\u202ed\u200be\tf\ng é 漢") == r"a\u001b[31mb\u000dc\u202ed\u200be\u0009f" + "\ng é 漢"


WATCH = """
import sys
from ccproxy.cli import permissions
where = permissions.Endpoint(sys.argv[1], "the-token")
permissions.endpoint = lambda: where
sys.argv[1:] = ["watch"]
permissions.app()
"""


def test_watching_on_a_real_terminal(server: PermissionsServer, saved: list[Rule]) -> None:
    terminal, inside = pty.openpty()
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    program = subprocess.Popen(
        [sys.executable, "-c", WATCH, server.url], stdin=inside, stdout=inside, stderr=inside, env=env
    )
    os.close(inside)
    shown = ""

    def until(words: str) -> None:
        nonlocal shown
        end = time.monotonic() + 20
        while words not in shown:
            assert time.monotonic() < end, shown[-3000:]
            if select.select([terminal], [], [], 0.1)[0]:
                shown += os.read(terminal, 65536).decode("utf-8", "replace")
        shown = ""

    try:
        until("No requests are waiting")
        first = server.ask("Bash", command="git status")
        until("git status")
        second = server.ask("Write", file_path="/tmp/x", content="one\ntwo")
        os.write(terminal, b"A")
        until("from now on")
        until("Write")
        os.write(terminal, b"d")
        until("No requests are waiting")
        os.write(terminal, b"q")
        assert program.wait(10) == 0
    finally:
        program.kill()
        program.wait()
        os.close(terminal)

    async def verdicts() -> tuple[Any, Any]:
        return await first, await second

    allowed, denied = server.run(verdicts())
    assert (allowed.allowed, denied.allowed) == (True, False)
    assert saved == [Rule("Bash(git status)", "allow")]
