"""The folders of this package: one for temporary files, swept, and an empty one for Claude Code to start in."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from itertools import count
from pathlib import Path

import platformdirs

from ccproxy.providers.claude_sdk.cleanup import sweep_noted

_PREFIX = "ccproxy-claude-"
_LOCK = ".lock"


class Folders:
    """Made before the first process starts, removed with the last. Leftovers of proxies that were killed are removed
    by the next one.
    """

    def __init__(self, mode: str, cwd: str, private: Path | None) -> None:
        """`private` is where the empty working folder is made if `cwd` is empty; by default ccproxy's cache folder."""
        # Not before Claude Code is used: it hooks itself into every audited call of the process.
        from filelock import FileLock

        sweep_leftovers()
        self._root = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock = FileLock(self._root / _LOCK)
        self._lock.acquire(timeout=0)
        self._numbers = count(1)
        self.cwd = (
            Path(cwd).expanduser()
            if cwd
            else self._empty_folder(private or platformdirs.user_cache_path("ccproxy"), mode)
        )

    def next(self) -> Path:
        """The path of a folder for one process, not made yet. Short: Claude Code puts sockets into it."""
        return self._root / f"p{next(self._numbers)}"

    def remove(self) -> None:
        self._lock.release()
        shutil.rmtree(self._root, ignore_errors=True)

    def _empty_folder(self, private: Path, mode: str) -> Path:
        """The same path at every start: Claude Code sends it to the model, and prompt caches need the same words."""
        folder = private / "claude" / mode
        try:
            private.parent.mkdir(parents=True, exist_ok=True)
            for own in (private, folder.parent, folder):  # parents=True would give only the last one this mode
                own.mkdir(mode=0o700, exist_ok=True)
        except OSError:  # a read-only home
            folder = self._root / "cwd"
            folder.mkdir(mode=0o700)
        return folder


def sweep_leftovers() -> None:
    """Remove the temporary folders whose proxy is gone. A running one holds its lock."""
    from filelock import FileLock, Timeout

    for root in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        lock = root / _LOCK
        with contextlib.suppress(OSError):
            if not lock.exists() or (hasattr(os, "getuid") and root.stat().st_uid != os.getuid()):
                continue
            try:
                with FileLock(lock, timeout=0):
                    for folder in root.glob("p*"):
                        with contextlib.suppress(OSError, ValueError):
                            sweep_noted(folder)
                    shutil.rmtree(root, ignore_errors=True)
            except Timeout:
                continue
