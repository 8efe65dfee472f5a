"""The upstream's side of HTTP/1, event by event: which responses are believed, and which connections are used again."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from mitmproxy.connection import ConnectionState, Server

from ccproxy.addons.transport import http1_upstream_side as side
from ccproxy.addons.transport.http1_heads import MAX_RESPONSE_HEAD
from ccproxy.settings import Settings
from tests.fakes.client import message, request
from tests.fakes.playbook import Play
from tests.fakes.upstream import chunk

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
ANSWER = OK + b"Content-Length: 2\r\n\r\n{}"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
BYTES = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
REQUEST = request("/api/v1/messages", message())
FILE = request("/api/v1/files/f/content", method="GET")


@pytest.fixture
def play() -> Iterator[Play]:
    own = {"base_url": "http://api.test", "api_key": "sk-ant-" + "configured"}
    made = Play(Settings(providers={"claude_api": own}))
    yield made
    made.end()


def asked(play: Play, data: bytes = REQUEST) -> Server:
    """A request on its way to the upstream."""
    play.client_sends(data)
    server = (
        play.connected()
        if play.opening
        else next(key for key in play.sent if isinstance(key, Server) and key.connected)
    )
    play.take(server)
    return server


def status(data: bytes) -> int:
    return int(data.split(b" ")[1])


def reason(data: bytes) -> str:
    text: str = json.loads(data.partition(b"\r\n\r\n")[2])["error"]["message"]
    return text


def is_used_again(play: Play) -> bool:
    """Whether the next request takes the connection of the last."""
    play.take()
    play.client_sends(REQUEST)
    return play.opening == []


# ---- what is not believed

MALFORMED = {
    "status 1000": (b"HTTP/1.1 1000 OK\r\n\r\n", "status line"),
    "status 99": (b"HTTP/1.1 99 OK\r\n\r\n", "status line"),
    "status of other digits": ("HTTP/1.1 \u0662\u0660\u0660 OK\r\n\r\n".encode(), "status line"),
    "another protocol": (b"SSH-2.0-OpenSSH_9.9\r\n", "status line"),
    "HTML": (b"<!DOCTYPE html>", "status line"),
    "101": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "switches protocols"),
    "an endless line": (b"HTTP/1.1 200 " + b"a" * MAX_RESPONSE_HEAD, "256 KB"),
    "endless headers": (OK + b"A: b\r\n" * (MAX_RESPONSE_HEAD // 6), "256 KB"),
    "many headers": (OK + b"A: b\r\n" * 300 + b"\r\n", "256 header fields"),
    "endless interim responses": (b"HTTP/1.1 100 Continue\r\n\r\n" * (side.MAX_INTERIM + 1), "interim responses"),
    "large interim responses": (
        (b"HTTP/1.1 103 Early\r\nLink: " + b"a" * 60_000 + b"\r\n\r\n") * 6,
        "interim responses",
    ),
    "a folded line in an interim response": (b"HTTP/1.1 103 Early\r\nA: b\r\n c\r\n\r\n" + ANSWER, "folded"),
    "two lengths": (OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "Content-Length"),
    "length and chunks": (OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", "both"),
    "a coding": (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "not chunked"),
    "a bare LF": (b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}", "CRLF"),
    "a chunk size that is not one": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
        "size of a chunk",
    ),
    "a large chunk size": (OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 17 + b"\r\n", "size of a chunk"),
    "a chunk line without end": (OK + b"Transfer-Encoding: chunked\r\n\r\n2;" + b"a" * 2000, "too long"),
    "endless trailers": (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 2000, "trailers"),
}


@pytest.mark.parametrize(("data", "word"), MALFORMED.values(), ids=MALFORMED.keys())
@pytest.mark.parametrize("step", [1_000_000, 1000])
def test_a_malformed_response_is_a_502_that_says_why(play: Play, data: bytes, word: str, step: int) -> None:
    server = asked(play)
    for at in range(0, len(data), step):
        if server.connected:
            play.server_sends(server, data[at : at + step])
    response = play.take()
    assert status(response) == 502
    assert word in reason(response)
    assert server in play.closed
    assert play.client.connected
    assert play.ends == 1
    assert not is_used_again(play)


def test_the_same_in_the_middle_of_a_stream(play: Play) -> None:
    server = asked(play)
    play.server_sends(server, STREAM + chunk(b"data: 1\n\n") + b"zz\r\n")
    assert b"event: error" in play.take()
    assert server in play.closed
    server = asked(play)
    play.server_sends(server, STREAM + chunk(b"data: 1") + b"zz\r\n")
    assert play.closed[-1] is play.client


def test_interim_responses_up_to_the_limit(play: Play) -> None:
    server = asked(play)
    play.server_sends(server, b"HTTP/1.1 102 Processing\r\n\r\n" * side.MAX_INTERIM + ANSWER)
    assert play.take().startswith(b"HTTP/1.1 200 OK\r\n")
    server = asked(play)
    play.server_sends(server, b"HTTP/1.1 102 Processing\r\n\r\n" * side.MAX_INTERIM + ANSWER)
    assert play.take().startswith(b"HTTP/1.1 200 OK\r\n")


def test_interim_responses_that_drip(play: Play) -> None:
    server = asked(play)
    for byte in b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + ANSWER:
        assert play.to_client == b""
        play.server_sends(server, bytes([byte]))
    assert play.take().endswith(b"\r\n\r\n{}")


# ---- upstreams that close


def test_a_kept_connection_that_sends_an_interim_response_and_closes_has_seen_the_request(play: Play) -> None:
    play.server_sends(asked(play), ANSWER)
    play.take()
    server = asked(play)
    play.server_sends(server, b"HTTP/1.1 100 Continue\r\n\r\n")
    play.server_leaves(server)
    assert play.opening == []  # the request is not sent again
    assert status(play.take()) == 502


@pytest.mark.parametrize("sent", range(1, len(ANSWER) - 1, 7))
def test_an_upstream_that_closes_at_any_moment(play: Play, sent: int) -> None:
    server = asked(play)
    play.server_sends(server, ANSWER[:sent])
    play.server_leaves(server)
    response = play.take()
    assert status(response) == 502
    assert "in the middle of its response" in reason(response)
    assert server.state is ConnectionState.CLOSED
    assert play.client.connected
    assert not is_used_again(play)


@pytest.mark.parametrize(
    "whole",
    [b"", OK[:20], BYTES + b"Content-Length: 5\r\n\r\nab", BYTES + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"],
)
def test_a_body_that_ends_early_is_never_whole(play: Play, whole: bytes) -> None:
    server = asked(play, FILE)
    if whole:
        play.server_sends(server, whole)
    play.server_leaves(server)
    response = play.take()
    assert status(response) == 502 or not play.client.connected


def test_a_body_that_ends_with_its_connection(play: Play) -> None:
    server = asked(play, FILE)
    play.server_sends(server, BYTES + b"\r\nab")
    play.server_sends(server, b"cd")
    play.server_leaves(server)
    response = play.take()
    assert b"transfer-encoding: chunked\r\n" in response
    assert response.endswith(b"\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n")
    assert play.client.connected
    assert not is_used_again(play)


def test_a_body_that_ends_with_a_reset_is_cut(play: Play) -> None:
    server = asked(play, FILE)
    play.server_sends(server, BYTES + b"\r\nab")
    play.layer.was_reset = lambda connection: connection is server
    play.server_leaves(server)
    response = play.take()
    assert response.endswith(b"2\r\nab\r\n")
    assert play.closed[-1] is play.client


# ---- which connections are used again


@pytest.mark.parametrize(
    ("response", "again"),
    [
        (ANSWER, True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nA: b\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", True),
        (OK + b"Connection: keep-alive\r\nContent-Length: 2\r\n\r\n{}", True),
        (OK + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}", False),
        (OK + b"Connection: X, Close\r\nContent-Length: 2\r\n\r\n{}", False),
        (OK + b"Connection: X\r\nConnection: CLOSE\r\nContent-Length: 2\r\n\r\n{}", False),
        (ANSWER.replace(b"HTTP/1.1", b"HTTP/1.0"), False),
        (ANSWER.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"\r\n", b"\r\nConnection: keep-alive\r\n", 1), False),
        (b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", False),
        (b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", False),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", False),
        (ANSWER + b"\r\n", False),
        (ANSWER + b"x", False),
        (ANSWER + ANSWER, False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n\r\n", False),
    ],
)
@pytest.mark.parametrize("step", [1_000_000, 1])
def test_which_connections_are_used_again(play: Play, response: bytes, again: bool, step: int) -> None:
    server = asked(play)
    for at in range(0, len(response), step):
        if server.connected:
            play.server_sends(server, response[at : at + step])
    assert status(play.to_client) < 400
    assert play.ends == 1
    assert server.connected is again
    assert is_used_again(play) is again


def test_data_without_a_request_ends_the_connection(play: Play) -> None:
    server = asked(play)
    play.server_sends(server, ANSWER)
    play.server_sends(server, b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert server in play.closed
    assert not is_used_again(play)


def test_nothing_that_comes_after_an_error_matters(play: Play) -> None:
    server = asked(play)
    play.server_sends(server, b"\0")
    assert status(play.take()) == 502
    for state in (
        ConnectionState.OPEN,
        ConnectionState.CAN_READ,
    ):  # events may be on their way when a connection is closed
        server.state = state
        play.server_sends(server, ANSWER)
    assert play.take() == b""
    assert play.ends == 1
