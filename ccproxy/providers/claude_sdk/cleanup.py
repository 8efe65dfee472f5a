"""The operating system's side of ending a process: what it started, and what it leaves on disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_NOTE = "process"
PROC = Path("/proc")


class Process(NamedTuple):
    """A process of the operating system."""

    pid: int
    parent: int
    state: str
    started: str
    """Distinguishes a process from a later one with the same number."""


def descendants(pid: int) -> list[tuple[int, str]]:
    """The processes below `pid` as (pid, start time)."""
    children: dict[int, list[Process]] = {}
    for process in all_processes():
        children.setdefault(process.parent, []).append(process)
    below: list[tuple[int, str]] = []
    queue = [pid]
    while queue:
        for process in children.get(queue.pop(), ()):
            below.append((process.pid, process.started))
            queue.append(process.pid)
    return below


def kill_survivors(processes: Iterable[tuple[int, str]]) -> None:
    """Kill those of `processes` that still run."""
    targets = set(processes)
    if not targets:
        return
    for process in all_processes():
        if (process.pid, process.started) in targets and process.state != "Z":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, signal.SIGKILL)


def sweep(pid: int | None, config_dir: Path, folder: Path) -> None:
    """Remove what a killed Claude Code leaves: its own folder, and its entry among the running sessions in the configuration folder."""
    shutil.rmtree(folder, ignore_errors=True)
    if pid is None:
        return
    sessions = config_dir / "sessions"
    for path in (sessions / f"{pid}.json", *sessions.glob(f"{pid}.*.key")):
        with contextlib.suppress(OSError):
            path.unlink()


def note_down(pid: int, config_dir: Path, folder: Path) -> None:
    """Write what `sweep` needs into a file, for the next proxy if this one is killed before it can sweep."""
    process = _read(PROC / str(pid))
    lines = [str(pid), process.started if process else "", str(config_dir)]
    (folder / _NOTE).write_text("\n".join(lines), encoding="utf-8")


def sweep_noted(folder: Path) -> None:
    """`sweep` for a proxy that was killed, unless the process lives.

    Raises:
        OSError: there is no note.
        ValueError: `note_down` did not write it.

    """
    pid, started, config_dir = (folder / _NOTE).read_text(encoding="utf-8").split("\n", 2)
    for process in all_processes():
        if process.pid == int(pid) and process.started == (started or process.started) and process.state != "Z":
            return
    sweep(int(pid), Path(config_dir), folder)


def all_processes() -> Iterable[Process]:
    """All processes that can be seen; none on Windows."""
    if not (PROC / "self").exists():
        yield from _all_by_ps()
        return
    for folder in PROC.glob("[0-9]*"):
        process = _read(folder)
        if process is not None:
            yield process


def _read(folder: Path) -> Process | None:
    """From `pid (name) state ppid … starttime …`; the name may hold spaces and brackets.
    https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
    """
    try:
        fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return Process(int(folder.name), int(fields[1]), fields[0], fields[19])


def _all_by_ps() -> Iterable[Process]:
    """Where there is no /proc: macOS. Windows has neither."""
    try:
        ran = subprocess.run(
            ["ps", "-axo", "pid=,ppid=,state=,lstart="],  # noqa: S607 - where ps is differs between systems
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return
    for line in ran.stdout.splitlines():
        pid, parent, state, started = line.split(None, 3)
        yield Process(int(pid), int(parent), state[0], started.strip())
