"""The loopback listener that a browser comes back to after the sign-in (RFC 8252, section 7.3).

Every web page can send requests to it, and every program of this machine can connect. So only an answer with the right
state counts, whatever else arrives meanwhile: other requests get an error and the listener goes on waiting. A
connection has little time and room to send its request in, and where there are too many, the oldest makes way.
"""

from __future__ import annotations

import asyncio
import errno
import hmac
import queue
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from ccproxy.errors import LoginError

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>ccproxy</title>
<style>body{{font:18px system-ui,sans-serif;margin:20vh auto;max-width:34em;padding:0 1em}}</style></head>
<body><h1>{title}</h1><p>{text}</p></body></html>"""

_MAX_HEAD: Final = 64 * 1024
"""Bytes of a request. Browsers send this machine's cookies of every port along."""
_MAX_FIELDS: Final = 32
"""Parameters of the address that the browser comes back to."""
_MAX_CONNECTIONS: Final = 64
_PATIENCE: Final = 5.0
"""Seconds that a connection has to send its request, and again to take the page."""


class PortBusy(LoginError):
    """Another program listens on the only ports that the vendor allows."""


class LoginRefused(LoginError):
    """The browser came back without a code, or with one that belongs to another sign-in."""


class WrongState(LoginRefused):
    """The answer does not belong to this sign-in: anybody may have sent it."""


@dataclass(frozen=True, slots=True)
class Received:
    """The browser's code, or the reason why there is none."""

    code: SecretStr | None
    problem: LoginError | None = None


def read_callback(query: str, state: str) -> Received:
    """The authorization response (RFC 6749, section 4.1.2) in a query; its state must be the one that was sent."""
    try:
        values = parse_qs(query, max_num_fields=_MAX_FIELDS)
    except ValueError:
        values = {}

    def first(name: str) -> str:
        return values.get(name, [""])[0]

    if len(values.get("state", ())) != 1 or not hmac.compare_digest(first("state").encode(), state.encode()):
        return Received(None, WrongState("The answer belongs to another sign-in (wrong state). Nothing was stored."))
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
    reason = "".join(c for c in f"{error}: {description}".strip(": ") if c.isprintable())[:200]
    return f"The sign-in failed ({reason}). Nothing was stored."


