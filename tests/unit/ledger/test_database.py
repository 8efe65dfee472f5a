"""The ledger's writer on a real SQLite file: nothing lost, nobody harmed."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from ccproxy.ledger import rows as rows_module, schema
from ccproxy.ledger.database import Ledger, State
from ccproxy.ledger.location import open_engine
from ccproxy.ledger.records import Outcome, Record
from ccproxy.translate.formats import Format
from ccproxy.translate.usage import Tokens, Usage

Make = Callable[..., Record]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "ledger.sqlite3"


@pytest.fixture
def start() -> Iterator[Callable[..., Ledger]]:
    """Starts ledgers and closes them after the test."""
    ledgers = []

    def start(location: Path | str, **options: Any) -> Ledger:
        ledger = Ledger(location, **options)
        ledger.start()
        ledgers.append(ledger)
        return ledger

    yield start
    for ledger in ledgers:
        ledger.close(timeout=10)
    assert "ccproxy-ledger" not in {thread.name for thread in threading.enumerate()}


def rows(path: Path, query: str = "SELECT * FROM exchanges ORDER BY flow") -> list[sqlite3.Row]:
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def count(path: Path) -> int:
    return int(rows(path, "SELECT count(*) FROM exchanges")[0][0])


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.01)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [entry.getMessage() for entry in caplog.records if entry.levelno >= logging.WARNING]


def test_a_record_and_its_row(path: Path, start: Callable[..., Ledger], record: Make) -> None:
    ledger = start(path)
    full = record(
        flow="f-1",
        started=datetime(2026, 11, 22, 1, 2, 3, 456789, tzinfo=UTC),
        client_format=Format.OPENAI_CHAT,
        streamed=True,
        model_asked="claude-opus-5-5",
        model_answered="claude-opus-5-5-20260901",
        stop_reason="tool_use",
        usage=Usage(Tokens(1, 2, 3, 4, 5, 6, 7, 8), ((None, Tokens(10)),), "standard", "fast", Decimal("0.1")),
        ttfb_ms=1.5,
        added_ms=0.25,
        session="s",
        price=Decimal("0.000000012500"),
        label="list price, not your bill",
    )
    ledger.put(full)
    ledger.put(record(flow="f-2", client_format=None, status=None, outcome=Outcome.CLIENT_LEFT))
    assert ledger.flush()
    engine = open_engine(path)
    with engine.connect() as connection:
        one, two = connection.execute(sa.select(schema.exchanges).order_by(schema.exchanges.c.flow))
    engine.dispose()
    assert one.started == full.started
    assert one.price == full.price
    assert one.reported_cost == Decimal("0.1")
    assert schema.tokens(one) == Tokens(11, 2, 3, 4, 5, 6, 7, 8)
    assert (one.client_format, one.upstream_format, one.stop, one.streamed) == (
        "openai_chat",
        "anthropic",
        "tool_use",
        True,
    )
    assert (one.service_tier, one.speed, one.session, one.ttfb_ms, one.total_ms) == ("standard", "fast", "s", 1.5, None)
    assert (two.client_format, two.status, two.outcome, two.input, two.price) == (None, None, "client_left", None, None)


def test_every_column_has_a_source(record: Make) -> None:
    assert set(schema.row(record())) == set(schema.exchanges.c.keys())
    assert type(schema.row(record())["outcome"]) is str  # drivers adapt enumerations in their own ways


def test_ten_thousand_records_and_none_lost(path: Path, start: Callable[..., Ledger], record: Make) -> None:
    ledger = start(path)
    for number in range(10_000):
        ledger.put(record(usage=Usage(Tokens(input=number)), price=Decimal(number) / 10**6))
    assert ledger.flush(timeout=30)
    found = rows(
        path, "SELECT count(*) AS n, count(DISTINCT flow) AS flows, sum(input) AS i, sum(price) AS p FROM exchanges"
    )[0]
    assert (found["n"], found["flows"], found["i"]) == (10_000, 10_000, sum(range(10_000)))
    assert found["p"] == sum(range(10_000)) * 10**6
    status = ledger.status()
    assert (status.written, status.queued, status.dropped, status.state) == (10_000, 0, 0, State.READY)


def test_a_record_is_on_disk_within_a_second(path: Path, start: Callable[..., Ledger], record: Make) -> None:
    ledger = start(path)
    ledger.put(record())
    assert ledger.flush()  # the file and the imports are there
    delays = []
    for written in range(2, 7):  # a busy machine may delay one of them
        began = time.monotonic()
        ledger.put(record())
        wait_for(lambda: count(path) == written)  # noqa: B023 - it is waited for here
        delays.append(time.monotonic() - began)
    assert min(delays) < 1


def test_nothing_is_made_before_the_first_record_and_then_for_the_owner_alone(
    path: Path, start: Callable[..., Ledger], record: Make
) -> None:
    ledger = start(path)
    ledger.flush()
    assert not path.parent.exists()
    ledger.put(record())
    assert ledger.flush()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    files = list(path.parent.iterdir())
    assert {file.name for file in files} >= {"ledger.sqlite3", "ledger.sqlite3-wal"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_an_existing_file_that_others_could_read_is_closed_to_them(
    path: Path, start: Callable[..., Ledger], record: Make
) -> None:
    path.parent.mkdir()
    path.touch(mode=0o644)
    ledger = start(path)
    ledger.put(record())
    assert ledger.flush()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_clean_stop_writes_what_is_left(path: Path, record: Make) -> None:
    ledger = Ledger(path)
    ledger.start()
    for _ in range(1234):
        ledger.put(record())
    assert ledger.close()
    assert count(path) == 1234
    ledger.put(record())  # after the end: nothing happens
    assert ledger.status().state is State.CLOSED
    assert not Path(f"{path}-wal").exists()


# A database that says no


def test_a_locked_database_and_back(
    path: Path, start: Callable[..., Ledger], record: Make, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = start(path)
    ledger.put(record())
    assert ledger.flush()
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    for _ in range(700):
        ledger.put(record())
    wait_for(lambda: ledger.status().state is State.WAITING)
    ledger.put(record())
    wait_for(lambda: ledger.status().queued == 701)
    lock.execute("ROLLBACK")
    lock.close()
    assert ledger.flush(timeout=30)
    assert count(path) == 702
    assert ledger.status().state is State.READY
    assert ledger.status().dropped == 0
    assert [text for text in warnings(caplog) if "cannot be written" in text] == [
        f"The ledger cannot be written: {path} is locked by another program. Close that program. Until then exchanges are kept in memory"
    ]


def test_what_the_queue_cannot_hold_is_counted_with_one_warning(
    path: Path, start: Callable[..., Ledger], record: Make, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = start(path, max_queued=100)
    ledger.put(record())
    assert ledger.flush()
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    for _ in range(150):
        ledger.put(record())
    wait_for(lambda: ledger.status().queued + ledger.status().dropped == 150)
    status = ledger.status()
    assert status.dropped in {49, 50}  # the writer may hold one in its hands
    assert len([text for text in warnings(caplog) if "queue is full" in text]) == 1
    lock.execute("ROLLBACK")
    lock.close()
    assert ledger.flush(timeout=30)
    assert count(path) == 151 - status.dropped
    for _ in range(100):
        ledger.put(record())
    assert ledger.flush(timeout=30)
    assert count(path) == 251 - status.dropped


def test_a_full_disk_and_back(
    path: Path,
    start: Callable[..., Ledger],
    record: Make,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SQLite reports a full disk the same way when the file has reached `max_page_count`."""
    pages = 64

    def open_small(location: Path) -> sa.Engine:
        engine = open_engine(location)
        sa.event.listen(engine, "connect", lambda connection, _: connection.execute(f"PRAGMA max_page_count={pages}"))
        return engine

    monkeypatch.setattr(rows_module, "open_engine", open_small)
    ledger = start(path)
    for _ in range(5000):
        ledger.put(record(path="/" + "x" * 500))
    wait_for(lambda: any("full disk" in text for text in warnings(caplog)))
    assert ledger.status().state is State.WAITING
    pages = 1_000_000
    assert ledger.flush(timeout=30)
    assert count(path) == 5000
    assert ledger.status().dropped == 0


