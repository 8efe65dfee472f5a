"""Watching files for `ccproxy serve --reload`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import ccproxy

_INTERVAL = 0.5


async def change(files: Iterable[Path]) -> None:
    """Return when one of these files, or ccproxy's own code, has changed."""
    watched = [*files, Path("ccproxy.toml"), Path(".ccproxy.toml"), Path(".env")]
    before = _stamps(watched)
    while _stamps(watched) == before:
        await asyncio.sleep(_INTERVAL)


def _stamps(files: Iterable[Path]) -> dict[str, int]:
    code = Path(ccproxy.__file__).parent.rglob("*.py")
    stamps = {}
    for path in (*files, *code):
        try:
            stamps[str(path)] = path.stat().st_mtime_ns
        except OSError:
            continue  # not there: its coming is a change
    return stamps
