"""The folders that ccproxy keeps things in: the platform's own (https://platformdirs.readthedocs.io)."""

from __future__ import annotations

import contextlib
from pathlib import Path

from platformdirs import PlatformDirs

_DIRS = PlatformDirs("ccproxy", appauthor=False)

NO_HOME = Path("/nonexistent/ccproxy")
"""Stands for the folders of a user without a home, as containers have them: nothing is there, and nothing can be made.
https://www.debian.org/doc/debian-policy/ch-opersys.html#non-existent-home-directories
"""


def config_dir() -> Path:
    """Holds `config.toml` and the list of trusted files."""
    return _folder("user_config_dir")


def data_dir() -> Path:
    """Holds logins, the ledger, raw logs and mitmproxy's own folder."""
    return _folder("user_data_dir")


def cache_dir() -> Path:
    """Holds what can be made again."""
    return _folder("user_cache_dir")


def runtime_dir() -> Path:
    """Holds the tokens of running proxies."""
    return data_dir() / "run"


def _folder(kind: str) -> Path:
    """One of the platform's folders. Without a home, older versions of the library return `~/…`, which would be made in
    the current folder.
    """
    try:
        path = Path(getattr(_DIRS, kind))
    except RuntimeError:
        return NO_HOME
    return path if path.is_absolute() else NO_HOME


def private(folder: Path) -> Path:
    """Make `folder` and the missing ones above it, readable by their owner alone.

    Raises:
        OSError: the folder cannot be made.

    """
    if folder.is_dir():
        return folder
    for missing in (*reversed([above for above in folder.parents if not above.exists()]), folder):
        missing.mkdir(mode=0o700, exist_ok=True)  # parents=True would give only the last one this mode
    return folder


def secured(folder: Path) -> Path:
    """Make a folder of ccproxy's own, or close one that is there to others.

    On a read-only home nothing happens: code that needs the folder reports it.
    """
    with contextlib.suppress(OSError):
        private(folder)
        if folder.stat().st_mode & 0o077:
            folder.chmod(0o700)
    return folder