def test_a_stop_with_a_dead_database_ends_in_time_and_counts(path: Path, record: Make, caplog: Any) -> None:
    ledger = Ledger(path)
    ledger.start()
    ledger.put(record())
    assert ledger.flush()
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    ledger.put(record())
    began = time.monotonic()
    assert not ledger.close(timeout=0.5)
    assert time.monotonic() - began < 20
    lock.close()
    assert ledger.status().dropped == 1
    assert "The last 1 exchanges could not be recorded" in warnings(caplog)


def test_no_place_to_write_switches_the_ledger_off_with_one_warning(
    tmp_path: Path, start: Callable[..., Ledger], record: Make, caplog: Any
) -> None:
    (tmp_path / "home").write_text("no folder")
    ledger = start(tmp_path / "home" / "data" / "ledger.sqlite3")
    for _ in range(5):
        ledger.put(record())
    assert not ledger.flush()
    for _ in range(5):
        ledger.put(record())
    assert not ledger.flush()
    assert ledger.status().state is State.OFF
    assert len(warnings(caplog)) == 1
    assert warnings(caplog)[0].startswith("The ledger is off: ")


def test_a_file_that_is_no_database_is_left_alone_until_it_is_gone(
    path: Path, start: Callable[..., Ledger], record: Make, caplog: Any
) -> None:
    path.parent.mkdir()
    path.write_bytes(b"somebody's thesis " * 100)
    ledger = start(path)
    ledger.put(record())
    wait_for(lambda: ledger.status().state is State.WAITING)
    assert path.read_bytes() == b"somebody's thesis " * 100
    path.unlink()
    assert ledger.flush(timeout=30)
    assert count(path) == 1


