"""Trust in configuration files of the current folder.

The current folder may be a stranger's repository, and its file could send credentials elsewhere, as in CVE-2026-21852. Until the user runs
`ccproxy config trust` for exactly this path and content, such a file may set harmless keys only.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ccproxy.settings.files import read_file, replace_file
from ccproxy.settings.folders import config_dir, private, secured
from ccproxy.settings.locks import locked

_HARMLESS_SECTIONS = frozenset({"translate", "pricing"})
_PATIENCE = 10.0  # seconds, until another ccproxy has written the list
_HARMLESS_KEYS = frozenset({("server", "port"), ("server", "log_level")})


def is_trusted(path: Path, content: bytes) -> bool:
    """Whether the user trusts this content at this path."""
    return _read().get(_place(path)) == _digest(content)


def is_changed(path: Path, content: bytes) -> bool:
    """Whether the user trusted another content at this path."""
    return _read().get(_place(path), _digest(content)) != _digest(content)


def trust(path: Path) -> None:
    """Trust the file at `path` as it is now.

    Raises:
        OSError: the file cannot be read or the list cannot be written.

    """
    trust_content(path, read_file(path))


def trust_content(path: Path, content: bytes) -> None:
    """Trust this content at this path, whatever is there now.

    Raises:
        OSError: the list cannot be written.

    """
    folder = private(secured(config_dir()))
    with locked(folder / "trusted.lock", timeout=_PATIENCE):
        entries = _read() | {_place(path): _digest(content)}
        replace_file(folder / "trusted.json", json.dumps(entries, indent=1).encode())


def harmless(layer: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Split a layer into the values that an untrusted file may set and the names of the other keys."""
    allowed: dict[str, Any] = {}
    dropped: list[str] = []
    for section, table in layer.items():
        if section in _HARMLESS_SECTIONS or not isinstance(table, Mapping):
            allowed[section] = table
            continue
        for key, value in table.items():
            if (section, key) in _HARMLESS_KEYS:
                allowed.setdefault(section, {})[key] = value
            elif section == "providers" and isinstance(value, Mapping):
                if "models" in value:
                    allowed.setdefault(section, {})[key] = {"models": value["models"]}
                dropped += [f"providers.{key}.{name}" for name in value if name != "models"]
            else:
                dropped.append(f"{section}.{key}")
    return allowed, dropped


def _read() -> dict[str, str]:
    try:
        entries = json.loads(read_file(config_dir() / "trusted.json"))
    except (OSError, ValueError, RecursionError):
        return {}  # no list, or one that is not JSON: nothing is trusted
    return entries if isinstance(entries, dict) else {}


def _place(path: Path) -> str:
    return os.path.realpath(path)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
