"""Whether a configuration file found in the current folder may set everything.

The current folder may be somebody else's repository: such a file could send credentials elsewhere (CVE-2026-21852 was that). So until
`ccproxy config trust` says otherwise for exactly this path and content, it may set harmless keys only.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ccproxy.settings.folders import config_dir, private

_HARMLESS_SECTIONS = frozenset({"translate", "pricing"})
_HARMLESS_KEYS = frozenset({("server", "port"), ("server", "log_level")})


def is_trusted(path: Path, content: bytes) -> bool:
    """Whether the user trusts this content at this path."""
    return _read().get(str(path.resolve())) == _digest(content)


def trust(path: Path) -> None:
    """Trust the file at `path` as it is now.

    Raises:
        OSError: the file cannot be read or the list cannot be written.

    """
    entries = _read() | {str(path.resolve()): _digest(path.read_bytes())}
    folder = private(config_dir())
    handle, name = tempfile.mkstemp(dir=folder, prefix=".trusted-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(entries, file, indent=1)
    Path(name).replace(folder / "trusted.json")


def harmless(layer: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Split a layer into what an untrusted file may set and the names of the keys that are left out."""
    kept: dict[str, Any] = {}
    dropped: list[str] = []
    for section, table in layer.items():
        if section in _HARMLESS_SECTIONS or not isinstance(table, Mapping):
            kept[section] = table
            continue
        for key, value in table.items():
            if (section, key) in _HARMLESS_KEYS:
                kept.setdefault(section, {})[key] = value
            elif section == "providers" and isinstance(value, Mapping):
                if "models" in value:
                    kept.setdefault(section, {})[key] = {"models": value["models"]}
                dropped += [f"providers.{key}.{name}" for name in value if name != "models"]
            else:
                dropped.append(f"{section}.{key}")
    return kept, dropped


def _read() -> dict[str, str]:
    try:
        entries = json.loads((config_dir() / "trusted.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # no list, or one that is no JSON: nothing is trusted
    return entries if isinstance(entries, dict) else {}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
