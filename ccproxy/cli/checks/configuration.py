"""The configuration: which file, what it changes, what is not trusted, and who can read it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ccproxy.cli.checks.finding import Finding, broken, ok, warn
from ccproxy.settings import Loaded


def unreadable(message: str) -> Finding:
    """The configuration does not load."""
    return broken(
        "configuration", message, "ccproxy does not start with it", "mend the line that is named; ccproxy config schema"
    )


def sources(loaded: Loaded) -> list[Finding]:
    """The file in use, what is not at its default and where each of those comes from, and what was ignored."""
    changed = [f"{'.'.join(path)} ({loaded.origin(*path)})" for layer in loaded.layers for path in _paths(layer.values)]
    told = f"; set: {', '.join(dict.fromkeys(changed))}" if changed else "; every setting is at its default"
    found = [ok("configuration", f"{loaded.file or 'no file'}{told}")]
    found += [
        warn(
            "configuration",
            message,
            "somebody else's folder could send your keys elsewhere",
            "ccproxy config trust, if it is yours",
        )
        for message in loaded.warnings
    ]
    return found


def _paths(values: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterable[tuple[str, ...]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and len(above) < 2:
            yield from _paths(value, (*above, key))
        else:
            yield (*above, key)


@dataclass(frozen=True, slots=True)
class File:
    """A file or folder that is there, as `stat` tells it."""

    path: Path
    mode: int
    """Permission bits."""
    is_folder: bool = False
    is_secret: bool = True
    """Whether nobody else may read it; else nobody else may write it."""


def modes(files: Iterable[File]) -> list[Finding]:
    """Whether others on the machine can read what holds secrets, or write what ccproxy believes."""
    found = []
    for file in files:
        forbidden = 0o077 if file.is_secret else 0o022
        if file.mode & forbidden:
            wanted = "700" if file.is_folder else "600"
            found.append(
                broken(
                    "files",
                    f"{file.path} has mode {file.mode:03o}",
                    "other users of this machine can read keys or logins in it"
                    if file.is_secret
                    else "other users of this machine can change it",
                    f"chmod {wanted} {shlex.quote(str(file.path))}",
                )
            )
    return found or [ok("files", "what holds keys and logins is yours alone")]