def test_a_deleted_file_is_made_anew(path: Path, start: Callable[..., Ledger], record: Make) -> None:
    ledger = start(path)
    ledger.put(record())
    assert ledger.flush()
    for file in path.parent.iterdir():
        file.unlink()
    ledger.put(record())
    assert ledger.flush()
    assert count(path) == 1


# Rows that say no


def test_a_record_that_no_database_takes_does_not_keep_others_out(
    path: Path, start: Callable[..., Ledger], record: Make, caplog: Any
) -> None:
    ledger = start(path)
    ledger.put(record())
    ledger.put(record(started=datetime(2026, 1, 1)))  # noqa: DTZ001 - the defect that is meant
    ledger.put(record(bytes_in=1 << 70))
    ledger.put(record(provider=None))
    ledger.put(record())
    assert ledger.flush()
    assert count(path) == 2
    assert ledger.status().dropped == 3
    assert len([text for text in warnings(caplog) if "could not be recorded" in text]) == 3


def test_a_record_put_twice_is_one_row(path: Path, start: Callable[..., Ledger], record: Make, caplog: Any) -> None:
    ledger = start(path)
    twice = record()
    ledger.put(twice)
    ledger.put(record())
    ledger.put(twice)
    assert ledger.flush()
    ledger.put(twice)
    assert ledger.flush()
    assert count(path) == 2
    assert not warnings(caplog)


def test_any_text_fits(path: Path, start: Callable[..., Ledger], record: Make, caplog: Any) -> None:
    ledger = start(path)
    ledger.put(record(model_asked="m" * 1000, path="/\x00\ud800é" + "p" * 1000, client="c" * 500, session="\u2028"))
    assert ledger.flush()
    found = rows(path)[0]
    assert found["path"].startswith("/??é")
    assert [len(found[name]) for name in ("model_asked", "path", "client")] == [128, 512, 64]
    assert found["session"] == "?"
    assert not warnings(caplog)


# Time and versions


def test_old_records_go(path: Path, start: Callable[..., Ledger], record: Make) -> None:
    keep = start(path, retention_days=0)
    now = datetime.now(UTC)
    for days in (0, 29, 31, 5000):
        keep.put(record(started=now - timedelta(days=days)))
    assert keep.flush()
    assert count(path) == 4
    keep.close()
    sweeping = start(path, retention_days=30)
    sweeping.put(record(started=now))
    assert sweeping.flush()
    assert count(path) == 3


