"""Checks of the configuration: its files, changed settings, trust and file permissions."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ccproxy.cli.checks.finding import Finding, broken, ok, warn
from ccproxy.settings import Loaded


def unreadable(message: str) -> Finding:
    """Return the finding for a configuration that does not load."""
    return broken(
        "configuration",
        message,
        "ccproxy cannot start with it",
        "correct the named line; ccproxy config schema shows the accepted values",
    )


def sources(loaded: Loaded) -> list[Finding]:
    """Return the file in use, the changed settings with their origins, and the ignored settings."""
    changed = [f"{'.'.join(path)} ({loaded.origin(*path)})" for layer in loaded.layers for path in _paths(layer.values)]
    summary = f"; set: {', '.join(dict.fromkeys(changed))}" if changed else "; every setting has its default"
    findings = [ok("configuration", f"{loaded.file or 'no file'}{summary}")]
    findings += [
        warn(
            "configuration",
            message,
            "a file in a folder that is not yours could send your keys elsewhere",
            "ccproxy config trust, if the folder is yours",
        )
        for message in loaded.warnings
    ]
    return findings


def _paths(values: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterable[tuple[str, ...]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and len(above) < 2:
            yield from _paths(value, (*above, key))
        else:
            yield (*above, key)


@dataclass(frozen=True, slots=True)
class File:
    """An existing file or folder."""

    path: Path
    mode: int
    """Permission bits."""
    is_folder: bool = False
    is_secret: bool = True
    """True if other users must not read it. They must never be able to write it."""


def modes(files: Iterable[File]) -> list[Finding]:
    """Check that other users can neither read secrets nor change what ccproxy trusts."""
    findings = []
    for file in files:
        forbidden = 0o077 if file.is_secret else 0o022
        if file.mode & forbidden:
            mode = "700" if file.is_folder else "600"
            findings.append(
                broken(
                    "files",
                    f"{file.path} has mode {file.mode:03o}",
                    "other users of this machine can read keys or logins in it"
                    if file.is_secret
                    else "other users of this machine can change it",
                    f"chmod {mode} {shlex.quote(str(file.path))}",
                )
            )
    return findings or [ok("files", "only you can read your keys and logins")]
