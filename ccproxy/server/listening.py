"""The addresses ccproxy listens on, and the messages for addresses it cannot listen on."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ccproxy.errors import StartError
from ccproxy.settings import Settings

if TYPE_CHECKING:
    pass


logger = logging.getLogger(__name__)


UNROUTED = "http://unrouted.invalid"
"""Where mitmproxy would send what no route takes: a name that never resolves (RFC 6761). The gateway answers 404 before that."""

_FREE_PORT_ATTEMPTS = 10


def listen_modes(settings: Settings) -> list[str]:
    """mitmproxy's modes for where ccproxy listens.

    Raises:
        StartError: see `addresses`.

    """
    return modes(*addresses(settings.server.host, settings.server.port))


def modes(hosts: Sequence[str], port: int) -> list[str]:
    """mitmproxy's mode specs for these addresses."""
    return [f"reverse:{UNROUTED}@{host}:{port}" for host in hosts]


def addresses(host: str, port: int) -> tuple[tuple[str, ...], int]:
    """The addresses to listen on and the port, a free one for port 0; 127.0.0.1 and ::1 go together.

    Raises:
        StartError: another program listens there, or the address is none of this machine's.

    """
    attempts = 1 if port else _FREE_PORT_ATTEMPTS
    while True:
        attempts -= 1
        try:
            return _addresses(host, port)
        except StartError:  # a port that is free on one address may be taken on the other
            if not attempts:
                raise


def _addresses(host: str, port: int) -> tuple[tuple[str, ...], int]:
    host = host.removeprefix("[").removesuffix("]")
    hosts = ("127.0.0.1", "::1") if host in {"127.0.0.1", "localhost", "::1"} else (host,)
    found = []
    for name in hosts:
        try:
            bound = _bindable(name, port)
        except OSError as error:
            if len(hosts) > 1 and error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT} and name != host:
                continue  # no IPv6, or no IPv4, on this machine
            raise StartError(bind_failure(error, name, port)) from error
        port = port or bound
        found.append(name)
    return tuple(found), port


def _bindable(host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        probe.listen(1)
        return int(probe.getsockname()[1])


def bind_failure(error: OSError, host: str = "", port: int = 0) -> str:
    if not host:
        return str(error)
    where = f"{host} port {port}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is in use by another program: choose another port with --port (or SERVER__PORT)"
    if error.errno == errno.EACCES:
        return f"{where} needs more rights: choose a port from 1024 up with --port"
    return f"cannot listen on {where}: {error.strerror or error} (see --host and --port)"
