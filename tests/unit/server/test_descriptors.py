"""Open files: the limit is raised at the start, and a connection that cannot be accepted is refused politely."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import subprocess
import sys

import pytest

from ccproxy.server.descriptors import LOG_INTERVAL, AcceptFailures, raise_limit


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    code = (
        "import resource\n"
        "_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, min(hard, 1000)))\n"
        "from ccproxy.server.descriptors import open_file_limit, raise_limit\n"
        "raise_limit()\n"
        "print(open_file_limit() == min(hard, 1000))"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip() == "True"
    raise_limit()  # once more changes nothing


async def test_a_connection_without_a_descriptor_gets_a_503_and_the_log_a_line_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 1000.0
    failures = AcceptFailures(clock=lambda: now)
    loop = asyncio.get_running_loop()
    failures.running()
    full = {"exception": OSError(errno.EMFILE, "Too many open files")}
    with socket.create_server(("127.0.0.1", 0)) as listener, caplog.at_level(logging.WARNING):
        for _ in range(3):
            with socket.create_connection(listener.getsockname()) as client:
                client.sendall(b"GET /api/v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")
                loop.call_exception_handler({**full, "message": "accept failed", "socket": listener})
                assert client.recv(65_536).startswith(b"HTTP/1.1 503 ")
        assert len(caplog.records) == 1
        assert "ulimit -n" in caplog.text
        now += LOG_INTERVAL
        with socket.create_connection(listener.getsockname()) as client:
            loop.call_exception_handler({**full, "message": "accept failed", "socket": listener})
            assert client.recv(65_536).startswith(b"HTTP/1.1 503 ")
        assert len(caplog.records) == 2
    failures.done()


async def test_other_exceptions_go_where_they_went_before() -> None:
    contexts: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: contexts.append(context))
    failures = AcceptFailures()
    failures.running()
    loop.call_exception_handler({"message": "another", "exception": ValueError("x")})
    failures.done()
    assert [context["message"] for context in contexts] == ["another"]