def test_an_older_ledger_is_brought_up_to_date(
    path: Path, start: Callable[..., Ledger], record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = start(path)
    first.put(record())
    assert first.flush()
    first.close()
    assert rows(path, "SELECT version FROM ccproxy_schema")[0][0] == 1

    def upgrade(connection: sa.Connection) -> None:
        connection.execute(sa.text("ALTER TABLE exchanges ADD COLUMN novelty INTEGER"))

    monkeypatch.setattr(schema, "UPGRADES", (upgrade,))
    for _ in range(2):
        second = start(path)
        second.put(record())
        assert second.flush()
        second.close()
    assert [row[0] for row in rows(path, "SELECT version FROM ccproxy_schema ORDER BY version")] == [1, 2]
    assert "novelty" in rows(path)[0].keys()  # noqa: SIM118 - sqlite3.Row is no mapping
    assert count(path) == 3


def test_a_newer_ledger_is_left_alone(path: Path, start: Callable[..., Ledger], record: Make, caplog: Any) -> None:
    first = start(path)
    first.put(record())
    assert first.flush()
    first.close()
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO ccproxy_schema VALUES (9, 0)")
    connection.commit()
    connection.close()
    second = start(path)
    second.put(record())
    assert not second.flush()
    assert second.status().state is State.OFF
    assert count(path) == 1
    assert "was written by a newer ccproxy" in warnings(caplog)[0]


def test_several_proxies_share_one_file(path: Path, start: Callable[..., Ledger], record: Make, caplog: Any) -> None:
    ledgers = [start(path) for _ in range(4)]
    records = [[record() for _ in range(500)] for _ in ledgers]
    gate = threading.Barrier(len(ledgers))

    def put_all(ledger: Ledger, mine: list[Record]) -> None:
        gate.wait()
        for one in mine:
            ledger.put(one)

    threads = [threading.Thread(target=put_all, args=pair) for pair in zip(ledgers, records, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(ledger.flush(timeout=30) for ledger in ledgers)
    assert count(path) == 2000
    assert len(rows(path, "SELECT * FROM ccproxy_schema")) == 1


# The process dies


WRITER = """
    import itertools, sys, time
    from datetime import UTC, datetime
    from pathlib import Path
    from ccproxy.ledger.database import Ledger
    from ccproxy.ledger.records import Outcome, Record
    from ccproxy.translate.usage import Tokens, Usage

    ledger = Ledger(Path(sys.argv[1]))
    ledger.start()
    for number in itertools.count():
        ledger.put(Record(f"{number:09}", datetime.now(UTC), "mock", "/mock", None, None, "POST", "/", 200,
                          Outcome.FINISHED, usage=Usage(Tokens(input=number))))
        print(number, time.monotonic(), flush=True)
        time.sleep(0.001)
"""


def test_kill_9_under_load_loses_the_last_second_at_most(path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    put: list[tuple[int, float]] = []
    began = None
    for line in child.stdout:
        number, at = line.split()
        put.append((int(number), float(at)))
        began = began or float(at)
        if float(at) - began > 3:
            os.kill(child.pid, signal.SIGKILL)
            break
    put += [(int(n), float(at)) for n, at in (line.split() for line in child.stdout if line.count(" ") == 1)]
    child.stdout.close()
    assert child.wait() == -signal.SIGKILL
    assert rows(path, "PRAGMA integrity_check")[0][0] == "ok"
    written = [row["input"] for row in rows(path)]
    assert written == list(range(len(written))), "a gap"
    last = put[-1][1]
    safe = [number for number, at in put if at < last - 1]
    assert len(safe) > 100
    assert len(written) >= len(safe)


# Other databases


def test_every_statement_compiles_for_postgresql() -> None:
    dialect = postgresql.dialect()
    table = str(sa.schema.CreateTable(schema.exchanges).compile(dialect=dialect))
    assert "price BIGINT" in table
    assert "started BIGINT NOT NULL" in table
    statements = [
        sa.schema.CreateTable(schema.versions),
        *(sa.schema.CreateIndex(index) for index in schema.exchanges.indexes),
        sa.insert(schema.exchanges),
        sa.delete(schema.exchanges).where(schema.exchanges.c.started < datetime.now(UTC)),
        sa.select(sa.func.max(schema.versions.c.version)),
    ]
    for statement in statements:
        assert str(statement.compile(dialect=dialect))


def test_a_missing_driver_switches_the_ledger_off_without_the_password(
    start: Callable[..., Ledger], record: Make, caplog: Any
) -> None:
    ledger = start("oracle9://user:hunter2@127.0.0.1/x")
    ledger.put(record())
    assert not ledger.flush()
    assert ledger.status().state is State.OFF
    assert "hunter2" not in caplog.text


def test_the_slow_libraries_come_late() -> None:
    names = ["records", "clients", "tap", "quota", "pricing", "database", "report", "metrics", "raw_log"]
    code = "import sys\n" + "".join(f"import ccproxy.ledger.{name}\n" for name in names)
    slow = ("sqlalchemy", "genai_prices", "prometheus_client", "brotli", "zstandard", "httpx")
    code += f"print([name for name in {slow} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
