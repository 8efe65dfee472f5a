"""The addresses ccproxy listens on."""

from __future__ import annotations

import errno
import socket

import pytest

from ccproxy.errors import StartError
from ccproxy.server.listening import addresses


@pytest.mark.parametrize(
    ("host", "hosts"),
    [("127.0.0.1", ("127.0.0.1", "::1")), ("localhost", ("127.0.0.1", "::1")), ("::1", ("127.0.0.1", "::1")), ("[::1]", ("127.0.0.1", "::1")),
     ("127.0.0.2", ("127.0.0.2",))],
)  # fmt: skip
def test_loopback_addresses_go_together(host: str, hosts: tuple[str, ...]) -> None:
    found, port = addresses(host, 0)
    assert found == hosts
    assert 0 < port < 65536


def test_a_machine_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    bind = socket.socket.bind

    def no_ipv6(self: socket.socket, address: tuple[str, int]) -> None:
        if self.family == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        bind(self, address)

    monkeypatch.setattr(socket.socket, "bind", no_ipv6)
    assert addresses("127.0.0.1", 0)[0] == ("127.0.0.1",)
    assert addresses("localhost", 0)[0] == ("127.0.0.1",)
    with pytest.raises(StartError):
        addresses("::1", 0)


def test_a_free_port_that_is_taken_on_the_other_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system picks a port that is free on 127.0.0.1; with that taken on ::1, it picks another one."""
    bind, taken = socket.socket.bind, []

    def taken_twice(self: socket.socket, address: tuple[str, int]) -> None:
        if self.family == socket.AF_INET6 and len(taken) < 2:
            taken.append(address[1])
            raise OSError(errno.EADDRINUSE, "Address already in use")
        bind(self, address)

    monkeypatch.setattr(socket.socket, "bind", taken_twice)
    hosts, port = addresses("localhost", 0)
    assert hosts == ("127.0.0.1", "::1")
    assert len(taken) == 2
    assert port not in taken
    taken.clear()
    with pytest.raises(StartError, match=f"{port} is in use"):
        addresses("localhost", port)
