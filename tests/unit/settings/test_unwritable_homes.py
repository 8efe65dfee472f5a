"""A user without a home folder, and homes that cannot be written: requests work, and one line says what does not."""

from __future__ import annotations

import logging
import os
import pwd
from pathlib import Path

import pytest

from ccproxy.auth import setup
from ccproxy.auth.store import StoreError
from ccproxy.errors import ConfigError
from ccproxy.settings import load
from ccproxy.settings.folders import config_dir, data_dir
from tests.fakes.client import message
from tests.fakes.proxy import running
from tests.fakes.upstream import Upstream


def nobody(*_: object) -> object:
    raise KeyError


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setattr(os, "getuid", lambda: 12345)


@pytest.mark.usefixtures("homeless")
def test_a_user_without_a_home_is_told_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for use in (config_dir, data_dir, lambda: load(environ={}), lambda: setup.store("")):
        with pytest.raises(ConfigError, match="set HOME, or XDG_CONFIG_HOME and XDG_DATA_HOME"):
            use()
    with pytest.raises(ConfigError, match=r"auth\.dir is '~/logins', but this user has no home folder"):
        setup.store("~/logins")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def unwritable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders that cannot be made, whoever the user is."""
    (tmp_path / "file").touch()
    for name in ("CONFIG", "DATA", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / "file" / name))
    return tmp_path / "file"


async def test_requests_work_without_a_place_to_write(
    tmp_path: Path, unwritable: Path, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with running(tmp_path, upstream, ledger={"enabled": True}) as proxy:
        assert (await proxy.post("/api/v1/messages", message())).status == 200
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("ccproxy")]
    assert lines
    assert all(str(unwritable) in line for line in lines)
    assert not any("Traceback" in line or "\n" in line for line in lines)


def test_a_login_that_has_no_place_is_explained(unwritable: Path) -> None:
    store = setup.store("")
    with pytest.raises(StoreError, match=r"cannot be made \(Not a directory\): choose another folder.*auth\.dir"), store.lock("codex"):  # fmt: skip
        pass
    assert str(unwritable)
