"""Where the ledger is, how it is opened, and what is said when it cannot be."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from ccproxy.errors import CcproxyError, ConfigError
from ccproxy.ledger.location import check_url, connect_arguments, explained, ledger_location, sentence, sqlite_file

FILE = Path("/data/ledger.sqlite3")


def test_the_location() -> None:
    assert ledger_location("", Path("/data")) == Path("/data/ledger.sqlite3")
    assert ledger_location("postgresql://h/db", Path("/data")) == "postgresql://h/db"


def test_urls_are_checked_at_the_start_and_never_repeated() -> None:
    check_url("")
    check_url("sqlite:////tmp/x.sqlite3")
    for url, message in [("no url", "not a database URL"), ("oracle9://u:hunter2@h/x", "driver is not installed")]:
        with pytest.raises(ConfigError, match=message) as caught:
            check_url(url)
        assert "hunter2" not in str(caught.value)


def test_files() -> None:
    assert sqlite_file(FILE) == FILE
    assert sqlite_file("sqlite:////data/ledger.sqlite3") == FILE
    assert sqlite_file("sqlite://") is None
    assert sqlite_file("sqlite:///:memory:") is None
    assert sqlite_file("postgresql+psycopg://h/db") is None


def operational(message: str) -> sa.exc.OperationalError:
    return sa.exc.OperationalError("INSERT INTO exchanges VALUES (secret)", {}, sqlite3.OperationalError(message))


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (operational("database is locked"), "is locked by another program. Close that program"),
        (operational("file is not a database"), "is not a SQLite database. Move it away"),
        (operational("database disk image is malformed"), "is damaged. Move it away"),
        (operational("database or disk is full"), "is on a full disk. Free some space"),
        (operational("attempt to write a readonly database"), "is read-only. Make it writable, or set ledger.url"),
        (operational("disk I/O error"), "cannot be written (disk I/O error)"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (
            OSError(errno.EACCES, "Permission denied"),
            "cannot be used (Permission denied). Make it readable and writable",
        ),
        (operational("something new"), "cannot be used (OperationalError: something new)"),
        (CcproxyError("was written by a newer ccproxy"), "was written by a newer ccproxy"),
    ],
)
def test_every_problem_names_the_file_and_what_to_do(error: Exception, advice: str) -> None:
    text = explained(error, FILE)
    assert text.startswith(str(FILE))
    assert advice in text
    assert "secret" not in text
    assert "\n" not in text


def test_a_server_is_named_without_its_password() -> None:
    text = explained(
        operational("connection refused\nIs the server running?"), "postgresql+psycopg://me:hunter2@db.example/x"
    )
    assert text == (
        "postgresql+psycopg://me:***@db.example/x: OperationalError: connection refused. Check ledger.url and the server"
    )
    assert "hunter2" not in explained(operational("x"), "me:hunter2@nonsense")


def test_a_server_that_is_silent_is_given_up() -> None:
    limits = connect_arguments(sa.make_url("postgresql+psycopg://h/db"))
    assert limits["connect_timeout"] == 5
    assert "statement_timeout=15000" in limits["options"]
    assert "connect_timeout" not in connect_arguments(sa.make_url("postgresql+psycopg://h/db?connect_timeout=60"))
    assert connect_arguments(sa.make_url("mysql+pymysql://h/db")) == {}


def test_errors_without_words() -> None:
    assert sentence(TimeoutError()) == "TimeoutError"
