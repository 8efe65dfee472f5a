"""The listener that a browser comes back to: only the answer of this sign-in ends it."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from ccproxy.auth import callback as module
from ccproxy.auth.callback import Callback, PortBusy, Received, read_callback
from tests.unit.auth.people import get

Outcomes = queue.SimpleQueue[Received]


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.fixture
def outcomes() -> Outcomes:
    return queue.SimpleQueue()


@pytest.fixture
def callback(outcomes: Outcomes) -> Iterator[Callback]:
    """A listener that waits for the state `s`."""
    with Callback("http://127.0.0.1/callback", (), outcomes) as entered:
        entered.expect(SecretStr("s"))
        yield entered


def port_of(callback: Callback) -> int:
    return urlsplit(callback.redirect_uri).port or 0


def sent(callback: Callback, data: bytes) -> bytes:
    """Send these bytes; all that comes back until the end."""
    with socket.create_connection(("127.0.0.1", port_of(callback)), timeout=20) as connection:
        received = b""
        with suppress(ConnectionError):
            connection.sendall(data)
            while piece := connection.recv(65536):
                received += piece
        return received


def request(
    callback: Callback, *, method: str = "GET", target: str = "/callback?code=c&state=s", host: str = ""
) -> bytes:
    host = host or f"127.0.0.1:{port_of(callback)}"
    return sent(callback, f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())


def finishes(callback: Callback, outcomes: Outcomes) -> None:
    """The real answer still counts."""
    assert outcomes.empty()
    assert get(callback.redirect_uri + "?code=c&state=s")[0] == 200
    assert outcomes.get(timeout=20).code == SecretStr("c")


def test_localhost_means_both_addresses() -> None:
    outcomes: queue.SimpleQueue[Received] = queue.SimpleQueue()
    with Callback("http://localhost/callback", (), outcomes) as callback:
        port = urlsplit(callback.redirect_uri).port
        assert callback.redirect_uri == f"http://localhost:{port}/callback"
        assert get(f"http://127.0.0.1:{port}/")[0] == 404
        if has_ipv6():
            assert get(f"http://[::1]:{port}/")[0] == 404


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
def test_half_of_localhost_is_not_enough() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortBusy), Callback(f"http://localhost:{port}/callback", (), queue.SimpleQueue()):
            pass
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_other_requests_are_not_the_answer() -> None:
    outcomes: queue.SimpleQueue[Received] = queue.SimpleQueue()
    with Callback("http://127.0.0.1/callback", (), outcomes) as callback:
        base = callback.redirect_uri
        assert get(base + "?code=c&state=s")[0] == 404  # nobody has begun
        callback.expect(SecretStr("s"))
        assert get(base.replace("/callback", "/favicon.ico") + "?code=c&state=s")[0] == 404
        assert outcomes.empty()
        status, headers, _ = get(base + "?code=c&state=s")
        assert status == 200
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "Python" not in headers["Server"]
        assert outcomes.get(timeout=5).code == SecretStr("c")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("code=c", "wrong state"),
        ("code=c&state=", "wrong state"),
        ("code=c&state=%C3%A9", "wrong state"),
        ("state=s", "holds no code"),
        ("error=x%0Ay&error_description=" + "d" * 500 + "&state=s", "The sign-in failed"),
        ("error=access_denied&state=t", "wrong state"),
        ("code=c&state=s&state=s", "wrong state"),
        ("code=c&state=t&state=s", "wrong state"),
        ("state=s&code=c" + "&x=y" * 100, "wrong state"),
        ("x" * 100_000, "wrong state"),
    ],
)
def test_answers_that_are_none(query: str, words: str) -> None:
    received = read_callback(query, "s")
    assert received.code is None
    assert words in str(received.problem)
    assert "\n" not in str(received.problem)
    assert len(str(received.problem)) < 300


# ---- what anybody may send


@pytest.mark.parametrize(
    "query", ["code=c&state=x", "error=access_denied", "error=x&state=x", "", "state=", "code=c&state=s&state=s"]
)
def test_a_wrong_state_is_answered_and_ignored(callback: Callback, outcomes: Outcomes, query: str) -> None:
    for _ in range(3):
        status, _, page = get(f"{callback.redirect_uri}?{query}")
        assert status == 400
        assert "still waits" in page
    assert callback.strangers == 3
    finishes(callback, outcomes)


@pytest.mark.parametrize(
    "host",
    [
        "evil.test",
        "evil.test:{port}",
        "127.0.0.1",
        "127.0.0.1:1",
        "127.0.0.1.evil.test:{port}",
        "localhost:{port}, evil.test",
        " ",
    ],
)
def test_a_name_that_was_pointed_at_this_machine(callback: Callback, outcomes: Outcomes, host: str) -> None:
    """DNS rebinding."""
    assert request(callback, host=host.format(port=port_of(callback))).startswith(b"HTTP/1.1 400 ")
    finishes(callback, outcomes)


@pytest.mark.parametrize("host", ["localhost:{port}", "LOCALHOST:{port}", "[::1]:{port}", "127.0.0.1:{port}"])
def test_the_names_of_this_machine(callback: Callback, outcomes: Outcomes, host: str) -> None:
    assert request(callback, host=host.format(port=port_of(callback))).startswith(b"HTTP/1.1 200 ")
    assert outcomes.get(timeout=20).code == SecretStr("c")


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "OPTIONS", "get", "X" * 1000])
def test_other_methods(callback: Callback, outcomes: Outcomes, method: str) -> None:
    answer = request(callback, method=method)
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nAllow: GET\r\n" in answer
    finishes(callback, outcomes)


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /callback?code=c&state=s\r\n\r\n",
        b"GET /callback?code=c&state=s HTTP/2.0\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET http://127.0.0.1/callback?code=c&state=s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /callback?code=c&state=s HTTP/1.1\r\n\r\n",
        b"GET /callback?code=c&state=s HTTP/1.1\r\nHost: localhost:1\r\nHost: localhost:1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
        b"\xff" * 1000 + b"\r\n\r\n",
    ],
)
def test_what_is_not_a_request_of_a_browser(callback: Callback, outcomes: Outcomes, data: bytes) -> None:
    assert sent(callback, data).startswith(b"HTTP/1.1 400 ")
    finishes(callback, outcomes)


def test_a_request_without_end_is_cut(callback: Callback, outcomes: Outcomes) -> None:
    for data in (b"GET /" + b"a" * 2**20, b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 100_000, b"x" * 2**20):
        assert sent(callback, data) == b""
    finishes(callback, outcomes)


def test_cookies_of_other_programs_on_this_machine_fit(callback: Callback, outcomes: Outcomes) -> None:
    head = f"GET /callback?code=c&state=s HTTP/1.1\r\nHost: 127.0.0.1:{port_of(callback)}\r\nCookie: {'c' * 40_000}\r\n\r\n"
    assert sent(callback, head.encode()).startswith(b"HTTP/1.1 200 ")
    assert outcomes.get(timeout=20).code == SecretStr("c")


def test_a_slow_request_is_cut(callback: Callback, outcomes: Outcomes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.2)
    assert sent(callback, b"GET /callback?code=c&state=s HTTP/1.1\r\n") == b""
    finishes(callback, outcomes)


def test_connections_that_send_nothing_do_not_keep_the_browser_out(callback: Callback, outcomes: Outcomes) -> None:
    """Slow loris: many of them, and as many threads before."""
    threads = threading.active_count()
    with ExitStack() as stack:
        for number in range(4 * module._MAX_CONNECTIONS):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port_of(callback)), timeout=20))
            if number % 2:
                connection.sendall(b"GET /callback?code=c")
        finishes(callback, outcomes)
        assert threading.active_count() == threads
        assert len(callback._reading) <= module._MAX_CONNECTIONS


def test_the_oldest_connection_makes_way(callback: Callback) -> None:
    with ExitStack() as stack:
        first, *_ = (
            stack.enter_context(socket.create_connection(("127.0.0.1", port_of(callback)), timeout=20))
            for _ in range(module._MAX_CONNECTIONS + 1)
        )
        with suppress(ConnectionError):
            assert first.recv(1) == b""


def test_a_browser_that_does_not_take_the_page_has_signed_in_all_the_same(
    callback: Callback, outcomes: Outcomes
) -> None:
    with socket.create_connection(("127.0.0.1", port_of(callback)), timeout=20) as connection:
        connection.sendall(
            f"GET /callback?code=c&state=s HTTP/1.1\r\nHost: localhost:{port_of(callback)}\r\n\r\n".encode()
        )
    assert outcomes.get(timeout=20).code == SecretStr("c")


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(PortBusy, match=r"192\.0\.2\.1 is not an address of this machine.*redirect_uri"):
        Callback("http://192.0.2.1:1/callback", (), queue.SimpleQueue()).__enter__()