class Callback:
    """Listens while it is entered; the answers of this sign-in go into `outcomes`.

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
        self._hosts: frozenset[str] = frozenset()
        self._stopped = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread: threading.Thread | None = None
        self._reading: dict[asyncio.Task[None], None] = {}
        self.redirect_uri = redirect_uri
        self.strangers = 0
        """Answers with a wrong state so far."""

    def __enter__(self) -> Self:
        try:
            sockets = self._bound()
        except BaseException:
            self._loop.close()
            raise
        port = sockets[0].getsockname()[1]
        shown = f"[{self._host}]" if ":" in self._host else self._host
        self.redirect_uri = f"http://{shown}:{port}{self._path}"
        names = {shown, "localhost", "127.0.0.1", "[::1]"}
        self._hosts = frozenset(f"{name}:{port}" for name in names) | (names if port == 80 else frozenset())
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(sockets),), daemon=True)
        self._thread.start()
        return self

    def expect(self, state: SecretStr) -> None:
        """Only an answer with this state is one. Until it is known, nothing is taken."""
        self._state = state.get_secret_value()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        if self._thread is not None:
            self._thread.join()
        self._loop.close()

    async def _serve(self, sockets: list[socket.socket]) -> None:
        servers = [await asyncio.start_server(self._connected, sock=each, limit=_MAX_HEAD) for each in sockets]
        await self._stopped.wait()
        for server in servers:
            server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await self._head(reader)
            if head is not None:
                await self._answer(head, writer)
        finally:
            writer.transport.abort()

    async def _head(self, reader: asyncio.StreamReader) -> str | None:
        """A request's head, None where none comes in time."""
        task = asyncio.current_task()
        assert task is not None
        if len(self._reading) >= _MAX_CONNECTIONS:
            oldest = next(iter(self._reading))
            del self._reading[oldest]
            oldest.cancel()
        self._reading[task] = None
        try:
            async with asyncio.timeout(_PATIENCE):
                return (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            return None
        finally:
            self._reading.pop(task, None)

    async def _answer(self, head: str, writer: asyncio.StreamWriter) -> None:
        """Read a request. The outcome is passed on after the page is sent: the process may end then."""
        received = None
        try:
            status, page, received = self._judged(head)
            with suppress(TimeoutError, OSError):
                async with asyncio.timeout(_PATIENCE):
                    writer.write(_response(status, page))
                    writer.close()  # sends what is still to be sent
                    await writer.wait_closed()
        finally:
            if received is not None:
                self._outcomes.put(received)

    def _judged(self, head: str) -> tuple[int, str, Received | None]:
        """Status and page for a request, and the outcome if it is this sign-in's answer."""
        request_line, *fields = head.split("\r\n")
        method, _, rest = request_line.partition(" ")
        target, _, version = rest.rpartition(" ")
        if not version.startswith("HTTP/1.") or not target.startswith("/"):
            return 400, _page("Bad request", "This is not a request of a browser."), None
        if method != "GET":
            return 405, _page("Method not allowed", "This address takes GET only."), None
        if not self._is_here(fields):
            return 400, _page("Bad request", "This address is for a browser on this machine only."), None
        path, _, query = target.partition("?")
        if path != self._path or self._state is None:
            return 404, _page("Not found", "This address only takes the answer of a sign-in."), None
        received = read_callback(query, self._state)
        if isinstance(received.problem, WrongState):
            self.strangers += 1
            text = "This answer belongs to another sign-in (wrong state): it is ignored. The terminal still waits for its own."
            return 400, _page("Not this sign-in", text), None
        if received.problem is not None:
            return 400, _page("Not signed in", f"{received.problem} You can close this page."), received
        text = "You can close this page. The terminal shows the result."
        return 200, _page("ccproxy has the answer", text), received

    def _is_here(self, fields: list[str]) -> bool:
        """Whether the request names this machine. A page whose name was pointed at this machine names itself."""
        parts = [field.partition(":") for field in fields]
        names = [value.strip().lower() for name, _, value in parts if name.lower() == "host"]
        return len(names) == 1 and names[0] in self._hosts

    def _bound(self) -> list[socket.socket]:
        try:
            for port in self._ports:
                with suppress(_Busy):
                    return self._bound_to(port)
        except _NoSuchAddress:
            raise PortBusy(
                f"{self._host} is not an address of this machine: check the setting oauth.redirect_uri of the provider."
            ) from None
        ports = " and ".join(str(port) for port in self._ports)
        raise PortBusy(f"Another program listens on port {ports}, where the browser has to come back: end it first.")

    def _bound_to(self, port: int) -> list[socket.socket]:
        """A browser may take `localhost` for 127.0.0.1 or ::1: both have to be ours, where there are both."""
        if self._host != "localhost":
            return [_listen(self._host, port)]
        for _ in range(20 if port == 0 else 1):
            first = _listen("127.0.0.1", port)
            try:
                return [first, _listen("::1", first.getsockname()[1])]
            except _NoSuchAddress:
                return [first]
            except _Busy:
                first.close()
        raise _Busy


class _Busy(Exception):
    """The port is taken."""


class _NoSuchAddress(Exception):
    """A machine without IPv6."""


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        if error.errno in {errno.EADDRINUSE, errno.EACCES}:
            raise _Busy from None
        raise _NoSuchAddress from None


_REASONS: Final = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}


def _response(status: int, page: str) -> bytes:
    body = page.encode()
    fields = (
        f"HTTP/1.1 {status} {_REASONS[status]}",
        *(["Allow: GET"] if status == 405 else []),
        "Server: ccproxy",
        "Content-Type: text/html; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "Referrer-Policy: no-referrer",
        "X-Content-Type-Options: nosniff",
        "Cross-Origin-Resource-Policy: same-origin",
        "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        "Connection: close",
    )
    return "\r\n".join((*fields, "", "")).encode("latin-1") + body


def _page(title: str, text: str) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _PAGE.format(title=title, text=escaped)
