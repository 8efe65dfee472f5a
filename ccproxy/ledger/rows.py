"""The database behind the ledger's writer: rows go in, old ones go out. For the writer's thread."""

from __future__ import annotations

import errno
import logging
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ccproxy.errors import CcproxyError
from ccproxy.ledger.location import open_engine, sentence
from ccproxy.ledger.records import Record

if TYPE_CHECKING:
    import sqlalchemy as sa

logger = logging.getLogger(__name__)

SWEEP: Final = 6 * 3600.0
"""Seconds between deletions of rows that are older than the retention."""
_TEMPORARY: Final = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EIO, errno.EINTR, errno.EAGAIN}


class Rows:
    """The table of exchanges, opened when the first row is written and again whenever the file is another one."""

    def __init__(self, location: str | Path, retention: timedelta | None) -> None:
        self.location = location
        self._retention = retention
        self._engine: sa.Engine | None = None
        self._file: tuple[Path, tuple[int, int]] | None = None
        self._opened = False
        self._next_sweep = 0.0

    def insert(self, records: list[Record]) -> int:
        """Write records in one transaction, and return how many of them no database would take. Raises whatever goes wrong."""
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
                if not _is_fault_of_a_row(error):
                    raise
                if len(records) == 1:
                    if self._has(engine, records[0]):
                        return 0  # a commit that was confirmed too late, tried again
                    logger.warning("An exchange could not be recorded: %s", sentence(error))
                    return 1
                rejected = sum(self.insert([record]) for record in records)
        except Exception:
            self.close()  # the connection may be what is wrong
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
            self.close()  # moved away or deleted: SQLite would write on to a file that has no name
        if self._engine is None:
            engine = self._engine = open_engine(self.location)
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
        """Delete what is older than the retention, at most every `SWEEP` seconds."""
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
            logger.warning("Old exchanges could not be deleted from the ledger: %s", sentence(error))

    def is_hopeless(self, error: Exception) -> bool:
        """Return whether no later attempt can do better: no place to write, no driver, another program's tables."""
        import sqlalchemy as sa

        if isinstance(error, CcproxyError | ImportError | sa.exc.ArgumentError):
            return True
        return isinstance(error, OSError) and not self._opened and error.errno not in _TEMPORARY

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
        self._engine = self._file = None


def _identity(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_dev, status.st_ino)


def _is_fault_of_a_row(error: Exception) -> bool:
    """Return whether the values are to blame, not the database."""
    import sqlalchemy as sa

    if isinstance(error, sa.exc.StatementError):
        return isinstance(error, sa.exc.IntegrityError | sa.exc.DataError) or not isinstance(error, sa.exc.DBAPIError)
    return isinstance(error, TypeError | ValueError | ArithmeticError | AttributeError)
