"""The client's side of HTTP/1, event by event: requests that come early, late, cut or broken, and responses that have no body."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, strategies as st
from mitmproxy import http
from mitmproxy.connection import ConnectionState, Server

from ccproxy.addons.transport import http1_client_side as side
from ccproxy.addons.transport.http1_heads import MAX_HEAD
from ccproxy.settings import Settings
from tests.fakes.client import message, request
from tests.fakes.playbook import Play
from tests.fakes.upstream import chunk

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
REQUEST = request("/api/v1/messages", message())
LIVE = request("/health/live", method="GET")
CHUNKED = request("/api/v1/messages", b"", ("Transfer-Encoding", "chunked"))
Start = Callable[..., Play]


@pytest.fixture
def start() -> Iterator[Start]:
    plays = []

    def begin(hooks: Any = None, *, hold: bool = False, max_body_mb: int = 64) -> Play:
        own = {"base_url": "http://api.test", "api_key": "sk-ant-" + "configured"}
        settings = Settings(providers={"claude_api": own}, server={"max_body_mb": max_body_mb})
        plays.append(Play(settings, hooks=hooks, hold=hold))
        return plays[-1]

    yield begin
    for play in plays:
        play.end()


@pytest.fixture
def play(start: Start) -> Play:
    return start()


def statuses(data: bytes) -> list[int]:
    """The statuses of responses one behind the other, each with its length or in chunks."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        found.append(int(head.split(b" ")[1]))
        fields = head.lower()
        if found[-1] < 200 or found[-1] in {204, 304}:
            continue
        if b"transfer-encoding: chunked" in fields:
            while (size := int(data.partition(b"\r\n")[0], 16)) > 0:
                data = data.partition(b"\r\n")[2][size + 2 :]
            data = data.removeprefix(b"0\r\n\r\n")
        else:
            data = data[int(fields.split(b"content-length: ")[1].split(b"\r\n")[0]) :]
    return found


def is_ending(play: Play) -> bool:
    """Whether ccproxy has said the last word on the client's connection."""
    return not play.client.state & ConnectionState.CAN_WRITE


def error(play: Play) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(play.take().partition(b"\r\n\r\n")[2])
    return body


# ---- requests one behind the other


@pytest.mark.parametrize("count", [2, 500])
def test_requests_that_are_made_ahead_are_answered_in_order(play: Play, count: int) -> None:
    requests = [LIVE, request("/nothing", method="GET")] * count
    play.client_sends(b"".join(requests))
    assert statuses(play.take()) == [200, 404] * count
    assert play.client.connected
    assert play.called["pipelined_request"] == 2 * count - 1
    assert play.layer.streams == {}


def test_each_waits_until_the_response_before_was_read(start: Start) -> None:
    play = start(hold=True)

    def go_on() -> None:
        while play.held and play.held[0].name != "pipelined_request":
            play.hook_done()

    play.client_sends(LIVE * 3)
    for _ in range(2):
        go_on()
        assert statuses(play.take()) == [200]
        assert [hook.name for hook in play.held] == ["pipelined_request"]
        play.hook_done()
    go_on()
    assert statuses(play.take()) == [200]
    assert play.held == []


def test_a_client_that_leaves_meanwhile_gets_no_more(start: Start) -> None:
    play = start(hold=True)
    play.client_sends(LIVE * 100)
    while play.held[0].name != "pipelined_request":
        play.hook_done()
    play.client_leaves()
    while play.held:
        play.hook_done()
    assert statuses(play.take()) == [200]
    assert play.layer.streams == {}
    assert not play.client.state & ConnectionState.CAN_WRITE


def test_what_follows_a_request_waits_for_its_response(play: Play) -> None:
    play.client_sends(REQUEST + LIVE + REQUEST[:30])
    server = play.connected()
    play.client_sends(REQUEST[30:])
    play.take(server)
    assert play.to_client == b""
    play.server_sends(server, ANSWER)
    assert statuses(play.take()) == [200, 200]
    assert play.take(server).startswith(b"POST ")
    play.server_sends(server, ANSWER)
    assert statuses(play.take()) == [200]


