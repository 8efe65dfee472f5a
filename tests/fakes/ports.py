"""Ports for programs that get theirs before they start."""

from __future__ import annotations

import errno
import socket

_reserved: list[socket.socket] = []


def free_port() -> int:
    """A port of 127.0.0.1 and ::1 that nothing listens on and that no other test gets.

    It stays bound until this process ends: the system does not hand it out again, connections to it are refused, and a server, which sets SO_REUSEADDR,
    can listen on it.
    """
    while True:
        port: int = _reserve(socket.AF_INET, "127.0.0.1", 0)
        try:
            return _reserve(socket.AF_INET6, "::1", port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:  # there is no IPv6 here
                return port


def _reserve(family: socket.AddressFamily, host: str, port: int) -> int:
    bound = socket.socket(family, socket.SOCK_STREAM)
    _reserved.append(bound)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((host, port))
    return int(bound.getsockname()[1])
