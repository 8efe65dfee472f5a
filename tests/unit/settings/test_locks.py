from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ccproxy.settings.locks import is_locked, locked, locked_itself, try_lock

HOLDER = """
import sys
from pathlib import Path
from ccproxy.settings.locks import locked
with locked(Path(sys.argv[1]), timeout=0):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path, timeout=0):
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(TimeoutError), locked(path, timeout=0.05):
            pass
    with locked(path, timeout=0):
        pass


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(TimeoutError), locked(path, timeout=0):
            pass
        holder.kill()
        holder.wait()
    with locked(path, timeout=0):
        pass


def test_a_file_that_others_read(tmp_path: Path) -> None:
    path = tmp_path / "login"
    path.write_text("content")
    with locked_itself(path, deadline=time.monotonic()):
        assert path.read_text() == "content"
        with pytest.raises(TimeoutError), locked_itself(path, deadline=time.monotonic()):
            pass
    with pytest.raises(FileNotFoundError), locked_itself(tmp_path / "absent", deadline=time.monotonic()):
        pass


def test_a_look_at_a_lock_does_not_take_it(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.touch()
    one, two = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
    try:
        assert not is_locked(one)
        assert try_lock(two)
        assert is_locked(one)
        assert not try_lock(one)
    finally:
        os.close(one)
        os.close(two)
