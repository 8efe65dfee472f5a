"""Who listens on ccproxy's port: nobody, a ccproxy, or somebody else."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ccproxy.settings import Settings

PATIENCE = 3.0
"""Seconds that whoever listens gets to answer."""


_REACHED_AT = {"0.0.0.0": "127.0.0.1", "::": "::1", "localhost": "127.0.0.1"}  # noqa: S104 - compared, not bound


class Listener(StrEnum):
    """What was found on the port."""

    NOBODY = "nobody"
    CCPROXY = "ccproxy"
    LOCKED = "ccproxy with another token"
    OTHER = "another program"


@dataclass(frozen=True, slots=True)
class Found:
    """What listens, and what it says of itself."""

    listener: Listener
    version: str = ""
    pid: int = 0
    providers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Address:
    """Where this machine's programs reach ccproxy."""

    host: str
    port: int

    @classmethod
    def of(cls, settings: Settings) -> Address:
        """Of the configured listener; a wildcard is reached on loopback."""
        host, port = settings.server.host.removeprefix("[").removesuffix("]"), settings.server.port
        return cls(_REACHED_AT.get(host, host), port)

    @property
    def origin(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def __str__(self) -> str:
        return self.origin.removeprefix("http://")


def look(address: Address, token: str = "") -> Found:
    """Ask whoever listens there for `/health`. Never goes through a company's proxy."""
    try:
        socket.create_connection((address.host, address.port), timeout=PATIENCE).close()
    except OSError:
        return Found(Listener.NOBODY)
    connection = http.client.HTTPConnection(address.host, address.port, timeout=PATIENCE)
    try:
        connection.request("GET", "/health", headers={"x-ccproxy-token": token} if token else {})
        answer = connection.getresponse()
        ours = answer.getheader("x-ccproxy-flow") is not None
        body = json.loads(answer.read(2**20)) if answer.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return Found(Listener.OTHER)
    finally:
        connection.close()
    if isinstance(body, dict) and body.get("name") == "ccproxy":
        return Found(
            Listener.CCPROXY, str(body.get("version", "")), int(body.get("pid") or 0), body.get("providers") or {}
        )
    return Found(Listener.LOCKED if ours and answer.status == 401 else Listener.OTHER)


def free_port(host: str) -> int:
    """A port that nobody uses now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
