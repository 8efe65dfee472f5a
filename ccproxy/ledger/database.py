"""Writes records into the ledger's database, from a thread of its own.

`put` hands a record over and returns; it never waits and never raises. The thread collects what comes within a moment,
writes it in one transaction and keeps what it cannot write until the database is back. What the queue cannot hold is
dropped and counted: traffic comes first.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import stat
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ccproxy.errors import CcproxyError, ConfigError
from ccproxy.ledger.records import Record
from ccproxy.settings.folders import private

if TYPE_CHECKING:
    import sqlalchemy as sa

log = logging.getLogger(__name__)

LINGER: Final = 0.2
"""Seconds for which the first record of a batch waits for others."""
BATCH: Final = 500
"""Records in one transaction at most."""
RETRY: Final = (0.25, 0.5, 1.0, 2.0, 5.0)
"""Seconds between attempts on a database that cannot be written."""
SWEEP: Final = 6 * 3600.0
"""Seconds between deletions of what is older than the retention."""


def ledger_location(url: str, data_folder: Path) -> str | Path:
    """`[ledger] url`, or the SQLite file in ccproxy's data folder when that is empty."""
    return url or data_folder / "ledger.sqlite3"


def check_url(url: str) -> None:
    """Raises ConfigError unless `[ledger] url` is one that SQLAlchemy can open with what is installed."""
    import sqlalchemy as sa

    if not url:
        return
    try:
        sa.make_url(url).get_dialect().import_dbapi()
    except (sa.exc.NoSuchModuleError, ImportError) as error:
        raise ConfigError(f"ledger.url: the driver is not installed: {error}") from error
    except sa.exc.ArgumentError as error:
        raise ConfigError("ledger.url: not a database URL, such as postgresql+psycopg://user@host/name") from error


def open_engine(location: str | Path, *, busy_timeout: float = 1.0) -> sa.Engine:
    """The engine of a ledger. A missing SQLite file is made, for its owner alone; raises OSError where it cannot be."""
    import sqlalchemy as sa

    url = sa.URL.create("sqlite", database=str(location)) if isinstance(location, Path) else sa.make_url(location)
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(url, pool_pre_ping=True)
    if url.database and url.database != ":memory:":
        _make_file(Path(url.database))
    engine = sa.create_engine(url, connect_args={"timeout": busy_timeout})

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: Any, _: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")  # readers never wait for the writer
        connection.execute("PRAGMA cache_size=-512")  # KB: rows are appended; the usual 2 MB bring nothing
        connection.execute("PRAGMA synchronous=NORMAL")  # safe in WAL against anything but a power cut

    return engine


