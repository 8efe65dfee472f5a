"""The program at the other end of a connection: one that Claude Code has started may not decide about Claude Code's tools.

A token is not enough for that. It is in a file of the user's, and tools run as the user: they can read whatever the user's command line can. But Linux
reports which process holds the other end of a connection on this machine (https://man7.org/linux/man-pages/man5/proc_pid_net.5.html), and whatever Claude
Code starts has a mark in its environment, or an ancestor that does.
"""

from __future__ import annotations

import ipaddress
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ccproxy.providers.claude_sdk.cleanup import PROC, Process, all_processes

Address = tuple[str, int]
"""Host and port."""

_MARK = "CCPROXY_AGENT_OF"
_TABLES = (PROC / "net" / "tcp", PROC / "net" / "tcp6")


class _Socket(NamedTuple):
    uid: int
    inode: int
    """0 if no process holds it any more."""


def mark() -> dict[str, str]:
    """The variable in an agent's environment that all its children inherit."""
    return {_MARK: str(os.getpid())}


def asked_by_tool(client: Address, server: Address) -> bool:
    """Return whether the client's end of a connection is held by a process that runs under Claude Code, or by one of this machine that cannot be
    identified. Always false where there is no /proc.

    Takes some 10 ms: it reads files, so call it in a thread.
    """
    try:
        tables = [table.read_text() for table in _TABLES if table.exists()]
    except OSError:
        return _ip(client[0]).is_loopback  # the tables exist and cannot be read
    if not tables:
        return False
    ends = list(_sockets(tables, client, server))
    if not ends:
        # On loopback there must be one. From elsewhere it comes from another machine, or another network namespace.
        return _ip(client[0]).is_loopback
    if any(end.inode == 0 for end in ends):
        return True  # the process has ended, so it cannot be identified
    return any(_holds(process.pid, end) for process in _tools() for end in ends)


def _sockets(tables: Iterable[str], client: Address, server: Address) -> Iterable[_Socket]:
    ends = [(_ip(host), port) for host, port in (client, server)]
    for table in tables:
        for line in table.splitlines()[1:]:
            fields = line.split()
            # A client may use an IPv6 socket for an IPv4 address, so addresses are compared, not texts.
            if f"{client[1]:04X}" == fields[1][-4:] and [_end(fields[1]), _end(fields[2])] == ends:
                yield _Socket(int(fields[7]), int(fields[9]))


def _end(text: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    """The address of a text such as `0100007F:1F90`, which is 127.0.0.1:8000: words of 32 bits in this machine's byte order."""
    host, _, port = text.partition(":")
    words = (struct.pack("=I", int(host[at : at + 8], 16)) for at in range(0, len(host), 8))
    return _ip(b"".join(words)), int(port, 16)


def _ip(host: str | bytes) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(host.partition("%")[0] if isinstance(host, str) else host)
    return getattr(address, "ipv4_mapped", None) or address


def _tools() -> list[Process]:
    """The processes that have this proxy's mark, and those below them: a tool may empty its environment or leave its parents. One that does both is not
    found: this stops what a tool does in passing, not an attack.
    """
    alive = list(all_processes())
    marked = {process.pid for process in alive if _is_marked(process.pid)}
    children: dict[int, list[int]] = {}
    for process in alive:
        children.setdefault(process.parent, []).append(process.pid)
    queue = list(marked)
    while queue:
        fresh = [pid for pid in children.get(queue.pop(), ()) if pid not in marked]
        marked.update(fresh)
        queue += fresh
    return [process for process in alive if process.pid in marked]


def _is_marked(pid: int) -> bool:
    try:
        environment = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    return f"{_MARK}={os.getpid()}".encode() in environment.split(b"\0")


def _holds(pid: int, end: _Socket) -> bool:
    folder = PROC / str(pid)
    try:
        return any(_leads_to(link, f"socket:[{end.inode}]") for link in (folder / "fd").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return False  # it has ended
    except PermissionError:
        # Another user's, such as sudo's, or one that hides itself. Is it the one whose socket this is?
        return _uid(folder) in {end.uid, None}


def _leads_to(link: Path, target: str) -> bool:
    try:
        return os.readlink(link) == target  # noqa: PTH115 - a Path would tidy the name up
    except (FileNotFoundError, ProcessLookupError):
        return False


def _uid(folder: Path) -> int | None:
    try:
        lines = (folder / "status").read_text(errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("Uid:")), None)
