"""Writes records into the ledger's database, in a thread of its own.

`put` hands a record over and returns; it never waits and never raises. The thread collects the records of a moment,
writes them in one transaction and keeps what it cannot write until the database is back. What the queue cannot hold is
dropped and counted: traffic comes first.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from ccproxy.ledger.location import explained
from ccproxy.ledger.records import Record
from ccproxy.ledger.rows import Rows

logger = logging.getLogger(__name__)

LINGER: Final = 0.2
"""Seconds for which the first record of a batch waits for others."""
BATCH: Final = 500
"""Records in one transaction at most."""
_ATTEMPT: Final = 2.0
"""Seconds that an attempt on a locked database may take."""
RETRY: Final = (0.25, 0.5, 1.0, 2.0, 5.0)
"""Seconds between attempts on a database that cannot be written."""
REPORT_EVERY: Final = 60.0
"""Seconds for which further problems are not logged: a disk that is nearly full takes some rows and refuses others."""
MAX_QUEUED: Final = 10_000
"""Records that are kept in memory at most."""


class State(StrEnum):
    """The ledger's condition."""

    READY = "ready"
    WAITING = "waiting"
    """The database cannot be written for now; records are kept, up to a limit."""
    OFF = "off"
    """Switched off for this run: there is no place to write, or the tables are a newer ccproxy's."""
    CLOSED = "closed"


@dataclass(slots=True, frozen=True)
class Status:
    """A look at the ledger, for health and metrics. All counts are since the start."""

    state: State
    queued: int
    written: int
    dropped: int
    """Records lost because the queue was full, the ledger is off, or the database could not be written until the end."""


class Ledger:
    """The ledger's writer.

        ledger = Ledger(ledger_location(settings.ledger.url, data_folder), retention_days=365)
        ledger.start()
        ledger.put(record)       # microseconds, from any thread
        ledger.close()           # writes what is left

    Nothing is created on disk before the first record.
    """

    def __init__(self, location: str | Path, *, retention_days: int = 365, max_queued: int = MAX_QUEUED) -> None:
        """`retention_days` of 0 keeps everything."""
        self._limit = max_queued
        self._queue: deque[Record | _Mark] = deque()
        self._some = threading.Event()
        """The queue is not empty."""
        self._urgent = threading.Event()
        """Do not linger: a caller waits, or there is a whole batch."""
        self._held: list[Record] = []  # the writer's own: taken off the queue, not yet written
        self._state = State.READY
        self._written = 0
        self._dropped = 0
        self._overflowing = False
        self._reported = -math.inf  # when the last problem was logged
        self._is_reported = False  # the present one was
        self._rows = Rows(location, timedelta(days=retention_days) if retention_days > 0 else None)
        self._thread = threading.Thread(target=self._run, name="ccproxy-ledger", daemon=True)

    def start(self) -> None:
        """Start the writer, which imports SQLAlchemy at once, off the event loop."""
        self._thread.start()

    def put(self, record: Record) -> None:
        """Hand a record over. Never waits, never raises."""
        if self._state is State.READY or self._state is State.WAITING:
            queued = len(self._queue)
            if queued + len(self._held) < self._limit:
                self._queue.append(record)
                # A thread that wakes for every record costs the event loop more than its own work: it wakes once for each batch.
                if not self._some.is_set():
                    self._some.set()
                if queued >= BATCH and not self._urgent.is_set():
                    self._urgent.set()
            else:
                self._overflow()
        elif self._state is State.OFF:
            self._dropped += 1

    def status(self) -> Status:
        return Status(self._state, len(self._queue) + len(self._held), self._written, self._dropped)

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until everything handed over so far is written. Return whether it is. Blocks: not for the event loop."""
        return self._mark(_Mark(time.monotonic() + timeout), timeout)

    def close(self, timeout: float = 5.0) -> bool:
        """Write what is left, trying for `timeout` seconds, and end the thread. Return whether all was written."""
        deadline = time.monotonic() + timeout
        written = self._mark(_Mark(deadline, last=True), timeout)
        if self._thread.is_alive():
            self._thread.join(max(0.1, deadline + _ATTEMPT - time.monotonic()))
        self._state = State.CLOSED
        return written

    def _mark(self, mark: _Mark, timeout: float) -> bool:
        if not self._thread.is_alive():
            return False
        self._queue.append(mark)
        self._urgent.set()
        self._some.set()
        mark.reached.wait(timeout + _ATTEMPT)
        return mark.written

    def _overflow(self) -> None:
        self._dropped += 1
        if not self._overflowing:
            self._overflowing = True
            logger.warning(
                "The ledger's queue is full (%d exchanges): further ones are not recorded until it drains", self._limit
            )

    # Everything below runs in the writer's thread.

    def _run(self) -> None:
        # The slow imports, before there is anything to write. Without a free descriptor they are repeated then.
        with contextlib.suppress(ImportError, OSError):
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
            logger.warning("The last %d exchanges could not be recorded", len(self._held))
        self._rows.close()

    def _take(self, due: float) -> list[Record | _Mark]:
        """Take everything off the queue: once it is not empty, or, where something is due at a time, then or when it is urgent."""
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
        """Write all that is held, unless the ledger is off. False when the database cannot be written for now."""
        try:
            while self._held and self._state is not State.OFF:
                batch = self._held[:BATCH]
                rejected = self._rows.insert(batch)
                del self._held[: len(batch)]
                self._written += len(batch) - rejected
                self._dropped += rejected
        except Exception as error:  # noqa: BLE001 - whatever a database, driver or file system raises, traffic goes on
            return self._failed(error)
        self._held.clear()
        if self._state is State.WAITING:
            self._state = State.READY
            if self._is_reported:
                self._is_reported = False
                logger.warning("The ledger is written again. %d exchanges have not been recorded", self._dropped)
        if self._overflowing and len(self._queue) < self._limit // 2:
            self._overflowing = False
        return True

    def _failed(self, error: Exception) -> bool:
        """Log the problem once. True when there is no point in trying again: the ledger is off then."""
        problem = explained(error, self._rows.location)
        if self._rows.is_hopeless(error):
            self._state = State.OFF
            self._dropped += len(self._held)
            self._held.clear()
            logger.warning("The ledger is off: %s", problem)
            return True
        if self._state is State.READY:
            self._state = State.WAITING
            if time.monotonic() - self._reported > REPORT_EVERY:
                self._reported = time.monotonic()
                self._is_reported = True
                logger.warning("The ledger cannot be written: %s. Until then exchanges are kept in memory", problem)
        return False


class _Mark:
    """A place in the queue: `reached` is set when everything before it is written, or given up at `deadline`."""

    def __init__(self, deadline: float, *, last: bool = False) -> None:
        self.reached = threading.Event()
        self.deadline = deadline
        self.last = last
        self.written = False
