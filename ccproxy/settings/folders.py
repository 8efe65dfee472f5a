"""Where ccproxy keeps what: the platform's own folders (https://platformdirs.readthedocs.io)."""

from __future__ import annotations

import contextlib
from pathlib import Path

from platformdirs import PlatformDirs

from ccproxy.errors import ConfigError

_DIRS = PlatformDirs("ccproxy", appauthor=False)


def config_dir() -> Path:
    """Holds `config.toml` and the list of trusted files."""
    return _absolute("user_config_dir")


def data_dir() -> Path:
    """Holds logins, the ledger, raw logs and mitmproxy's own folder."""
    return _absolute("user_data_dir")


def _absolute(name: str) -> Path:
    """One of the platform's folders.

    Raises:
        ConfigError: there is no home folder, as in a container that runs as an unknown user.

    """
    try:
        folder = Path(getattr(_DIRS, name))
    except RuntimeError:  # platformdirs cannot expand ~
        folder = Path()
    if not folder.is_absolute():
        raise ConfigError(
            "There is no home folder: set HOME, or XDG_CONFIG_HOME and XDG_DATA_HOME, to an absolute path"
        )
    return folder


def runtime_dir() -> Path:
    """Holds what lives as long as a running proxy: the minted token."""
    return data_dir() / "run"


def private(folder: Path) -> Path:
    """Make `folder` and whatever is missing above it, readable by their owner alone.

    Raises:
        OSError: the folder cannot be made.

    """
    if folder.is_dir():
        return folder
    for missing in (*reversed([above for above in folder.parents if not above.exists()]), folder):
        missing.mkdir(mode=0o700, exist_ok=True)  # parents=True would give only the last one this mode
    return folder


def secured(folder: Path) -> Path:
    """Create a folder for ccproxy alone, and remove the permissions that an existing folder grants to others.

    On a read-only home nothing happens: the code that needs the folder reports the error.
    """
    with contextlib.suppress(OSError):
        private(folder)
        if folder.stat().st_mode & 0o077:
            folder.chmod(0o700)
    return folder
