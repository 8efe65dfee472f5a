"""Who is on ccproxy's port."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ccproxy.cli.checks.finding import Finding, broken, ok, skipped, warn
from ccproxy.cli.running import Address, Found, Listener


def port(found: Found, address: Address, version: str) -> Finding:
    """`version` is this program's; another one may be running since before an update."""
    if address.port == 0:
        return skipped("port", "server.port is 0: a free one at each start, which nobody can be pointed at")
    if found.listener is Listener.NOBODY:
        return warn(
            "port", f"nothing listens on {address}", "clients that are pointed there get no connection", "ccproxy serve"
        )
    if found.listener is Listener.OTHER:
        return broken(
            "port",
            f"another program listens on {address}",
            "ccproxy cannot start there, and clients that are pointed there talk to that program",
            "stop it, or move ccproxy: ccproxy config set server.port 8001",
        )
    if found.listener is Listener.LOCKED:
        return broken(
            "port",
            f"the ccproxy on {address} has another token than this configuration",
            "ccproxy run and ccproxy env would tell clients the wrong one",
            "restart it with this configuration, or set SERVER__AUTH_TOKEN to its token",
        )
    if found.version != version:
        return warn(
            "port",
            f"ccproxy {found.version} runs on {address}, this is {version}",
            "what runs is not what is installed",
            "restart it: stop it with Ctrl-C, then ccproxy serve",
        )
    return ok("port", f"ccproxy {found.version} runs on {address}")


def claude_processes(facts: Mapping[str, Any]) -> Iterator[Finding]:
    """What `/health` says of `/claude`: its processes, and the sessions that keep one. Silent while there is none."""
    count = facts.get("processes") or {}
    if not count.get("live"):
        return
    spares = f", {count['spare']} of them spare" if count["spare"] else ""
    waiting = f"; {count['waiting']} requests wait for one" if count["waiting"] else ""
    yield ok("claude processes", f"{count['live']} of {count['max']}{spares}{waiting}")
    for session in facts.get("sessions") or ():
        doing = "answers" if session["busy"] else f"idle for {session['idle_seconds']:.0f} s"
        process = f"process {session['pid']}" if session["pid"] else "no process yet"
        yield ok(f"claude session {session['id']}", f"{doing}, {session['turns']} turns, {process}")
