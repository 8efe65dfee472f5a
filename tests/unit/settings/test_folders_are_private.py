"""Folders that hold keys, logins and records are their owner's alone, with all that is made above them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ccproxy.settings.folders import private, secured

pytestmark = pytest.mark.skipif(os.name != "posix", reason="this system has no modes")


def test_every_folder_that_is_made_is_private(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        made = private(tmp_path / "share" / "ccproxy" / "run")
    finally:
        os.umask(before)
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
