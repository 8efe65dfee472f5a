"""Folders that hold keys, logins and records are their owner's alone, with all that is made above them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ccproxy.addons.watchers.record import Recorder
from ccproxy.auth.store import Store
from ccproxy.ledger.location import open_engine
from ccproxy.ledger.raw_log import RawLog
from ccproxy.ledger.traffic import Message, Traffic
from ccproxy.permissions.audit import Audit
from ccproxy.permissions.rules import Rule, save_rule
from ccproxy.providers.claude_sdk.folders import Folders
from ccproxy.redaction import Redaction
from ccproxy.settings.folders import private, secured
from ccproxy.settings.toml_edit import set_key

pytestmark = pytest.mark.skipif(os.name != "posix", reason="this system has no modes")


@pytest.fixture(autouse=True)
def _open_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_every_folder_that_is_made_is_private(tmp_path: Path) -> None:
    made = private(tmp_path / "share" / "ccproxy" / "run")
    assert [each.stat().st_mode & 0o777 for each in (made, *made.parents[:2])] == [0o700] * 3


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert private(tmp_path).stat().st_mode & 0o777 == 0o755


def test_ccproxys_own_folder_is_closed_if_it_stands_open(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert secured(tmp_path).stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert secured(tmp_path / "file" / "below") == tmp_path / "file" / "below"


def raw_log(folder: Path) -> None:
    log = RawLog(folder)
    traffic = Traffic(Redaction(), after_batch=[log.flush])
    traffic.start()
    exchange = traffic.exchange([log.exchange("flow", datetime.now(UTC))])
    exchange.head(Message.CLIENT_REQUEST, "GET / HTTP/1.1", [])
    exchange.close()
    traffic.close()


def logins(folder: Path) -> None:
    with Store(folder).lock("claude_api"):
        pass


MAKERS: dict[str, Callable[[Path], object]] = {
    "the ledger": lambda folder: open_engine(folder / "ledger.sqlite3").dispose(),
    "the audit": lambda folder: Audit(folder / "permissions.jsonl").put({"tool": "Bash"}),
    "the raw log": raw_log,
    "logins": logins,
    "a recording": lambda folder: asyncio.run(Recorder(folder / "all.flow").done()),
    "a setting": lambda folder: set_key(folder / "config.toml", "server.port", value=1),
    "an empty folder for Claude Code": lambda folder: Folders("plain", "", folder).remove(),
    "a rule": lambda folder: save_rule(folder / "config.toml", Rule("Bash", "allow")),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_whoever_comes_first_makes_them_private(tmp_path: Path, maker: str) -> None:
    """All folders and files that are missing, however deep."""
    MAKERS[maker](tmp_path / "share" / "ccproxy" / "own")
    own = tmp_path / "share" / "ccproxy" / "own"
    made = [own, *own.rglob("*")]
    if maker != "an empty folder for Claude Code":  # in the cache folder, which is everybody's
        made += [own.parent, own.parent.parent]
    assert len(made) >= 3
    assert {path.stat().st_mode & 0o777 for path in made if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in made if path.is_file()} <= {0o600}
