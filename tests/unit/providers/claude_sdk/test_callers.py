from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ccproxy.providers.claude_sdk import callers
from ccproxy.providers.claude_sdk.callers import asked_by_tool, mark

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is known")

CONNECT = """
import socket, sys
client = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
client.connect((sys.argv[1], int(sys.argv[2])))
print("connected", flush=True)
sys.stdin.read()
"""


@contextmanager
def connection(
    *command: str, host: str = "127.0.0.1", marked: bool
) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """A program that has connected to us, and our end of it."""
    with socket.create_server(
        ("::1" if host == "::1" else "127.0.0.1", 0), family=socket.AF_INET6 if host == "::1" else socket.AF_INET
    ) as server:
        process = subprocess.Popen(
            [*command, sys.executable, "-c", CONNECT, host, str(server.getsockname()[1])],
            env={"PATH": os.environ["PATH"], **(mark() if marked else {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin
        assert process.stdout
        with process, process.stdin, process.stdout:
            ours, _ = server.accept()
            with ours:
                assert process.stdout.readline() == b"connected\n"
                yield process, ours


def ends(ours: socket.socket) -> tuple[tuple[str, int], tuple[str, int]]:
    return ours.getpeername()[:2], ours.getsockname()[:2]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_a_program_that_carries_the_mark_is_a_tool(host: str) -> None:
    for marked in (True, False):
        with connection(host=host, marked=marked) as (_, ours):
            assert asked_by_tool(*ends(ours)) is marked


@pytest.mark.parametrize(
    "command", [("sh", "-c", 'env -i "$@"; :', "sh"), ("setsid", "--fork", "--wait")], ids=["emptied", "detached"]
)
def test_it_is_one_without_its_environment_or_its_parents(command: tuple[str, ...]) -> None:
    with connection(*command, marked=True) as (_, ours):
        assert asked_by_tool(*ends(ours))


def test_one_who_has_left_cannot_say_who_it_was() -> None:
    with connection(marked=False) as (process, ours):
        process.kill()
        process.wait()
        assert asked_by_tool(*ends(ours))


def test_a_connection_that_cannot_be_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    here = ("127.0.0.1", port)
    assert asked_by_tool(("127.0.0.1", 1), here)  # of this machine it must be found
    assert not asked_by_tool(("192.0.2.7", 40000), here)


def test_where_nothing_is_known_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "_TABLES", (Path("/nowhere/tcp"),))
    assert not asked_by_tool(("127.0.0.1", 1), ("127.0.0.1", 2))
