"""Where ccproxy keeps what: the platform's own folders (https://platformdirs.readthedocs.io)."""

from __future__ import annotations

from pathlib import Path

from platformdirs import PlatformDirs

_DIRS = PlatformDirs("ccproxy", appauthor=False)


def config_dir() -> Path:
    """Holds `config.toml` and the list of trusted files."""
    return Path(_DIRS.user_config_dir)


def data_dir() -> Path:
    """Holds logins, the ledger, raw logs and mitmproxy's own folder."""
    return Path(_DIRS.user_data_dir)


def runtime_dir() -> Path:
    """Holds what lives as long as a running proxy: the minted token."""
    return data_dir() / "run"


def private(folder: Path) -> Path:
    """Make `folder` and whatever is missing above it, readable by their owner alone.

    Raises:
        OSError: the folder cannot be made.

    """
    for missing in (*reversed([above for above in folder.parents if not above.exists()]), folder):
        missing.mkdir(mode=0o700, exist_ok=True)  # parents=True would give only the last one this mode
    return folder
