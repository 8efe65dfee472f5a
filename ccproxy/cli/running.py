"""The program on ccproxy's port: nothing, a ccproxy, or another program."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ccproxy.settings import Settings

TIMEOUT = 3.0
"""Seconds that the program on the port has to respond."""
_HEALTH_LIMIT = 2**20
"""Bytes of `/health` that are read."""
_REACHABLE_AS = {"0.0.0.0": "127.0.0.1", "::": "::1", "localhost": "127.0.0.1"}  # noqa: S104 - compared, not bound


class Listener(StrEnum):
    """The kinds of program on a port."""

    NOTHING = "nothing"
    CCPROXY = "ccproxy"
    LOCKED = "ccproxy with another token"
    OTHER = "another program"


@dataclass(frozen=True, slots=True)
class PortState:
    """The program on a port and, if it is ccproxy, what it reports about itself."""

    listener: Listener
    version: str = ""
    pid: int = 0
    providers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Address:
    """The address at which programs on this machine reach ccproxy."""

    host: str
    port: int

    @classmethod
    def of(cls, settings: Settings) -> Address:
        """Return the address of the configured listener. A wildcard address is reached on loopback."""
        host, port = settings.server.host.removeprefix("[").removesuffix("]"), settings.server.port
        return cls(_REACHABLE_AS.get(host, host), port)

    @property
    def origin(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def __str__(self) -> str:
        return self.origin.removeprefix("http://")


def probe_port(address: Address, token: str = "") -> PortState:
    """Request `/health` from the program on the port, never through a corporate proxy."""
    try:
        socket.create_connection((address.host, address.port), timeout=TIMEOUT).close()
    except OSError:
        return PortState(Listener.NOTHING)
    connection = http.client.HTTPConnection(address.host, address.port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/health", headers={"x-ccproxy-token": token} if token else {})
        response = connection.getresponse()
        is_ccproxy = response.getheader("x-ccproxy-flow") is not None
        body = json.loads(response.read(_HEALTH_LIMIT)) if response.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return PortState(Listener.OTHER)
    finally:
        connection.close()
    if isinstance(body, dict) and body.get("name") == "ccproxy":
        return PortState(
            Listener.CCPROXY, str(body.get("version", "")), int(body.get("pid") or 0), body.get("providers") or {}
        )
    return PortState(Listener.LOCKED if is_ccproxy and response.status == 401 else Listener.OTHER)


def free_port(host: str) -> int:
    """Return a port that is free at the moment."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