def _make_file(path: Path) -> None:
    """Makes an empty file with mode 0600, in folders with mode 0700; SQLite gives its side files the same mode."""
    private(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


class State(StrEnum):
    """What the ledger is doing."""

    READY = "ready"
    WAITING = "waiting"
    """The database cannot be written for now; records are kept, up to a limit."""
    OFF = "off"
    """Switched off for this run: there is no place to write, or a newer ccproxy owns the tables."""
    CLOSED = "closed"


@dataclass(slots=True, frozen=True)
class Status:
    """A look at the ledger, for health and metrics. All counts are since the start."""

    state: State
    queued: int
    written: int
    dropped: int
    """Records lost because the queue was full or the database could not be written until the end."""


class Ledger:
    """The ledger's writer.

        ledger = Ledger(ledger_location(settings.ledger.url, data_folder), retention_days=365)
        ledger.start()
        ledger.put(record)       # microseconds, from any thread
        ledger.close()           # writes what is left

    Nothing is made on disk before the first record.
    """

    def __init__(self, location: str | Path, *, retention_days: int = 365, max_queued: int = 10_000) -> None:
        """`retention_days` of 0 keeps everything."""
        self._limit = max_queued
        self._queue: deque[Record | _Mark] = deque()
        self._some = threading.Event()
        """There is something in the queue."""
        self._urgent = threading.Event()
        """Do not linger: somebody waits, or there is a whole batch."""
        self._held: list[Record] = []  # the writer's own: taken off the queue, not yet written
        self._state = State.READY
        self._written = 0
        self._dropped = 0
        self._overflowing = False
        self._store = _Store(location, timedelta(days=retention_days) if retention_days > 0 else None)
        self._thread = threading.Thread(target=self._run, name="ccproxy-ledger", daemon=True)

    def start(self) -> None:
        """Starts the writer, which imports SQLAlchemy at once, off the event loop."""
        self._thread.start()

    def put(self, record: Record) -> None:
        """Hands a record over. Never waits, never raises."""
        if self._state is State.READY or self._state is State.WAITING:
            queued = len(self._queue)
            if queued + len(self._held) < self._limit:
                self._queue.append(record)
                # A thread that wakes for every record takes more from the event loop than it does itself: it wakes once a batch.
                if not self._some.is_set():
                    self._some.set()
                if queued >= BATCH and not self._urgent.is_set():
                    self._urgent.set()
            else:
                self._overflow()

    def status(self) -> Status:
        return Status(self._state, len(self._queue) + len(self._held), self._written, self._dropped)

    def flush(self, timeout: float = 5.0) -> bool:
        """Waits until all that was put before is written. Says whether it is. Blocks: not for the event loop."""
        return self._mark(_Mark(time.monotonic() + timeout), timeout)

    def close(self, timeout: float = 5.0) -> bool:
        """Writes what is left, trying for `timeout` seconds, and ends the thread. Says whether all was written."""
        written = self._mark(_Mark(time.monotonic() + timeout, last=True), timeout)
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._state = State.CLOSED
        return written

    def _mark(self, mark: _Mark, timeout: float) -> bool:
        if not self._thread.is_alive():
            return False
        self._queue.append(mark)
        self._urgent.set()
        self._some.set()
        mark.reached.wait(timeout + 2)  # an attempt on a locked database may take a while
        return mark.written

    def _overflow(self) -> None:
        self._dropped += 1
        if not self._overflowing:
            self._overflowing = True
            log.warning("the ledger's queue is full (%d): exchanges go unrecorded until it drains", self._limit)

    # Everything below runs in the writer's thread.

    def _run(self) -> None:
        with contextlib.suppress(ImportError):  # the slow imports, before there is anything to write
            import ccproxy.ledger.schema  # noqa: F401

        marks: list[_Mark] = []
        attempts = 0
        due = math.inf
        while not any(mark.last and mark.reached.is_set() for mark in marks):
            marks = [mark for mark in marks if not mark.reached.is_set()]
            items = self._take(due)
            now = time.monotonic()
            fresh = [item for item in items if isinstance(item, _Mark)]
            marks += fresh
            if len(items) > len(fresh):
                self._held += [item for item in items if isinstance(item, Record)]
                due = min(due, now + LINGER)
                if not fresh and now < due and (attempts or len(self._held) < BATCH):
                    continue
            if self._write():
                attempts, due = 0, math.inf
                self._reached(marks, written=self._state is State.READY)
            else:
                now = time.monotonic()
                self._reached([mark for mark in marks if mark.deadline <= now], written=False)
                due = min([now + RETRY[min(attempts, len(RETRY) - 1)], *(mark.deadline for mark in marks)])
                attempts += 1
        if self._held:
            self._dropped += len(self._held)
            log.warning("the last %d exchanges could not be recorded", len(self._held))
        self._store.close()

    def _take(self, due: float) -> list[Record | _Mark]:
        """All that is queued: as soon as there is anything, or, with a time that something is due, then or when it is urgent."""
        if due == math.inf:
            self._some.wait()
        else:
            self._urgent.wait(max(0.0, due - time.monotonic()))
        self._some.clear()
        self._urgent.clear()
        items: list[Record | _Mark] = []
        while self._queue:
            items.append(self._queue.popleft())
        return items

    def _reached(self, marks: list[_Mark], *, written: bool) -> None:
        for mark in marks:
            mark.written = written
            mark.reached.set()

    def _write(self) -> bool:
        """Writes all that is held, unless the ledger is off. False when the database cannot be written for now."""
        try:
            while self._held and self._state is not State.OFF:
                batch = self._held[:BATCH]
                rejected = self._store.insert(batch)
                del self._held[: len(batch)]
                self._written += len(batch) - rejected
                self._dropped += rejected
        except Exception as error:  # noqa: BLE001 - whatever a database, driver or file system raises, traffic goes on
            return self._failed(error)
        self._held.clear()
        if self._state is State.WAITING:
            self._state = State.READY
            log.warning("the ledger is written again; %d exchanges went unrecorded so far", self._dropped)
        if self._overflowing and len(self._queue) < self._limit // 2:
            self._overflowing = False
        return True

    def _failed(self, error: Exception) -> bool:
        """Says once what is wrong. True when there is no use in trying again: the ledger is off then."""
        if self._store.hopeless(error):
            self._state = State.OFF
            self._held.clear()
            log.warning("the ledger is off: %s", sentence(error))
            return True
        if self._state is State.READY:
            self._state = State.WAITING
            log.warning("the ledger cannot be written: %s; exchanges are kept in memory meanwhile", sentence(error))
        return False


class _Mark:
    """A place in the queue: `reached` is set when all before it is written, or given up at `deadline`."""

    def __init__(self, deadline: float, *, last: bool = False) -> None:
        self.reached = threading.Event()
        self.deadline = deadline
        self.last = last
        self.written = False


class _Store:
    """The database behind the writer."""

    def __init__(self, location: str | Path, retention: timedelta | None) -> None:
        self._location = location
        self._retention = retention
        self._engine: sa.Engine | None = None
        self._file: tuple[Path, tuple[int, int]] | None = None
        self._opened = False
        self._next_sweep = 0.0

    def insert(self, records: list[Record]) -> int:
        """Writes records in one transaction, and returns how many no database would take. Raises what went wrong."""
        import sqlalchemy as sa

        from ccproxy.ledger import schema

        try:
            engine = self._open()
            try:
                with engine.begin() as connection:
                    statement = sa.insert(schema.exchanges).compile(dialect=engine.dialect)
                    if getattr(statement, "positional", False):
                        connection.exec_driver_sql(str(statement), [schema.bound_row(record) for record in records])
                    else:
                        connection.execute(sa.insert(schema.exchanges), [schema.row(record) for record in records])
                rejected = 0
            except Exception as error:
                if not _fault_of_a_row(error):
                    raise
                if len(records) == 1:
                    if self._has(engine, records[0]):
                        return 0  # a commit whose answer was lost, tried again
                    log.warning("an exchange could not be recorded: %s", sentence(error))
                    return 1
                rejected = sum(self.insert([record]) for record in records)
        except Exception:
            self.close()  # what is wrong may be wrong with the connection
            raise
        self._sweep(engine)
        return rejected

    def _has(self, engine: sa.Engine, record: Record) -> bool:
        import sqlalchemy as sa

        from ccproxy.ledger.schema import exchanges

        with engine.connect() as connection:
            return connection.scalar(sa.select(sa.true()).where(exchanges.c.flow == record.flow)) is not None

    def _open(self) -> sa.Engine:
        import sqlalchemy as sa

        from ccproxy.ledger import schema

        if self._file and _identity(self._file[0]) != self._file[1]:
            self.close()  # moved away or deleted: SQLite would go on writing to a file that nobody finds
        if self._engine is None:
            engine = self._engine = open_engine(self._location)
            for attempt in range(3):
                try:
                    with engine.begin() as connection:
                        schema.bring_up(connection, datetime.now(UTC))
                    break
                except (sa.exc.IntegrityError, sa.exc.OperationalError, sa.exc.ProgrammingError):
                    if attempt == 2:
                        raise
            self._opened = True
            if engine.dialect.name == "sqlite" and engine.url.database and engine.url.database != ":memory:":
                path = Path(engine.url.database)
                self._file = (path, _identity(path))
        return self._engine

    def _sweep(self, engine: sa.Engine) -> None:
        """Deletes what is older than the retention, every now and then."""
        import sqlalchemy as sa

        from ccproxy.ledger.schema import exchanges

        if self._retention is None or time.monotonic() < self._next_sweep:
            return
        self._next_sweep = time.monotonic() + SWEEP
        try:
            with engine.begin() as connection:
                oldest = datetime.now(UTC) - self._retention
                connection.execute(sa.delete(exchanges).where(exchanges.c.started < oldest))
        except sa.exc.SQLAlchemyError as error:
            log.warning("old exchanges could not be deleted from the ledger: %s", sentence(error))

    def hopeless(self, error: Exception) -> bool:
        """Whether no later attempt can do better: no place to write, no driver, somebody else's tables."""
        import sqlalchemy as sa

        if isinstance(error, CcproxyError | ImportError | sa.exc.ArgumentError):
            return True
        return isinstance(error, OSError) and not self._opened and error.errno not in _PASSING

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
        self._engine = self._file = None


_PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EIO, errno.EINTR, errno.EAGAIN}


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)


def _fault_of_a_row(error: Exception) -> bool:
    """Whether the values are to blame, not the database."""
    import sqlalchemy as sa

    if isinstance(error, sa.exc.StatementError):
        return isinstance(error, sa.exc.IntegrityError | sa.exc.DataError) or not isinstance(error, sa.exc.DBAPIError)
    return isinstance(error, TypeError | ValueError | ArithmeticError | AttributeError)


def sentence(error: Exception) -> str:
    """An error in one line, without the statement and values that SQLAlchemy adds."""
    lines = str(getattr(error, "orig", None) or error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
