"""The stream layer, event by event: which commands it gives, in which order, and that time is on its side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given, strategies as st
from mitmproxy import http
from mitmproxy.connection import Server

from ccproxy.addons.exchange import Way, of
from ccproxy.addons.gateway.ways import upstream as upstream_way
from ccproxy.settings import Settings
from tests.fakes.client import message, request
from tests.fakes.playbook import Play
from tests.fakes.routes import NATIVE
from tests.fakes.upstream import chunk

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
BUSY = b"HTTP/1.1 529 Busy\r\nRetry-After: 0\r\nContent-Length: 2\r\n\r\n{}"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
REQUEST = request("/api/v1/messages", message(), ("X-Mine", "1"))


def settings(**claude_api: Any) -> Settings:
    own = {"base_url": "http://api.test", "api_key": "sk-ant-" + "configured", **claude_api}
    return Settings(
        providers={"claude_api": own, "codex": {"base_url": "http://codex.test/backend-api/codex", "api_key": "k"}}
    )


Start = Callable[..., Play]


@pytest.fixture
def start() -> Iterator[Start]:
    plays = []

    def begin(hooks: Any = None, *, hold: bool = False, **claude_api: Any) -> Play:
        plays.append(Play(settings(**claude_api), hooks=hooks, hold=hold))
        return plays[-1]

    yield begin
    for play in plays:
        play.end()


@pytest.fixture
def play(start: Start) -> Play:
    return start()


def asked(play: Play, data: bytes = REQUEST) -> Server:
    """A request on its way to the upstream."""
    play.client_sends(data)
    return (
        play.connected()
        if play.opening
        else next(key for key in play.sent if isinstance(key, Server) and key.connected)
    )


def status(data: bytes) -> int:
    return int(data.split(b" ")[1])


# ---- the way of a request


def test_nothing_is_opened_before_the_request_is_whole(play: Play) -> None:
    play.client_sends(REQUEST[:-1])
    assert play.opening == []
    play.client_sends(REQUEST[-1:])
    assert play.opening[0].connection.address == ("api.test", 80)


def test_head_and_body_and_the_answer(play: Play) -> None:
    server = asked(play)
    assert play.take(server) == (
        b"POST /v1/messages HTTP/1.1\r\nHost: api.test\r\nX-Mine: 1\r\nContent-Length: %d\r\nanthropic-version: 2023-06-01\r\n"
        b"x-api-key: sk-ant-configured\r\n\r\n" % len(message()) + message()
    )
    play.server_sends(server, ANSWER)
    answer = play.take()
    assert answer.startswith(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nx-ccproxy-flow: "
    )
    assert answer.endswith(b"\r\n\r\n{}")
    assert play.closed == []
    assert (play.called["response"], play.called["error"]) == (1, 0)
    assert play.layer.streams == {}


def test_the_credential_is_on_the_wire_and_never_on_the_flow(play: Play) -> None:
    seen: list[str] = []

    def look(name: str, flow: http.HTTPFlow) -> None:
        seen.append(name)
        assert "configured" not in str(flow.get_state())
        assert "clients-own" not in str(flow.get_state())

    play.watch.append(look)
    server = asked(
        play,
        request("/api/v1/messages", message(), ("x-api-key", "clients-own"), ("Authorization", "Bearer clients-own")),
    )
    assert b"sk-ant-configured" in play.sent[server]
    assert b"clients-own" not in play.sent[server]
    play.server_sends(server, ANSWER)
    assert seen == ["requestheaders", "request", "responseheaders", "response"]


# ---- attempts


def test_a_refused_connect_is_tried_three_times_in_all(play: Play) -> None:
    play.client_sends(REQUEST)
    for _ in range(3):
        assert play.to_client == b""
        play.refused()
    assert play.opening == []
    assert status(play.take()) == 502
    assert play.ends == 1


def test_a_connect_that_works_the_third_time(play: Play) -> None:
    play.client_sends(REQUEST)
    play.refused()
    play.refused()
    server = play.connected()
    play.server_sends(server, ANSWER)
    assert status(play.take()) == 200


def test_the_next_request_starts_its_own_count(play: Play) -> None:
    for _ in range(2):
        play.client_sends(REQUEST)
        for _ in range(3):
            play.refused()
        assert status(play.take()) == 502


def test_a_connect_that_takes_too_long_is_given_up_once(play: Play) -> None:
    play.client_sends(REQUEST)
    assert play.wakeups[0].delay == 10.0
    play.wakes()
    assert play.opening == []
    assert status(play.take()) == 502
    assert play.ends == 1
    server = asked(play)  # and the next request tries again
    play.server_sends(server, ANSWER)
    assert status(play.take()) == 200


def test_the_connect_timeout_ends_with_the_connection(play: Play) -> None:
    server = asked(play)
    play.wakes()
    assert play.closed == []
    play.server_sends(server, ANSWER)
    assert status(play.take()) == 200


def test_no_connection_is_made_for_a_client_that_has_left(play: Play) -> None:
    play.client_sends(REQUEST)
    play.client_leaves()
    play.refused()
    assert play.opening == []
    assert (play.called["response"], play.called["error"]) == (0, 1)


@pytest.mark.parametrize("path", [route.path for route in NATIVE[:4]])
def test_a_kept_connection_that_was_closed_meanwhile(play: Play, path: str) -> None:
    body = next(route.body for route in NATIVE if route.path == path)
    first = asked(play, request(path, body))
    play.server_sends(first, ANSWER)
    sent = play.take(first)
    play.client_sends(request(path, body))
    assert play.opening == []
    play.server_leaves(first)
    second = play.connected()
    assert play.take(second) == sent
    play.server_sends(second, ANSWER)
    assert play.take().count(b"HTTP/1.1 200 OK") == 2
    assert play.ends == 2


def test_a_kept_connection_that_closes_in_the_middle_of_a_head_may_have_done_the_work(play: Play) -> None:
    server = asked(play)
    play.server_sends(server, ANSWER)
    play.take()
    play.client_sends(REQUEST)
    play.server_sends(server, b"HTTP/1.1 2")
    play.server_leaves(server)
    assert play.opening == []
    assert status(play.take()) == 502


def test_a_fresh_connection_that_closes_may_have_done_the_work(play: Play) -> None:
    server = asked(play)
    play.server_leaves(server)
    assert play.opening == []
    assert status(play.take()) == 502


def test_a_kept_connection_is_not_used_after_a_minute(play: Play) -> None:
    first = asked(play)
    play.server_sends(first, ANSWER)
    play.clock.now += 60
    play.client_sends(REQUEST)
    assert play.opening == []
    play.server_sends(first, ANSWER)
    play.clock.now += 60.1
    play.client_sends(REQUEST)
    assert play.closed == [first]
    second = play.connected()
    play.server_sends(second, ANSWER)
    assert play.take().count(b"HTTP/1.1 200 OK") == 3


def test_the_minute_begins_with_the_end_of_the_answer(play: Play) -> None:
    server = asked(play)
    play.server_sends(server, STREAM)
    play.clock.now += 3000
    play.server_sends(server, chunk(b"data: 1\n\n") + b"0\r\n\r\n")
    play.clock.now += 59
    play.client_sends(REQUEST)
    assert play.opening == []


def test_each_upstream_has_a_connection_of_its_own(play: Play) -> None:
    codex = request(NATIVE[2].path, NATIVE[2].body)
    servers = []
    for data in (REQUEST, codex):
        play.client_sends(data)
        servers.append(play.connected())
        play.server_sends(servers[-1], ANSWER)
    for data, server in ((codex, servers[1]), (REQUEST, servers[0])):
        play.take(server)
        play.client_sends(data)
        assert play.opening == []
        assert play.take(server).startswith(b"POST ")
        play.server_sends(server, ANSWER)


# ---- statuses that are tried again


def test_a_drained_status(start: Start) -> None:
    play = start(retries=[529])
    server = asked(play)
    sent = play.take(server)
    for _ in range(2):
        play.server_sends(server, BUSY[:-1])
        assert play.take(server) == b""  # not before the answer was read to its end
        play.server_sends(server, BUSY[-1:])
        assert play.to_client == b""
        assert play.take(server) == sent
    play.server_sends(server, ANSWER)
    assert status(play.take()) == 200
    assert play.called == {
        "requestheaders": 1,
        "request": 1,
        "upstream_answered": 2,
        "responseheaders": 1,
        "response": 1,
    }


def test_the_last_of_them_is_the_clients(start: Start) -> None:
    play = start(retries=[529])
    server = asked(play)
    for _ in range(3):
        play.server_sends(server, BUSY)
    assert status(play.take()) == 529
    assert play.ends == 1


def test_an_upstream_that_dies_while_it_is_drained(start: Start) -> None:
    play = start(retries=[529])
    server = asked(play)
    play.server_sends(server, BUSY[:-1])
    play.server_leaves(server)
    assert status(play.take()) == 502
    assert play.ends == 1


def test_an_upstream_that_closes_after_each_status(start: Start) -> None:
    play = start(retries=[529])
    for _ in range(2):
        server = asked(play)
        play.server_sends(server, BUSY.replace(b"Retry-After", b"Connection: close\r\nRetry-After"))
        assert server in play.closed
    server = play.connected()
    play.server_sends(server, ANSWER)
    assert status(play.take()) == 200


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(b"", [0.5, 1.0]), (b"Retry-After: 3\r\n", [3, 3]), (b"Retry-After: 1.5\r\n", [1.5, 1.5]), (b"Retry-After: 600\r\n", [10, 10]),
     (b"Retry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n", [0.5, 1.0]), (b"Retry-After: -1\r\n", [0.5, 1.0])],
)  # fmt: skip
def test_how_long_it_waits(start: Start, monkeypatch: pytest.MonkeyPatch, header: bytes, seconds: list[float]) -> None:
    slept: list[float] = []

    async def sleep(duration: float) -> None:
        slept.append(duration)

    monkeypatch.setattr(upstream_way.asyncio, "sleep", sleep)
    play = start(retries=[529])
    server = asked(play)
    for _ in range(2):
        play.server_sends(server, BUSY.replace(b"Retry-After: 0\r\n", header))
    assert slept == seconds


def test_a_client_that_leaves_during_the_wait(start: Start) -> None:
    play = start(retries=[529], hold=True)
    play.client_sends(REQUEST)
    play.hook_done()
    play.hook_done()
    server = play.connected()
    play.take(server)
    play.server_sends(server, BUSY)
    assert [hook.name for hook in play.held] == ["upstream_answered"]
    play.client_leaves()
    play.hook_done()
    assert play.take(server) == b""
    play.hook_done()
    assert (play.called["response"], play.called["error"]) == (0, 1)


# ---- ends


def test_an_upstream_that_dies_between_two_events(play: Play) -> None:
    server = asked(play)
    play.server_sends(server, STREAM + chunk(b"data: 1\n\n"))
    play.take()
    play.server_leaves(server)
    error, end = play.take()[:-5], b"0\r\n\r\n"
    size, _, rest = error.partition(b"\r\n")
    assert len(rest) == int(size, 16) + 2
    assert rest.startswith(b"event: error\ndata: ")
    assert play.closed[-1:] != [play.client]
    assert (play.called["response"], play.called["error"]) == (1, 0)
    assert of(play.flows[0]).progress.truncated
    assert end


def test_an_upstream_that_dies_within_an_event(play: Play) -> None:
    server = asked(play)
    play.server_sends(server, STREAM + chunk(b"data: 1\n\n") + chunk(b"data: 2"))
    play.take()
    play.server_leaves(server)
    assert play.take() == b""
    assert play.closed[-1] is play.client
    assert (play.called["response"], play.called["error"]) == (0, 1)
    assert of(play.flows[0]).progress.truncated


def test_a_client_that_leaves_takes_its_upstream_with_it(play: Play) -> None:
    server = asked(play)
    play.server_sends(server, STREAM + chunk(b"data: 1\n\n"))
    play.client_leaves()
    assert server in play.closed
    assert (play.called["response"], play.called["error"]) == (0, 1)
    assert play.layer.streams == {}


def test_an_answer_before_the_body_was_read_is_an_answer(play: Play) -> None:
    server = asked(play, request("/api/v1/messages", message(text="x" * 100_000)))
    play.server_sends(server, b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
    assert status(play.take()) == 413


# ---- answers made here


class Words:
    """Stands in for a local answer: hooks that set what the gateway's own would set."""

    def __init__(self, *chunks: bytes, dropped: bool = False) -> None:
        self.chunks = [*chunks, b""]
        self.chunk = b""
        self.dropped = dropped
        self.asked = 0

    def request(self, flow: http.HTTPFlow) -> None:
        exchange: Any = of(flow)
        exchange.way = Way()
        exchange.way.body = self  # type: ignore[assignment]
        flow.response = http.Response.make(
            200, b"", {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
        )
        flow.response.headers.pop("content-length", None)

    def local_chunk(self, flow: http.HTTPFlow) -> None:
        self.asked += 1
        self.chunk = self.chunks.pop(0)

    def cancel(self) -> None:
        """As InProcessBody's."""

    @property
    def hooks(self) -> dict[str, Any]:
        return {"request": self.request, "local_chunk": self.local_chunk}


def test_a_local_answer_is_pulled_piece_by_piece(start: Start) -> None:
    words = Words(b"data: 1\n\n", b"data: 2\n\n")
    play = start(words.hooks, hold=True)
    play.client_sends(request("/mock/v1/messages", message(stream=True)))
    for _ in range(3):
        play.hook_done()
    assert play.take().startswith(b"HTTP/1.1 200 OK\r\n")
    for piece in (b"9\r\ndata: 1\n\n\r\n", b"9\r\ndata: 2\n\n\r\n"):
        assert [hook.name for hook in play.held] == ["local_chunk"]
        assert play.take() == b""
        play.hook_done()
        assert play.take() == piece
    play.hook_done()
    assert [hook.name for hook in play.held] == ["response"]
    play.hook_done()
    assert play.take() == b"0\r\n\r\n"
    assert play.opening == []


def test_a_local_answer_whose_client_leaves(start: Start) -> None:
    words = Words(*[b"data: 1\n\n"] * 10)
    play = start(words.hooks, hold=True)
    play.client_sends(request("/mock/v1/messages", message(stream=True)))
    for _ in range(5):
        play.hook_done()
    play.client_leaves()
    asked_for = words.asked
    while play.held:
        play.hook_done()
    assert words.asked <= asked_for + 1
    assert (play.called["response"], play.called["error"]) == (0, 1)
    assert play.layer.streams == {}


def test_a_local_answer_that_breaks_off(start: Start) -> None:
    play = start(Words(b"data: 1\n\n", dropped=True).hooks)
    play.client_sends(request("/mock/v1/messages", message(stream=True)))
    assert play.take().endswith(b"9\r\ndata: 1\n\n\r\n")
    assert play.closed == [play.client]
    assert (play.called["response"], play.called["error"]) == (0, 1)


# ---- anything at all

_PIECES = (
    ANSWER, BUSY, STREAM, chunk(b"data: 1\n\n"), chunk(b"data: 2"), b"0\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200",
    b"\r\n\r\n", b"garbage\r\n\r\n", b"HTTP/1.1 101 Switching\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n", b"zz\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
)  # fmt: skip
_STEPS = st.one_of(
    st.tuples(
        st.just("client sends"),
        st.sampled_from([REQUEST, REQUEST[:60], REQUEST[60:], b"\r\n", b"junk\r\n\r\n", REQUEST * 2]),
    ),
    st.tuples(st.just("server sends"), st.sampled_from(_PIECES)),
    st.tuples(
        st.sampled_from(["connected", "refused", "server leaves", "client leaves", "wakes", "hook done", "minute"]),
        st.just(b""),
    ),
)


@example(steps=[("server sends", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")], hold=False, retries=[])
@given(steps=st.lists(_STEPS, max_size=30), hold=st.booleans(), retries=st.sampled_from([[], [529]]))
def test_whatever_happens_each_exchange_ends_once_and_nothing_stays(
    steps: list[tuple[str, bytes]], hold: bool, retries: list[int]
) -> None:
    play = Play(settings(retries=retries), hold=hold)
    play.hooks = {"upstream_answered": lambda flow: setattr(of(flow), "retry", True)}
    servers: list[Server] = []
    try:
        for step, data in [("client sends", REQUEST), ("connected", b""), *steps]:
            open_servers = [server for server in servers if server.connected]
            match step:
                case "client sends" if play.client.connected:
                    play.client_sends(data)
                case "server sends" if open_servers:
                    play.server_sends(open_servers[-1], data)
                case "server leaves" if open_servers:
                    play.server_leaves(open_servers[-1])
                case "client leaves" if play.client.connected:
                    play.client_leaves()
                case "connected" if play.opening:
                    servers.append(play.connected())
                case "refused" if play.opening:
                    play.refused()
                case "wakes" if play.wakeups:
                    play.wakes()
                case "hook done" if play.held:
                    play.hook_done()
                case "minute":
                    play.clock.now += 61
        # Everybody goes home.
        if play.client.connected:
            play.client_leaves()
        while play.held or play.opening:
            if play.held:
                play.hook_done()
            if play.opening:
                play.refused()
        for server in servers:
            if server.connected:
                play.server_leaves(server)
        while play.held:
            play.hook_done()
        assert play.layer.streams == {}
        assert play.ends == len(play.flows)
        assert play.gateway.live == {}
        assert not any(server.connected for server in servers)
    finally:
        play.end()
