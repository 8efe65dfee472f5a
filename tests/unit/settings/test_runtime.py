"""The command line finds the token of the proxy that it talks to, whatever other proxies do."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ccproxy.settings import runtime
from ccproxy.settings.folders import runtime_dir
from ccproxy.settings.runtime import cli_token, new_token, publish, token_file

LOOPBACK = ("127.0.0.1", "::1")


def files() -> list[str]:
    return sorted(path.name for path in runtime_dir().glob("*") if path.name != ".lock")


def test_a_token_lives_as_long_as_its_proxy() -> None:
    token = new_token()
    published = publish(token, LOOPBACK, 8000)
    for host in ("127.0.0.1", "localhost", "::1", "[::1]", "0:0:0:0:0:0:0:1", "LOCALHOST"):
        assert cli_token(host, 8000) == token
    assert cli_token("127.0.0.1", 8001) == cli_token("127.0.0.2", 8000) == ""
    assert token not in repr(published)
    assert {(runtime_dir() / name).stat().st_mode & 0o777 for name in files()} == {0o600}
    assert runtime_dir().stat().st_mode & 0o777 == 0o700
    published.withdraw()
    assert files() == []
    assert cli_token("127.0.0.1", 8000) == ""
    published.withdraw()


def test_proxies_on_one_port_of_two_addresses() -> None:
    one, two = publish("one", LOOPBACK, 8000), publish("two", ("127.0.0.2",), 8000)
    assert (cli_token("127.0.0.1", 8000), cli_token("127.0.0.2", 8000)) == ("one", "two")
    two.withdraw()
    assert (cli_token("127.0.0.1", 8000), cli_token("127.0.0.2", 8000)) == ("one", "")
    one.withdraw()


def test_a_wildcard_is_reached_at_every_address() -> None:
    published = publish("one", ("0.0.0.0",), 8000)
    for host in ("127.0.0.1", "localhost", "192.168.1.2", "0.0.0.0"):
        assert cli_token(host, 8000) == "one"
    published.withdraw()


def test_a_proxy_removes_only_its_own_files() -> None:
    """The first proxy drains while the second already listens on its port."""
    first = publish("first", LOOPBACK, 8000)
    second = publish("second", LOOPBACK, 8000)
    first.withdraw()
    assert cli_token("127.0.0.1", 8000) == "second"
    second.withdraw()
    assert files() == []


KILLED = """
import sys, time
from ccproxy.settings.runtime import publish
publish("of a killed one", ("127.0.0.1", "::1"), int(sys.argv[1]))
print("published", flush=True)
sys.stdin.read()
"""


def killed(port: int) -> None:
    """Publish in a process that is killed, as `kill -9` does."""
    command = [sys.executable, "-c", KILLED, str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"published\n"
        assert cli_token("127.0.0.1", port) == "of a killed one"
        child.send_signal(signal.SIGKILL)
        child.wait()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_what_a_killed_proxy_leaves_is_not_read_and_is_swept() -> None:
    killed(8000)
    assert len(files()) == 2
    killed(8001)  # sweeps what the first has left
    assert files() == ["token-127.0.0.1-8001", "token-__1-8001"]
    assert cli_token("127.0.0.1", 8001) == ""
    (runtime_dir() / "token-8000").write_text("of an earlier version")
    (runtime_dir() / ".token-abc").write_text("half written")
    published = publish("living", LOOPBACK, 8000)
    assert files() == ["token-127.0.0.1-8000", "token-__1-8000"]
    assert cli_token("localhost", 8000) == "living"
    other = publish("other", LOOPBACK, 8001)  # sweeps too, and leaves what lives
    assert (cli_token("127.0.0.1", 8000), cli_token("127.0.0.1", 8001)) == ("living", "other")
    other.withdraw()
    published.withdraw()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"\n"])
def test_a_file_that_holds_no_token(content: bytes) -> None:
    published = publish("token", ("127.0.0.1",), 8000)
    token_file("127.0.0.1", 8000).write_bytes(content)
    assert cli_token("127.0.0.1", 8000) == ""
    published.withdraw()


@pytest.mark.parametrize("host", ["../../x", "a/b", "a\x00b", "..", "fe80::1%eth0"])
def test_no_address_leads_out_of_the_folder(host: str) -> None:
    assert token_file(host, 8000).parent == runtime_dir()
    assert "\x00" not in token_file(host, 8000).name
    assert cli_token(host, 8000) == ""


def test_a_read_only_home_is_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(runtime, "runtime_dir", lambda: tmp_path / "file" / "run")
    published = publish("token", LOOPBACK, 8000)
    (record,) = caplog.records
    assert str(tmp_path / "file" / "run") in record.getMessage()
    assert "server.auth_token" in record.getMessage()
    assert cli_token("127.0.0.1", 8000) == ""
    published.withdraw()
