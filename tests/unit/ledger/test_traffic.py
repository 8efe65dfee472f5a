"""Messages on their way to sinks: decoded and redacted once, in order, within bounds."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from typing import Any

import brotli
import pytest

from ccproxy.ledger import traffic as module
from ccproxy.ledger.traffic import End, Head, Message, Traffic
from ccproxy.redaction import REDACTED, RedactedStream, Redaction

REQUEST, RESPONSE = Message.CLIENT_REQUEST, Message.UPSTREAM_RESPONSE
SECRET = "sk-ant-" + "dummy"


class Memory:
    """A sink that keeps everything."""

    def __init__(self, room: int = 1 << 20) -> None:
        self.room = room
        self.steps: list[tuple[Message, str]] = []
        self.heads: dict[Message, Head] = {}
        self.bodies: dict[Message, bytes] = {}
        self.ends: dict[Message, End] = {}
        self.threads: set[str] = set()
        self.closed = 0

    def head(self, message: Message, head: Head) -> None:
        self.steps.append((message, "head"))
        self.heads[message], self.bodies[message] = head, b""

    def body(self, message: Message, data: bytes) -> None:
        self.threads.add(threading.current_thread().name)
        self.steps.append((message, "body"))
        self.bodies[message] += data

    def end(self, message: Message, end: End) -> None:
        self.steps.append((message, "end"))
        self.ends[message] = end

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def traffic() -> Iterator[Traffic]:
    made = Traffic(Redaction())
    made.start()
    yield made
    made.close()


def test_all_sinks_get_the_same_redacted_once(traffic: Traffic, monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[int] = []
    feed = RedactedStream.feed

    def counted(self: RedactedStream, chunk: bytes, **more: Any) -> bytes:
        fed.append(len(chunk))
        return feed(self, chunk, **more)

    monkeypatch.setattr(RedactedStream, "feed", counted)
    sinks = [Memory(), Memory(), Memory()]
    exchange = traffic.exchange(sinks)
    exchange.head(REQUEST, "POST /cb?code=opaque HTTP/1.1", [("x-api-key", "opaque"), ("x-note", SECRET)], "original")
    body = f'{{"password": "opaque", "text": "{SECRET}"}}'.encode()
    for at in range(len(body)):
        exchange.body(REQUEST, body[at : at + 1])
    exchange.end(REQUEST)
    exchange.close()
    assert traffic.flush()
    for sink in sinks:
        assert sink.heads[REQUEST].first_line == f"POST /cb?code={REDACTED} HTTP/1.1"
        assert sink.heads[REQUEST].fields == [("x-api-key", REDACTED), ("x-note", REDACTED)]
        assert sink.heads[REQUEST].original == "original"
        assert sink.bodies[REQUEST] == f'{{"password": "{REDACTED}", "text": "{REDACTED}"}}'.encode()
        assert sink.ends[REQUEST] == End(len(body), "complete")
        assert sink.threads == {"ccproxy-traffic"}
        assert sink.closed == 1
    assert fed.count(len(body)) == 1  # at once, and for all sinks together


def test_each_sink_has_its_own_room(traffic: Traffic) -> None:
    small, large = Memory(1000), Memory(5000)
    exchange = traffic.exchange([small, large])
    exchange.head(REQUEST, "POST / HTTP/1.1", [])
    for _ in range(100):
        exchange.body(REQUEST, b"a b " * 25)
    exchange.end(REQUEST)
    assert traffic.flush()
    assert len(large.bodies[REQUEST]) == 5000
    assert large.ends[REQUEST] == End(10_000, "complete", cut=True)
    assert len(small.bodies[REQUEST]) <= 5000  # it cuts what it is given


@pytest.mark.parametrize(("encoding", "bomb"), [("gzip", gzip.compress(b"a " * 50_000_000)), ("br", brotli.compress(b"a " * 50_000_000))])  # fmt: skip
def test_a_bomb_is_decoded_as_far_as_there_is_room(traffic: Traffic, encoding: str, bomb: bytes) -> None:
    sink = Memory(10_000)
    exchange = traffic.exchange([sink])
    exchange.head(RESPONSE, "HTTP/1.1 200 OK", [("Content-Encoding", encoding)])
    for at in range(0, len(bomb), 1000):
        exchange.body(RESPONSE, bomb[at : at + 1000])
    exchange.end(RESPONSE)
    assert traffic.flush()
    assert sink.bodies[RESPONSE] == b"a " * 5000
    assert sink.ends[RESPONSE].cut
    assert sink.ends[RESPONSE].encoding == encoding


def test_a_second_head_is_another_attempt(traffic: Traffic) -> None:
    sink = Memory()
    exchange = traffic.exchange([sink])
    for data in (b"one", b"two"):
        exchange.head(REQUEST, "POST / HTTP/1.1", [])
        exchange.body(REQUEST, data)
    exchange.close()
    assert traffic.flush()
    assert sink.steps == [(REQUEST, step) for step in ("head", "body", "end", "head", "body", "end")]
    assert sink.bodies[REQUEST] == b"two"
    assert sink.ends[REQUEST].note == "cut"


@pytest.mark.parametrize("method", ["head", "body", "end", "close"])
def test_a_sink_that_fails_harms_no_other(
    traffic: Traffic, method: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = Memory(), Memory()

    def fails(*_: object) -> None:
        raise RuntimeError("no room on the moon")

    monkeypatch.setattr(bad, method, fails)
    exchange = traffic.exchange([bad, good])
    exchange.head(REQUEST, "POST / HTTP/1.1", [])
    exchange.body(REQUEST, b"x ")
    exchange.end(REQUEST)
    exchange.head(RESPONSE, "HTTP/1.1 200 OK", [])
    exchange.close()
    assert traffic.flush()
    assert good.bodies[REQUEST] == b"x "
    assert good.closed == 1
    assert caplog.text.count("no room on the moon") >= 1
    assert bad.closed == (method != "close")
    assert method == "close" or (RESPONSE, "head") not in bad.steps  # it is not given anything more


def test_a_callback_that_fails_harms_no_exchange(caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> None:
        raise OSError("full")

    traffic = Traffic(Redaction(), after_batch=[fails])
    traffic.start()
    sink = Memory()
    exchange = traffic.exchange([sink])
    exchange.head(REQUEST, "POST / HTTP/1.1", [])
    exchange.close()
    assert traffic.close()
    assert sink.closed == 1
    assert "Recording traffic failed" in caplog.text


def test_nothing_waits_for_a_thread_that_is_busy(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 1000)
    busy, go_on = threading.Event(), threading.Event()

    class Slow(Memory):
        def head(self, message: Message, head: Head) -> None:
            super().head(message, head)
            busy.set()
            go_on.wait()

    traffic = Traffic(Redaction())
    traffic.start()
    sink = Slow()
    exchange = traffic.exchange([sink])
    exchange.head(REQUEST, "POST / HTTP/1.1", [])
    assert busy.wait(10)
    for _ in range(100):
        exchange.body(REQUEST, b"x " * 50)
    exchange.close()
    assert not traffic.flush(timeout=0.01)
    assert traffic.left_out > 0
    go_on.set()
    assert traffic.close()
    assert sink.ends[REQUEST] == End(10_000, "cut", cut=True)
    assert 1000 <= len(sink.bodies[REQUEST]) <= 1200


def test_flush_and_close_without_a_thread() -> None:
    traffic = Traffic(Redaction())
    assert not traffic.flush()
    assert not traffic.close()


def test_order_within_an_exchange(traffic: Traffic) -> None:
    """Chunks are collected, but never pass the end of their message."""
    sink = Memory()
    exchange = traffic.exchange([sink])
    for message in Message:
        exchange.head(message, "x", [])
    for message in Message:
        for part in (b"a\n", b"b\n", b"c\n"):
            exchange.body(message, part)
        exchange.end(message)
    exchange.close()
    assert traffic.flush()
    assert all(sink.bodies[message] == b"a\nb\nc\n" for message in Message)
    for message in Message:
        steps = [step for kind, step in sink.steps if kind is message]
        assert (steps[0], steps[-1]) == ("head", "end")
