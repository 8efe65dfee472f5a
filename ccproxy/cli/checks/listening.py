"""Checks of ccproxy's port and of the proxy that runs there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ccproxy.cli.checks.finding import Finding, broken, ok, skipped, warn
from ccproxy.cli.running import Address, Listener, PortState


def port(state: PortState, address: Address, version: str) -> Finding:
    """Check the program on the port. `version` is that of this program; an older one may still run after an update."""
    if address.port == 0:
        return skipped(
            "port", "server.port is 0, so each start picks another port and no client can be configured for it"
        )
    if state.listener is Listener.NOTHING:
        return warn(
            "port",
            f"nothing is listening on {address}",
            "clients that use this address cannot connect",
            "ccproxy serve",
        )
    if state.listener is Listener.OTHER:
        return broken(
            "port",
            f"another program is listening on {address}",
            "ccproxy cannot start there, and clients that use this address reach that program",
            "stop it, or use another port: ccproxy config set server.port 8001",
        )
    if state.listener is Listener.LOCKED:
        return broken(
            "port",
            f"the ccproxy on {address} requires another token than this configuration has",
            "ccproxy run and ccproxy env would give clients the wrong token",
            "restart it with this configuration, or set SERVER__AUTH_TOKEN to its token",
        )
    if state.version != version:
        return warn(
            "port",
            f"ccproxy {state.version} runs on {address}, but {version} is installed",
            "the running proxy lacks the changes of the installed version",
            "stop it with Ctrl-C, then ccproxy serve",
        )
    return ok("port", f"ccproxy {state.version} runs on {address}")


def claude_processes(facts: Mapping[str, Any]) -> Iterator[Finding]:
    """Report the processes and sessions of `/claude` from `/health`, if there are any."""
    count = facts.get("processes") or {}
    if not count.get("live"):
        return
    spares = f", {count['spare']} of them spare" if count["spare"] else ""
    waiting = f"; {count['waiting']} requests are waiting" if count["waiting"] else ""
    yield ok("claude processes", f"{count['live']} of {count['max']}{spares}{waiting}")
    for session in facts.get("sessions") or ():
        activity = "busy" if session["busy"] else f"idle for {session['idle_seconds']:.0f} s"
        process = f"process {session['pid']}" if session["pid"] else "no process yet"
        yield ok(f"claude session {session['id']}", f"{activity}, {session['turns']} turns, {process}")
