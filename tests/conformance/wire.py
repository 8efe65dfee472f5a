"""A tap between a client and ccproxy: it passes bytes on as they come and keeps them, so that they can be compared with what the upstream saw."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field

Fields = list[tuple[str, str]]


@dataclass
class Message:
    """One HTTP/1.1 message: first line, fields in order and as spelled, body without its framing."""

    start: str
    fields: Fields
    body: bytes = b""
    whole: bool = True
    """Whether its end was seen."""

    def get(self, name: str, default: str = "") -> str:
        return next((value for key, value in self.fields if key.lower() == name.lower()), default)

    @property
    def method(self) -> str:
        return self.start.split(" ", 1)[0]

    @property
    def target(self) -> str:
        return self.start.split(" ")[1]

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def status(self) -> int:
        return int(self.start.split(" ")[1])


@dataclass
class Exchange:
    """A request and its answer, which is None where none came whole."""

    request: Message
    response: Message | None = None


@dataclass
class _Recorded:
    sent: bytearray = field(default_factory=bytearray)
    received: bytearray = field(default_factory=bytearray)


class Tap:
    """Listens on a port of its own and forwards to another one on loopback."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._recorded: list[_Recorded] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def clear(self) -> None:
        self._recorded = []

    def close(self) -> None:
        self._socket.close()

    def exchanges(self) -> list[Exchange]:
        """What went through since `clear`, connection by connection."""
        return [exchange for each in list(self._recorded) for exchange in parse(bytes(each.sent), bytes(each.received))]

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            recorded = _Recorded()
            self._recorded.append(recorded)
            threading.Thread(target=_pass_on, args=(client, self._to, recorded), daemon=True).start()


def _pass_on(client: socket.socket, port: int, recorded: _Recorded) -> None:
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        back = threading.Thread(target=_copy, args=(server, client, recorded.received), daemon=True)
        back.start()
        _copy(client, server, recorded.sent)
        back.join()


def _copy(source: socket.socket, target: socket.socket, kept: bytearray) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            kept += data
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def parse(sent: bytes, received: bytes) -> list[Exchange]:
    """The exchanges of one connection; what is cut off in the middle is left out."""
    found = []
    while sent:
        read = _message(sent)
        if read is None:
            break
        request, sent = read
        exchange = Exchange(request)
        found.append(exchange)
        while received:
            read = _message(received, no_body=request.method == "HEAD", until_close=True)
            if read is None:
                break
            response, received = read
            if response.status != 100:
                exchange.response = response
                break
    return found


def _message(data: bytes, *, no_body: bool = False, until_close: bool = False) -> tuple[Message, bytes] | None:
    head, blank, rest = data.partition(b"\r\n\r\n")
    if not blank:
        return None
    start, *lines = head.decode("latin-1").split("\r\n")
    message = Message(start, [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)])
    if no_body or (until_close and message.status in {100, 204, 304}):
        return message, rest
    if "chunked" in message.get("transfer-encoding").lower():
        body, rest, whole = _dechunked(rest)
        message.body, message.whole = body, whole
        return (message, rest) if whole or until_close else None
    length = message.get("content-length")
    if length:
        message.whole = len(rest) >= int(length)
        if not message.whole and not until_close:
            return None
        message.body, rest = rest[: int(length)], rest[int(length) :]
    elif until_close and message.status != 101:
        message.body, rest = rest, b""
    return message, rest


def _dechunked(data: bytes) -> tuple[bytes, bytes, bool]:
    body = b""
    while True:
        line, end, rest = data.partition(b"\r\n")
        if not end:
            return body, b"", False
        size = int(line.split(b";")[0], 16)
        if size == 0:
            return body, rest.partition(b"\r\n")[2], True
        if len(rest) < size + 2:
            return body, b"", False
        body += rest[:size]
        data = rest[size + 2 :]


HOP = frozenset({"host", "connection", "keep-alive", "transfer-encoding", "content-length", "upgrade", "te", "expect"})
CREDENTIALS = frozenset({"authorization", "x-api-key", "x-ccproxy-token"})


def end_to_end(fields: Fields) -> Fields:
    """Fields that no intermediary may change."""
    return [(name, value) for name, value in fields if name.lower() not in HOP | CREDENTIALS]


def differences(sent: Message, arrived: Message) -> list[str]:
    """What is not byte for byte as it was: query, end-to-end fields in their order and spelling, body."""
    found = []
    if sent.target.partition("?")[2] != arrived.target.partition("?")[2]:
        found.append(f"query {sent.target} became {arrived.target}")
    before, after = end_to_end(sent.fields), end_to_end(arrived.fields)
    if before != after:
        found.append(
            f"fields changed: {[each for each in before if each not in after]} -> {[each for each in after if each not in before]}"
        )
    if sent.body != arrived.body:
        found.append(f"body changed: {len(sent.body)} bytes became {len(arrived.body)}")
    return found


def answer_differences(sent: Message, arrived: Message) -> list[str]:
    """The same for an answer, to which ccproxy adds its own `x-ccproxy-` fields."""
    found = []
    if sent.status != arrived.status:
        found.append(f"status {sent.status} became {arrived.status}")
    before = end_to_end(sent.fields)
    after = [each for each in end_to_end(arrived.fields) if not each[0].lower().startswith("x-ccproxy-")]
    if before != after:
        found.append(
            f"fields changed: {[each for each in before if each not in after]} -> {[each for each in after if each not in before]}"
        )
    if sent.body != arrived.body:
        found.append(f"body changed: {len(sent.body)} bytes became {len(arrived.body)}")
    return found
