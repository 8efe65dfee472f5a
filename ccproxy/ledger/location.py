"""The ledger's location: how to open it, and what to do when it cannot be opened. Imports SQLAlchemy late."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ccproxy.errors import CcproxyError, ConfigError
from ccproxy.settings.folders import private

if TYPE_CHECKING:
    import sqlalchemy as sa

CONNECT_TIMEOUT: Final = 5
"""Seconds for a connection to a database server."""
_POSTGRESQL: Final = {
    "connect_timeout": CONNECT_TIMEOUT,
    "keepalives_idle": 30,
    "tcp_user_timeout": 15_000,
    "options": "-c statement_timeout=15000 -c lock_timeout=5000 -c idle_in_transaction_session_timeout=30000",
}
"""A server that stops answering must not hold up the writer or a stop (https://www.postgresql.org/docs/current/libpq-connect.html)."""
_ELSEWHERE: Final = "or set ledger.url to another place, or ledger.enabled to false"


def ledger_location(url: str, data_folder: Path) -> str | Path:
    """`[ledger] url`, or the SQLite file in ccproxy's data folder when that is empty."""
    return url or data_folder / "ledger.sqlite3"


def check_url(url: str) -> None:
    """Check that `[ledger] url` is one that SQLAlchemy can open with what is installed.

    Raises:
        ConfigError: it is not.

    """
    import sqlalchemy as sa

    if not url:
        return
    try:
        sa.make_url(url).get_dialect().import_dbapi()
    except (sa.exc.NoSuchModuleError, ImportError) as error:
        raise ConfigError(f"ledger.url: the driver is not installed: {error}") from error
    except (sa.exc.ArgumentError, ValueError) as error:
        raise ConfigError(
            "ledger.url is not a database URL, such as sqlite:////path/to/ledger.sqlite3 or postgresql+psycopg://user@host/name"
        ) from error


def open_engine(location: str | Path, *, busy_timeout: float = 1.0) -> sa.Engine:
    """Make the engine of a ledger. A missing SQLite file is made, for its owner alone.

    Raises:
        OSError: the file cannot be made.

    """
    import sqlalchemy as sa

    url = _url(location)
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(url, pool_pre_ping=True, connect_args=connect_arguments(url))
    if file := _file(url):
        _make_file(file)
    engine = sa.create_engine(url, connect_args={"timeout": busy_timeout})

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: Any, _: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")  # readers never wait for the writer
        connection.execute("PRAGMA cache_size=-512")  # KB: rows are appended; the usual 2 MB bring nothing
        connection.execute("PRAGMA synchronous=NORMAL")  # safe in WAL against anything but a power cut

    return engine


def connect_arguments(url: sa.URL) -> dict[str, Any]:
    """Time limits for a database server, but those that the URL sets itself."""
    if url.get_backend_name() != "postgresql" or url.get_driver_name() not in {"psycopg", "psycopg2"}:
        return {}
    return {name: value for name, value in _POSTGRESQL.items() if name not in url.query}


def sqlite_file(location: str | Path) -> Path | None:
    """The file of a ledger in SQLite; None for another database, or one in memory."""
    return _file(_url(location))


def _url(location: str | Path) -> sa.URL:
    import sqlalchemy as sa

    return sa.URL.create("sqlite", database=str(location)) if isinstance(location, Path) else sa.make_url(location)


def _file(url: sa.URL) -> Path | None:
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return None
    return Path(url.database)


def _make_file(path: Path) -> None:
    """Make an empty file with mode 0600, in folders with mode 0700; SQLite gives its side files the same mode."""
    private(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def sentence(error: Exception) -> str:
    """An error in one line, without the statement and values that SQLAlchemy adds."""
    lines = str(getattr(error, "orig", None) or error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def explained(error: Exception, location: str | Path) -> str:
    """Describe the problem and its solution in one line that names the file or server."""
    import sqlalchemy as sa

    try:
        url = _url(location)
        file = _file(url)
    except (sa.exc.ArgumentError, ValueError):
        return f"ledger.url is not a database URL ({type(error).__name__})"
    if isinstance(error, CcproxyError):
        return f"{file or url.render_as_string(hide_password=True)} {error}"
    if file is None:
        return f"{url.render_as_string(hide_password=True)}: {sentence(error)}. Check ledger.url and the server"
    reason = sentence(error)
    for words, advice in _SQLITE_ADVICE:
        if words in reason:
            return f"{file} {advice}"
    if isinstance(error, OSError):
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            return f"{file}: the disk is full. Free some space"
        reason = error.strerror or reason
    return f"{file} cannot be used ({reason}). Make it readable and writable, {_ELSEWHERE}"


_SQLITE_ADVICE: Final = (
    ("file is not a database", "is not a SQLite database. Move it away, and ccproxy makes a new one"),
    (
        "malformed",
        "is damaged. Move it away, and ccproxy makes a new one; sqlite3's command .recover may save its rows",
    ),
    ("database is locked", "is locked by another program. Close that program"),
    ("disk is full", "is on a full disk. Free some space"),
    ("disk I/O error", "cannot be written (disk I/O error). Check the disk and the limits on file sizes"),
    ("readonly database", f"is read-only. Make it writable, {_ELSEWHERE}"),
)
