"""The operating system's side of ending a process: its descendants, and what it leaves on disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterable
from pathlib import Path


def descendants(pid: int) -> list[tuple[int, str]]:
    """The processes below `pid` as (pid, start time), read from /proc; the start time tells a process from a later
    one of the same number.

    Empty where there is no /proc: there Claude Code alone ends its tools when it is asked to end.
    """
    children: dict[int, list[tuple[int, str]]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # `pid (name) state ppid … starttime`: the name may hold spaces and brackets.
            # https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
            fields = entry.read_text(errors="replace").rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append((int(entry.parent.name), fields[19]))
    found: list[tuple[int, str]] = []
    queue = [pid]
    while queue:
        for child in children.get(queue.pop(), ()):
            found.append(child)
            queue.append(child[0])
    return found


def kill_survivors(processes: Iterable[tuple[int, str]]) -> None:
    """Kill those of `processes` that still run."""
    for pid, started in processes:
        with contextlib.suppress(OSError, IndexError):
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
            if fields[19] == started and fields[0] != "Z":
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
