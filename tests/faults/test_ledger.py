"""A ledger that cannot be read or written harms no exchange; one line says which file it is and what to do."""

from __future__ import annotations

import re
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ccproxy.ledger.database import MAX_QUEUED, State
from ccproxy.ledger.records import Outcome, Record
from ccproxy.settings.folders import data_dir
from tests.fakes.client import connected, message, request
from tests.fakes.proxy import Proxy, program, running, serving

LEDGER = {"ledger": {"enabled": True}}
MOCK = "/mock/v1/messages"
RECORD = Record("f", datetime.now(UTC), "mock", "/mock", None, None, "POST", "/", 200, Outcome.FINISHED)
PLAIN = {"PROVIDERS__CLAUDE_SDK__ENABLED": "false"}


def file() -> Path:
    return data_dir() / "ledger.sqlite3"


async def usage(proxy: Proxy) -> tuple[int, str, float]:
    """Status, message and seconds of `GET /usage`."""
    began = time.monotonic()
    answer = await proxy.get("/usage?since=all", ("x-ccproxy-token", proxy.host.cli_token))
    return answer.status, answer.message if answer.status >= 400 else "", time.monotonic() - began


def damaged(path: Path) -> None:
    """A database whose tables are overwritten."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE ccproxy_schema (version INTEGER, since INTEGER)")
        connection.execute("CREATE TABLE exchanges (flow TEXT)")
        connection.executemany("INSERT INTO exchanges VALUES (?)", [("x" * 500,)] * 200)
        connection.commit()
    data = bytearray(path.read_bytes())
    data[4096 * 2 :] = b"\xff" * (len(data) - 4096 * 2)
    path.write_bytes(data)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "not a database": (lambda path: path.write_bytes(b"a thesis " * 1000), "is not a SQLite database. Move it away"),
    "damaged": (damaged, "Move it away|cannot be used"),
    "a folder": (Path.mkdir, r"cannot be used \(Is a directory\). Make it readable and writable"),
    "a dangling link": (lambda path: path.symlink_to("/dev/null/nothing"), "cannot be used"),
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_a_ledger_that_cannot_be_read(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    breaks, advice = BROKEN[kind]
    data_dir().mkdir(parents=True, exist_ok=True)
    breaks(file())
    async with running(tmp_path, **LEDGER) as proxy:
        for _ in range(3):
            assert (await proxy.post(MOCK, message())).status == 200
        status, text, seconds = await usage(proxy)
        if kind == "a dangling link":  # as if there were none yet
            assert status in {200, 503}
        else:
            assert status == 503, text
            assert str(file()) in text
            assert re.search(advice, text), text
        assert seconds < 10
        assert (await proxy.post(MOCK, message())).status == 200
        assert (await proxy.get("/metrics")).status == 200
    lines = [record.getMessage() for record in caplog.records if "ledger" in record.getMessage()]
    problems = [line for line in lines if line.startswith(("The ledger is off", "The ledger cannot be written"))]
    assert len(problems) == 1, lines
    assert str(file()) in problems[0]


async def test_a_locked_ledger(tmp_path: Path) -> None:
    async with running(tmp_path, **LEDGER) as proxy:
        ledger = proxy.addon("accounting").ledger
        assert (await proxy.post(MOCK, message())).status == 200
        assert (await usage(proxy))[0] == 200
        with closing(sqlite3.connect(file(), isolation_level=None)) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            lock.execute("PRAGMA locking_mode=EXCLUSIVE")
            assert (await proxy.post(MOCK, message())).status == 200
            with closing(sqlite3.connect(file(), timeout=0)) as probe:
                readable = True
                try:
                    probe.execute("SELECT count(*) FROM exchanges").fetchone()
                except sqlite3.OperationalError:
                    readable = False
            status, text, seconds = await usage(proxy)
            assert (status == 200) is readable  # in WAL mode readers need no lock
            assert seconds < 10  # 17 in the first release
            assert readable or (str(file()) in text and "locked by another program" in text)
            assert ledger.status().dropped == 0
        assert (await usage(proxy))[0] == 200


async def test_what_cannot_be_written_is_bounded_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with running(tmp_path, **LEDGER) as proxy:
        accounting = proxy.addon("accounting")
        assert (await proxy.post(MOCK, message())).status == 200
        assert (await usage(proxy))[0] == 200
        with closing(sqlite3.connect(file(), isolation_level=None)) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            assert (await proxy.post(MOCK, message())).status == 200
            while accounting.ledger.status().state is not State.WAITING:
                assert (await proxy.post(MOCK, message())).status == 200
            for _ in range(MAX_QUEUED + 500):
                accounting.ledger.put(RECORD)
            assert (await proxy.post(MOCK, message())).status == 200
            status = accounting.ledger.status()
            assert status.queued <= MAX_QUEUED + 1
            assert status.dropped >= 500
            metrics = (await proxy.get("/metrics")).body.decode()
            assert "ccproxy_ledger_up 0.0" in metrics
            assert re.search(r"ccproxy_ledger_dropped_total [1-9]", metrics)
    full = [record for record in caplog.records if "queue is full" in record.getMessage()]
    assert len(full) == 1


async def ask(port: int, times: int) -> None:
    for _ in range(times):
        async with connected(port, "127.0.0.1") as client:
            assert (await client.ask(request(MOCK, message(), ("content-type", "application/json")))).status == 200


@pytest.mark.skipif(sys.platform != "linux", reason="limits of the size of files, as Linux has them")
async def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """No file may grow beyond 64 KB: what SQLite then sees is what it sees on a full disk."""
    command = ("sh", "-c", 'ulimit -f 128; exec "$0" "$@"', sys.executable, "-m", "ccproxy")
    async with program(tmp_path, "serve", "--port", "0", command=command, env=PLAIN) as proxy:
        await proxy.says("listens on http://")
        await ask(proxy.port, 300)
        await proxy.says("The ledger cannot be written: .*ledger.sqlite3 .*[Dd]isk")
        await ask(proxy.port, 20)
    assert proxy.output.count("The ledger cannot be written") == 1
    assert "Traceback" not in proxy.output


@pytest.mark.parametrize("variable", ["", "SSL_CERT_FILE"])
async def test_a_home_that_cannot_be_written(tmp_path: Path, variable: str) -> None:
    (tmp_path / "file").touch()
    home = str(tmp_path / "file" / "home")
    (tmp_path / "extra.pem").write_bytes(certificate())
    env = {
        **PLAIN,
        "HOME": home,
        "RAW_LOG__ENABLED": "true",
        **{f"XDG_{name}_HOME": home for name in ("DATA", "CONFIG", "CACHE")},
    }
    if variable:
        env[variable] = str(tmp_path / "extra.pem")
    async with serving(tmp_path, env=env) as proxy:
        await ask(proxy.port, 5)
        line = (await proxy.says("The ledger is off: .*"))[0]
        await proxy.says("The raw HTTP log cannot be written: .*")
        await ask(proxy.port, 5)
    assert home in line
    assert "ledger.url" in line
    assert proxy.output.count("The ledger is off") == proxy.output.count("raw HTTP log cannot be written") == 1
    assert "Traceback" not in proxy.output


def certificate() -> bytes:
    import certifi

    return Path(certifi.where()).read_bytes()


async def test_no_home_at_all(tmp_path: Path) -> None:
    """As in a container that runs as a user whom the system does not know."""
    code = "import pwd\ndef unknown(uid): raise KeyError(uid)\npwd.getpwuid = unknown\nfrom ccproxy.cli import main\nmain()"
    names = ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")
    unset = [argument for name in names for argument in ("-u", name)]
    command = ("env", *unset, sys.executable, "-c", code)
    async with program(tmp_path, "serve", "--port", "0", command=command, env=PLAIN) as proxy:
        assert await proxy.ends() == 2
    assert "There is no home folder: set HOME" in proxy.output
    assert len(proxy.output.splitlines()) == 1
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        ("/just/a/path.sqlite3", 2, "ledger.url is not a database URL, such as sqlite:////path"),
        ("oracle9://x", 2, "ledger.url: the driver is not installed"),
        ("sqlite:////dev/null/ledger.sqlite3", 0, "The ledger is off: /dev/null/ledger.sqlite3 cannot be used"),
        ("sqlite:////dev/full", 0, "The ledger cannot be written: /dev/full"),
    ],
)
async def test_a_wrong_url(tmp_path: Path, url: str, code: int, words: str) -> None:
    async with program(tmp_path, "serve", "--port", "0", env={**PLAIN, "LEDGER__URL": url}) as proxy:
        if code:
            assert await proxy.ends() == code
        else:
            await proxy.says("listens on http://")
            await ask(proxy.port, 3)
            await proxy.says(words)
            await ask(proxy.port, 3)
    assert words in proxy.output
    assert "Traceback" not in proxy.output
