"""Locks between processes, on files. They end with the process that holds them, whatever ended that.

Not filelock: importing it adds an audit hook, which every later call into the system pays for.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

HAS_SHARED: Final = sys.platform != "win32"
"""Whether a locked file can be read, and looked at for its lock."""
_PAUSE: Final = 0.02


@contextmanager
def locked(path: Path, *, timeout: float) -> Iterator[None]:
    """Hold the lock of a file, which is made for its owner alone if it is missing.

    Raises:
        TimeoutError: another process has held it for `timeout` seconds.
        OSError: the file cannot be opened, or its file system has no locks.

    """
    with _held(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), time.monotonic() + timeout):
        yield


@contextmanager
def locked_itself(path: Path, *, deadline: float) -> Iterator[None]:
    """Hold the lock of a file that other programs read. On Windows they could not: there is none.

    Raises:
        TimeoutError: another process holds it when `time.monotonic()` reaches `deadline`.
        OSError: the file cannot be opened, or its file system has no locks.

    """
    if not HAS_SHARED:
        yield
        return
    with _held(os.open(path, os.O_RDWR), deadline):
        yield


def try_lock(descriptor: int) -> bool:
    """Lock an open file until it is closed; return False where another process holds it. Raises `OSError`."""
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, 0, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def is_locked(descriptor: int) -> bool:
    """Whether a process holds the lock of an open file. Raises `OSError`."""
    if sys.platform == "win32":
        return True  # see `HAS_SHARED`
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


@contextmanager
def _held(descriptor: int, deadline: float) -> Iterator[None]:
    try:
        while not try_lock(descriptor):
            if time.monotonic() >= deadline:
                raise TimeoutError
            time.sleep(_PAUSE)
        yield
    finally:
        os.close(descriptor)
