"""The operating system's side of ending a process: what it started, and what it leaves on disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterable
from pathlib import Path

_NOTE = "process"


def descendants(pid: int) -> list[tuple[int, str]]:
    """The processes below `pid` as (pid, start time), read from /proc. The start time tells a process from a later one
    with the same number.

    Empty where there is no /proc: there Claude Code alone ends its tools when it is asked to end.
    """
    children: dict[int, list[tuple[int, str]]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        found = _stat(int(entry.parent.name))
        if found is not None:
            children.setdefault(int(found[1]), []).append((int(entry.parent.name), found[19]))
    below: list[tuple[int, str]] = []
    queue = [pid]
    while queue:
        for child in children.get(queue.pop(), ()):
            below.append(child)
            queue.append(child[0])
    return below


def kill_survivors(processes: Iterable[tuple[int, str]]) -> None:
    """Kill those of `processes` that still run."""
    for pid, started in processes:
        if _runs(pid, started):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def sweep(pid: int | None, config_dir: Path, folder: Path) -> None:
    """Remove what a killed Claude Code could not: its own folder, and its entry among the running sessions in the
    configuration folder.
    """
    shutil.rmtree(folder, ignore_errors=True)
    if pid is None:
        return
    sessions = config_dir / "sessions"
    for path in (sessions / f"{pid}.json", *sessions.glob(f"{pid}.*.key")):
        with contextlib.suppress(OSError):
            path.unlink()


def note_down(pid: int, config_dir: Path, folder: Path) -> None:
    """Write down what `sweep` needs to know, for a proxy that is killed before it can sweep."""
    found = _stat(pid)
    lines = [str(pid), found[19] if found else "", str(config_dir)]
    (folder / _NOTE).write_text("\n".join(lines), encoding="utf-8")


def sweep_noted(folder: Path) -> None:
    """`sweep` in the place of a proxy that was killed.

    :raises OSError: there is no note.
    :raises ValueError: it is none that `note_down` wrote.
    """
    pid, started, config_dir = (folder / _NOTE).read_text(encoding="utf-8").split("\n", 2)
    if started and not _runs(int(pid), started):
        sweep(int(pid), Path(config_dir), folder)


def _runs(pid: int, started: str) -> bool:
    found = _stat(pid)
    return found is not None and found[19] == started and found[0] != "Z"


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on: `pid (name) state ppid … starttime …`; the name may hold spaces
    and brackets. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
