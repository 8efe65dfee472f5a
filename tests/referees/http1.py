"""Two other readers of HTTP/1: h11, under the Python SDKs, and llhttp, under Node. What both read alike is not ambiguous."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import h11

NODE: Final = shutil.which("node")
_SCRIPT: Final = Path(__file__).with_name("llhttp.mjs")
_ROOM: Final = 2**20


class Message(NamedTuple):
    """A request or a response as a reader understood it."""

    method: str = ""
    target: str = ""
    status: int = 0
    body: bytes = b""
    complete: bool = False
    upgrade: bool = False
    """llhttp only: it reads no further where the protocol may change."""


class Readout(NamedTuple):
    """All that a reader understood of some bytes, and why it stopped; no error if it came to their end."""

    messages: list[Message]
    error: str = ""

    @property
    def complete(self) -> list[Message]:
        return [message for message in self.messages if message.complete]


class Llhttp:
    """A Node process that reads."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def requests(self, data: bytes) -> Readout:
        return self._read("REQUEST", data)

    def responses(self, data: bytes, method: str = "GET") -> Readout:
        return self._read("RESPONSE", data, method)

    def _read(self, kind: str, data: bytes, method: str = "") -> Readout:
        assert self._process.stdin
        assert self._process.stdout
        question = {"kind": kind, "data": base64.b64encode(data).decode(), "method": method}
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        result = json.loads(self._process.stdout.readline())
        messages = [
            Message(
                each["method"],
                each["target"],
                each["status"],
                base64.b64decode(each["body"]),
                each["complete"],
                each["upgrade"],
            )
            for each in result["messages"]
        ]
        return Readout(messages, result["error"] or "")


@contextmanager
def llhttp() -> Iterator[Llhttp]:
    """Start Node; only where `NODE` is set."""
    assert NODE
    command = [NODE, "--no-deprecation", str(_SCRIPT)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Llhttp(process)
        finally:
            assert process.stdin
            process.stdin.close()


def h11_requests(data: bytes) -> Readout:
    """Requests as a server on h11 reads them. It takes no empty lines before a request, which RFC 9112 asks servers to skip."""
    messages: list[Message] = []
    while data := _without_empty_lines(data):
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_ROOM)
        error = _read(connection, data, messages)
        if error or connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
            return Readout(messages, error)
        data = connection.trailing_data[0]
    return Readout(messages)


def h11_responses(data: bytes, method: str = "GET") -> Readout:
    """The final response to one request, as a client on h11 reads it."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_ROOM)
    connection.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
    connection.send(h11.EndOfMessage())
    messages: list[Message] = []
    return Readout(messages, _read(connection, data, messages))


def _without_empty_lines(data: bytes) -> bytes:
    while data.startswith(b"\r\n"):
        data = data[2:]
    return data


def _read(connection: h11.Connection, data: bytes, messages: list[Message]) -> str:
    """Read one message, and whatever comes before it; the error, if there is one."""
    try:
        if data:
            connection.receive_data(data)
        connection.receive_data(b"")
        while _next(connection, messages):
            pass
    except h11.RemoteProtocolError as error:
        return str(error) or "malformed"
    return ""


def _next(connection: h11.Connection, messages: list[Message]) -> bool:
    event: Any = connection.next_event()
    match event:
        case h11.Request():
            messages.append(Message(event.method.decode(), event.target.decode()))
        case h11.Response():
            messages.append(Message(status=event.status_code))
        case h11.InformationalResponse():
            return event.status_code != 101
        case h11.Data():
            messages[-1] = messages[-1]._replace(body=messages[-1].body + bytes(event.data))
        case h11.EndOfMessage():
            messages[-1] = messages[-1]._replace(complete=True)
            if connection.our_role is h11.SERVER:  # a response decides whether the connection goes on
                connection.send(h11.Response(status_code=404, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
            return False
        case _:
            return False
    return True
