"""The loopback listener that a browser comes back to after the sign-in (RFC 8252, section 7.3)."""

from __future__ import annotations

import errno
import hmac
import os
import queue
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from ccproxy.errors import LoginError

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>ccproxy</title>
<style>body{{font:18px system-ui,sans-serif;margin:20vh auto;max-width:34em;padding:0 1em}}</style></head>
<body><h1>{title}</h1><p>{text}</p></body></html>"""


class PortBusy(LoginError):
    """Another program listens on the only ports that the vendor allows."""


class LoginRefused(LoginError):
    """The browser came back without a code, or with one that belongs to another sign-in."""


@dataclass(frozen=True, slots=True)
class Received:
    """What the browser brought: the code, or the reason why there is none."""

    code: SecretStr | None
    problem: LoginError | None = None


def read_callback(query: str, state: str) -> Received:
    """The authorization response (RFC 6749, section 4.1.2) in a query; its state must be the one that was sent."""
    values = parse_qs(query)

    def first(name: str) -> str:
        return values.get(name, [""])[0]

    if not hmac.compare_digest(first("state").encode(), state.encode()):
        return Received(None, LoginRefused("The answer belongs to another sign-in (wrong state). Nothing was stored."))
    if error := first("error"):
        return Received(None, LoginRefused(_refusal(error, first("error_description"))))
    if not first("code"):
        return Received(None, LoginRefused("The answer holds no code. Nothing was stored."))
    return Received(SecretStr(first("code")))


def _refusal(error: str, description: str) -> str:
    if "missing_codex_entitlement" in description:
        return "This ChatGPT workspace has no access to Codex: ask its administrator. Nothing was stored."
    if error == "access_denied":
        return "You refused the access. Nothing was stored."
    said = "".join(c for c in f"{error}: {description}".strip(": ") if c.isprintable())[:200]
    return f"The sign-in failed ({said}). Nothing was stored."


class Callback:
    """Listens while it is entered; the first answer goes into `outcomes`.

    Raises `PortBusy` when neither the port of `redirect_uri` nor one of `fallback_ports` is free.
    """

    def __init__(
        self, redirect_uri: str, fallback_ports: tuple[int, ...], outcomes: queue.SimpleQueue[Received]
    ) -> None:
        parts = urlsplit(redirect_uri)
        self._host = parts.hostname or "127.0.0.1"
        self._path = parts.path or "/"
        self._ports = (parts.port or 0, *fallback_ports)
        self._outcomes = outcomes
        self._state: str | None = None
        self._servers: list[_Server] = []
        self._threads: list[threading.Thread] = []
        self.redirect_uri = redirect_uri

    def __enter__(self) -> Self:
        self._servers = self._bound()
        port = self._servers[0].server_address[1]
        shown = f"[{self._host}]" if ":" in self._host else self._host
        self.redirect_uri = f"http://{shown}:{port}{self._path}"
        for server in self._servers:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def expect(self, state: SecretStr) -> None:
        """Only an answer with this state is one. Until it is known, nothing is taken."""
        self._state = state.get_secret_value()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join()

    def answer(self, target: str, send: Callable[[int, str], None]) -> None:
        """Read a request's target. The outcome is told after the page is sent: the process may end then."""
        parts = urlsplit(target)
        if parts.path != self._path or self._state is None:
            send(404, _page("Not found", "This address only takes the answer of a sign-in."))
            return
        received = read_callback(parts.query, self._state)
        try:
            if received.problem is None:
                send(200, _page("ccproxy has the answer", "You can close this page. The terminal tells how it went."))
            else:
                send(400, _page("Not signed in", f"{received.problem} You can close this page."))
        finally:
            self._outcomes.put(received)

    def _bound(self) -> list[_Server]:
        for port in self._ports:
            with suppress(_Busy):
                return self._bound_to(port)
        wanted = " and ".join(str(port) for port in self._ports)
        raise PortBusy(f"Another program listens on port {wanted}, where the browser has to come back: end it first.")

    def _bound_to(self, port: int) -> list[_Server]:
        """A browser may take `localhost` for 127.0.0.1 or ::1: both have to be ours, where there are both."""
        if self._host != "localhost":
            return [_listen(self._host, port, self)]
        for _ in range(20 if port == 0 else 1):
            first = _listen("127.0.0.1", port, self)
            try:
                return [first, _listen("::1", first.server_address[1], self)]
            except _NoSuchAddress:
                return [first]
            except _Busy:
                first.server_close()
        raise _Busy


class _Busy(Exception):
    """The port is taken."""


class _NoSuchAddress(Exception):
    """A machine without IPv6."""


class _Server(ThreadingHTTPServer):
    """One address of the callback."""

    daemon_threads = True
    block_on_close = False  # a browser keeps spare connections open
    allow_reuse_address = os.name != "nt"  # on Windows it would let two programs share the port
    callback: Callback

    def server_bind(self) -> None:
        """Without the library's look-up of the machine's name, which can hang."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle is none."""


def _listen(host: str, port: int, callback: Callback) -> _Server:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server_class = type("_FamilyServer", (_Server,), {"address_family": family})
    try:
        server: _Server = server_class((host, port), _Page)
    except OSError as error:
        if error.errno in {errno.EADDRINUSE, errno.EACCES}:
            raise _Busy from None
        raise _NoSuchAddress from None
    server.callback = callback
    return server


class _Page(BaseHTTPRequestHandler):
    """Answers the redirect, and nothing else."""

    server: _Server
    server_version = "ccproxy"
    sys_version = ""
    timeout = 10

    def do_GET(self) -> None:
        self.server.callback.answer(self.path, self._send)

    def _send(self, status: int, page: str) -> None:
        body = page.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """The request line holds the code: it is not logged."""


def _page(title: str, text: str) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _PAGE.format(title=title, text=escaped)