def test_a_client_that_sends_too_much_ahead_is_cut_off(play: Play) -> None:
    play.client_sends(REQUEST)
    server = play.connected()
    piece = b"x" * 65_535
    for _ in range(side.MAX_AHEAD // len(piece)):
        play.client_sends(piece)
    assert play.client.connected
    play.client_sends(piece)
    assert not play.client.connected
    assert server in play.closed
    assert play.called["error"] == 1


def test_an_error_ends_what_was_sent_ahead(play: Play) -> None:
    play.client_sends(LIVE + b"G(T / HTTP/1.1\r\n\r\n" + LIVE)
    assert statuses(play.take()) == [200, 400]
    assert is_ending(play)
    play.client_sends(LIVE)
    assert play.take() == b""


def test_nothing_is_read_after_a_last_request(play: Play) -> None:
    play.client_sends(request("/health/live", b"", ("Connection", "Keep-Alive, Close"), method="GET") + LIVE)
    assert statuses(play.take()) == [200]
    assert play.closed == [play.client]


def test_an_old_client_gets_one_response(play: Play) -> None:
    data = request("/health/live", b"", ("Connection", "keep-alive"), method="GET").replace(b"HTTP/1.1", b"HTTP/1.0")
    play.client_sends(data + data)
    response = play.take()
    assert statuses(response) == [200]
    assert b"connection: close" in response.lower()
    assert play.closed == [play.client]


# ---- what is refused


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (b"GET / HTTP/1.1\nHost: x\n\n", 400, "CRLF"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", 400, "name"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 300 + b"\r\n", 431, "256 header fields"),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * MAX_HEAD, 431, "64 KB"),
        (b"\x16\x03\x01\x02\x00\x01", 400, "http://"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "HTTP/2"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", 400, "request line"),
        (CHUNKED + b"zz\r\n", 400, "size of a chunk"),
        (CHUNKED + b"2\r\n{}xx", 400, "does not end with CRLF"),
        (CHUNKED + b"0\r\n" + b"A: b\r\n" * 3000, 400, "trailers"),
        (CHUNKED + b"2;" + b"a" * 2000, 400, "too long"),
    ],
)
def test_a_refusal_says_why_and_is_the_last_word(play: Play, data: bytes, status: int, reason: str) -> None:
    play.client_sends(data)
    response = play.take()
    assert statuses(response) == [status]
    assert reason in json.loads(response.partition(b"\r\n\r\n")[2])["error"]["message"]
    assert b"connection: close\r\n" in response
    assert is_ending(play)
    assert play.opening == []
    assert play.layer.streams == {}
    assert play.ends == len(play.flows)
    play.client_sends(LIVE)
    assert play.take() == b""


@pytest.mark.parametrize(
    ("path", "is_openai"),
    [("/api/v1/messages", False), ("/api/codex/responses", True), ("/x/v1/chat/completions", True)],
)
@pytest.mark.parametrize(
    "end", [b"A : b\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n+2\r\n", b"A: " + b"b" * MAX_HEAD + b"\r\n\r\n"]
)
def test_a_refusal_has_the_format_of_the_path(play: Play, path: str, is_openai: bool, end: bytes) -> None:
    play.client_sends(request(path)[:-2] + end)
    body = error(play)
    assert ("type" not in body) is is_openai
    assert body["error"]["type"] == "invalid_request_error"


def test_a_connection_lingers_until_the_client_has_read_its_last_response(play: Play) -> None:
    """A socket that is closed with unread data resets the connection, and the response is lost."""
    play.client_sends(b"GET / HTTP/1.1\r\nA: " + b"b" * MAX_HEAD)
    assert statuses(play.take()) == [431]
    assert play.closed == []
    play.client_sends(b"b" * 65_535)
    play.wakes()
    assert play.closed == []  # it was still sending
    play.wakes()
    assert play.closed == [play.client]


def test_a_client_that_never_stops_sending_is_cut_off_all_the_same(play: Play) -> None:
    play.client_sends(b"\0")
    for _ in range(side.MAX_LINGER):
        play.client_sends(b"b" * 65_535)
        play.wakes()
        assert play.closed == []
    play.client_sends(b"b")
    play.wakes()
    assert play.closed == [play.client]
    assert play.wakeups == []


def test_a_client_that_closes_after_its_last_response(play: Play) -> None:
    play.client_sends(b"\0")
    play.client_leaves()
    assert play.client.state is ConnectionState.CLOSED
    play.wakes()  # mitmproxy cannot stop a timer


def test_a_body_over_the_limit_is_dropped_while_the_client_sends_it(start: Start) -> None:
    play = start(max_body_mb=1)
    play.client_sends(request("/api/v1/messages", b"", ("Content-Length", str(2**30))) + b"x" * 1000)
    assert statuses(play.take()) == [413]
    for _ in range(100):
        play.client_sends(b"x" * 65_535)
    assert play.closed == []
    assert play.take() == b""
    play.client_leaves()
    assert play.client.state is ConnectionState.CLOSED
    assert play.layer.streams == {}


# ---- what is waited for


def test_a_body_that_is_announced_is_asked_for(play: Play) -> None:
    head, _, body = request("/api/v1/messages", message(), ("Expect", "100-Continue")).partition(b"\r\n\r\n")
    play.client_sends(head + b"\r\n\r\n")
    assert play.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    play.client_sends(body)
    server = play.connected()
    assert b"expect" not in play.take(server).lower()
    play.server_sends(server, ANSWER)
    assert statuses(play.take()) == [200]
    play.client_sends(LIVE)
    assert statuses(play.take()) == [200]


@pytest.mark.parametrize(
    ("fields", "path", "status"),
    [
        ((), "/nothing", 404),
        ((("Origin", "http://evil.test"),), "/api/v1/messages", 403),
        ((("Content-Length", str(2**30)),), "/api/v1/messages", 413),
        ((("Content-Length", "-1"),), "/api/v1/messages", 400),
    ],
)
def test_a_body_that_is_of_no_use_is_not_asked_for(
    start: Start, fields: tuple[tuple[str, str], ...], path: str, status: int
) -> None:
    play = start(max_body_mb=1)
    length = () if status in {413, 400} else (("Content-Length", "100"),)
    play.client_sends(request(path, b"", ("Expect", "100-continue"), *length, *fields))
    response = play.take()
    assert statuses(response) == [status]
    assert b"connection: close" in response
    assert is_ending(play)
    assert play.layer.streams == {}
    assert play.ends == len(play.flows)
    play.client_leaves()
    assert play.client.state is ConnectionState.CLOSED


def test_a_client_that_sends_its_body_after_a_refusal_all_the_same(play: Play) -> None:
    play.client_sends(request("/nothing", b"", ("Expect", "100-continue"), ("Content-Length", str(len(LIVE)))))
    assert statuses(play.take()) == [404]
    play.client_sends(LIVE)
    assert play.take() == b""
    play.client_leaves()
    assert play.client.state is ConnectionState.CLOSED


def test_a_body_that_breaks_after_it_was_asked_for(play: Play) -> None:
    play.client_sends(request("/api/v1/messages", b"", ("Expect", "100-continue"), ("Transfer-Encoding", "chunked")))
    assert play.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    play.client_sends(b"zz\r\n")
    assert statuses(play.take()) == [400]


def test_an_old_client_is_asked_for_nothing(play: Play) -> None:
    data = request("/api/v1/messages", message(), ("Expect", "100-continue")).replace(b"HTTP/1.1", b"HTTP/1.0")
    play.client_sends(data[: -len(message())])
    assert play.take() == b""
    play.client_sends(message())
    play.server_sends(play.connected(), ANSWER)
    assert statuses(play.take()) == [200]


# ---- clients that leave


@pytest.mark.parametrize("sent", range(0, len(REQUEST) + 1, 5))
def test_a_client_that_leaves_at_any_moment(play: Play, sent: int) -> None:
    play.client_sends(REQUEST[:sent])
    play.client_leaves()
    assert play.closed == [play.client]
    assert play.opening == []
    assert play.to_client == b""
    assert play.layer.streams == {}
    assert play.ends == len(play.flows)


@pytest.mark.parametrize("end", [b"", ANSWER[:20], ANSWER[:-1], STREAM, STREAM + chunk(b"data: 1\n\n")])
def test_a_client_that_leaves_during_a_response(play: Play, end: bytes) -> None:
    play.client_sends(REQUEST)
    server = play.connected()
    if end:
        play.server_sends(server, end)
    play.client_leaves()
    assert {*play.closed} == {play.client, server}
    assert play.layer.streams == {}
    assert play.ends == 1


# ---- responses without a body


class Own:
    """A response that a script puts in the place of any other."""

    def __init__(self, status: int, content: bytes, **headers: str) -> None:
        self.response = http.Response.make(status, content, headers)

    def __call__(self, flow: http.HTTPFlow) -> None:
        flow.response = self.response


@pytest.mark.parametrize("status", [200, 204, 304, 404])
@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("chunks", [True, False])
def test_a_response_of_ours_has_a_body_only_where_one_belongs(
    start: Start, status: int, method: str, chunks: bool
) -> None:
    own = Own(status, b"abc")
    if chunks:
        own.response.headers["transfer-encoding"] = "chunked"
        del own.response.headers["content-length"]
    play = start({"request": own})
    play.client_sends(request("/api/v1/messages", method=method) + LIVE)
    head, _, body = play.take().partition(b"\r\n\r\n")
    fields = head.lower()
    if method == "HEAD" or status in {204, 304}:
        assert body.startswith(b"HTTP/1.1 ")
        assert b"transfer-encoding" not in fields
        assert (b"content-length: 3" in fields) is (not chunks and status != 204)
    else:
        assert body.startswith(b"3\r\nabc\r\n0\r\n\r\nHTTP/1.1 " if chunks else b"abcHTTP/1.1 ")


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("lines", [b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b""])
def test_an_upstreams_response_without_a_body(play: Play, status: int, lines: bytes) -> None:
    play.client_sends(REQUEST)
    server = play.connected()
    play.server_sends(server, b"HTTP/1.1 %d X\r\nETag: a\r\n%s\r\n" % (status, lines))
    head, _, body = play.take().partition(b"\r\n\r\n")
    assert body == b""
    assert b"transfer-encoding" not in head.lower()
    assert (b"content-length: 5" in head.lower()) is (status == 304 and b"Length" in lines)
    assert play.ends == 1
    play.client_sends(LIVE)
    assert statuses(play.take()) == [200]


def test_a_head_request_for_a_stream_of_ours_ends(play: Play) -> None:
    token = play.gateway.own.tokens[0] if play.gateway.own.tokens else ""
    play.client_sends(request("/permissions/stream", b"", ("x-ccproxy-token", token), method="HEAD") + LIVE)
    first, second = play.take().split(b"HTTP/1.1 ")[1:]
    assert first.endswith(b"\r\n\r\n")
    assert second.startswith(b"200")


# ---- anything at all

_PIECES = (
    REQUEST,
    LIVE,
    LIVE * 3,
    REQUEST[:60],
    REQUEST[60:],
    CHUNKED,
    b"2\r\n{}\r\n",
    b"0\r\n\r\n",
    b"0\r\n",
    b"A: b\r\n",
    b"\r\n",
    b"zz\r\n",
    b"\0",
    b"\n\n",
    request("/health/live", b"", ("Connection", "close"), method="GET"),
    request("/x", b"", ("Expect", "100-continue"), ("Content-Length", "5")),
    b"hello",
    request("/health/live", method="HEAD"),
    b"GET / HTTP/1.0\r\n\r\n",
    b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
)


@given(
    st.lists(
        st.sampled_from(_PIECES) | st.binary(max_size=4) | st.sampled_from(["wakes", "hook", "answers", "leaves"]),
        max_size=15,
    ),
    st.booleans(),
)
def test_whatever_a_client_sends_each_exchange_ends_once(steps: list[bytes | str], hold: bool) -> None:
    own = {"base_url": "http://api.test", "api_key": "sk-ant-" + "configured"}
    play = Play(Settings(providers={"claude_api": own}), hold=hold)
    try:
        for step in [*steps, "leaves"]:
            if isinstance(step, bytes):
                if play.client.state & ConnectionState.CAN_READ and step:
                    play.client_sends(step)
            elif step == "wakes" and play.wakeups:
                play.wakes()
            elif step == "hook" and play.held:
                play.hook_done()
            elif step == "answers":
                if play.opening:
                    play.connected()
                for server in [key for key in play.sent if isinstance(key, Server) and key.connected]:
                    if play.take(server):
                        play.server_sends(server, ANSWER)
            elif step == "leaves" and play.client.state & ConnectionState.CAN_READ:
                play.client_leaves()
        while play.held or play.opening:
            if play.held:
                play.hook_done()
            if play.opening:
                play.refused()
        assert play.client.state is ConnectionState.CLOSED
        assert play.layer.streams == {}
        assert play.ends == len(play.flows)
        assert play.gateway.live == {}
    finally:
        play.end()
