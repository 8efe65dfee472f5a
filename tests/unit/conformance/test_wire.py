"""The comparison that the conformance suite rests on sees every kind of change."""

from __future__ import annotations

import socket
import threading

import pytest

from tests.conformance.wire import Message, Tap, answer_differences, differences, parse

REQUEST = b'POST /v1/messages?beta=true HTTP/1.1\r\nHost: 127.0.0.1:1\r\nanthropic-beta: a,b\r\nX-Api-Key: k\r\nContent-Length: 4\r\n\r\n{"":'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"


def test_requests_and_answers_are_read_off_one_connection() -> None:
    head = b"HEAD /api/hello HTTP/1.1\r\nHost: x\r\n\r\n"
    nothing = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
    goes_on = b"HTTP/1.1 100 Continue\r\n\r\n"
    first, second = parse(head + REQUEST, nothing + goes_on + ANSWER)
    assert first.request.method == "HEAD"
    assert first.response
    assert first.response.body == b""
    assert (second.request.path, second.request.body) == ("/v1/messages", b'{"":')
    assert second.response
    assert second.response.body == b"abcde"


@pytest.mark.parametrize("received", [ANSWER[:-7], b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"])
def test_an_answer_that_is_cut_off_is_kept_as_far_as_it_came(received: bytes) -> None:
    (exchange,) = parse(REQUEST, received)
    assert exchange.response
    assert exchange.response.whole is False
    assert exchange.response.body.startswith(b"abc")


def message(data: bytes) -> Message:
    return parse(data, b"")[0].request


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (b"?beta=true", b"", "query"),
        (b"a,b", b"a, b", "fields"),
        (b"anthropic-beta", b"Anthropic-Beta", "fields"),
        (b'{"":', b'{"" ', "body"),
    ],
)
def test_every_change_of_a_request_is_seen(before: bytes, after: bytes, says: str) -> None:
    (found,) = differences(message(REQUEST), message(REQUEST.replace(before, after)))
    assert found.startswith(says)


def test_what_belongs_to_the_hop_or_is_the_credential_may_change() -> None:
    other = REQUEST.replace(b"127.0.0.1:1", b"upstream").replace(b"X-Api-Key: k", b"authorization: Bearer z")
    assert differences(message(REQUEST), message(other)) == []


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [(b"200 OK", b"201 OK", "status"), (b"text/event-stream", b"text/plain", "fields"), (b"abc", b"abx", "body")],
)
def test_every_change_of_an_answer_is_seen(before: bytes, after: bytes, says: str) -> None:
    sent, arrived = (parse(REQUEST, data)[0].response for data in (ANSWER, ANSWER.replace(before, after)))
    assert sent
    assert arrived
    (found,) = answer_differences(sent, arrived)
    assert found.startswith(says)


def test_ccproxys_own_fields_are_not_a_change() -> None:
    sent, arrived = (
        parse(REQUEST, data)[0].response
        for data in (ANSWER, ANSWER.replace(b"\r\n\r\n3", b"\r\nx-ccproxy-flow: f\r\n\r\n3"))
    )
    assert sent
    assert arrived
    assert answer_differences(sent, arrived) == []


def test_the_tap_passes_on_and_keeps_what_went_through() -> None:
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(ANSWER)

    thread = threading.Thread(target=serve)
    thread.start()
    tap = Tap(server.getsockname()[1])
    try:
        with socket.create_connection(("127.0.0.1", tap.port)) as client:
            client.sendall(REQUEST)
            received = b""
            while piece := client.recv(65536):
                received += piece
    finally:
        thread.join(10)
        server.close()
        tap.close()
    assert received == ANSWER
    (exchange,) = tap.exchanges()
    assert exchange.response
    assert exchange.response.body == b"abcde"
    tap.clear()
    assert tap.exchanges() == []
