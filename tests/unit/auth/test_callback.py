"""The local server that a browser is sent back to."""

from __future__ import annotations

import queue
import socket
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from ccproxy.auth.callback import Callback, PortBusy, Received, read_callback
from tests.unit.auth.people import get


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


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
    ],
)
def test_answers_that_are_none(query: str, words: str) -> None:
    received = read_callback(query, "s")
    assert received.code is None
    assert words in str(received.problem)
    assert "\n" not in str(received.problem)
    assert len(str(received.problem)) < 300
