"""The raw HTTP log on a real folder, behind the thread that redacts."""

from __future__ import annotations

import gzip
import stat
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings, strategies as st

from ccproxy.ledger import traffic as traffic_module
from ccproxy.ledger.raw_log import RawLog
from ccproxy.ledger.traffic import Message, Traffic, TrafficExchange
from ccproxy.redaction import REDACTED, Redaction

STARTED = datetime(2026, 11, 22, 12, 32, 56, 123456, tzinfo=UTC)
REQUEST = Message.CLIENT_REQUEST
RESPONSE = Message.UPSTREAM_RESPONSE


class Log:
    """A raw HTTP log and what feeds it."""

    def __init__(self, folder: Path, known: tuple[str, ...] = (), **limits: Any) -> None:
        self.files = RawLog(folder, **limits)
        self.traffic = Traffic(Redaction(known), after_batch=[self.files.flush])

    def exchange(self, flow: str, started: datetime) -> tuple[TrafficExchange, str]:
        """An exchange, and the name of its folder."""
        sink = self.files.exchange(flow, started)
        return self.traffic.exchange([sink]), sink.name

    def close(self) -> None:
        self.traffic.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Log]]:
    logs = []

    def start(folder: Path = tmp_path / "raw", known: tuple[str, ...] = (), **limits: Any) -> Log:
        log = Log(folder, known, **limits)
        log.traffic.start()
        logs.append(log)
        return log

    yield start
    for log in logs:
        log.close()
        assert not log.traffic._thread.is_alive()


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.01)


def one(exchange: TrafficExchange, message: Message, chunks: list[bytes], *fields: tuple[str, str]) -> None:
    exchange.head(message, "POST /api/v1/messages HTTP/1.1", fields)
    for chunk in chunks:
        exchange.body(message, chunk)
    exchange.end(message)


def test_four_files_as_on_the_wire(start: Callable[..., Log], tmp_path: Path) -> None:
    log = start()
    exchange, _ = log.exchange("0e7a5c1d", STARTED)
    for message in Message:
        exchange.head(
            message, "POST /api/v1/messages?beta=true HTTP/1.1", [("Host", "h"), ("X-Twice", "1"), ("x-twice", "2")]
        )
    exchange.body(REQUEST, b'{"model": ')
    exchange.body(REQUEST, b'"claude"}')
    exchange.body(Message.CLIENT_RESPONSE, b"event: ping\ndata: {}\n\n")
    for message in Message:
        exchange.end(message)
    exchange.close()
    log.close()
    folder = tmp_path / "raw" / "20261122T123256.123456Z-0e7a5c1d"
    assert sorted(file.name for file in folder.iterdir()) == sorted(Message)
    assert (folder / REQUEST).read_bytes() == (
        b"POST /api/v1/messages?beta=true HTTP/1.1\r\nHost: h\r\nX-Twice: 1\r\nx-twice: 2\r\n\r\n"
        b'{"model": "claude"}\r\n\r\n### body of 19 bytes, complete\r\n\r\n'
    )
    assert b"event: ping\ndata: {}\n\n\r\n" in (folder / Message.CLIENT_RESPONSE).read_bytes()
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    assert {stat.S_IMODE(place.stat().st_mode) for place in (folder, folder.parent)} == {0o700}


def test_no_secret_is_written(start: Callable[..., Log], tmp_path: Path) -> None:
    log = start(known=("my own token",))
    exchange, _ = log.exchange("f", STARTED)
    token = "sk-ant-" + "dummy"
    body = b'{"refresh_token": "opaque-value", "text": "' + token.encode() + b' and my own token"}'
    fields = [
        ("Authorization", f"Bearer {token}"),
        ("x-api-key", token),
        ("cookie", "opaque-value"),
        ("content-encoding", "zstd"),
    ]
    exchange.head(REQUEST, "GET /cb?code=opaque-value HTTP/1.1", fields)
    wire = zstandard.ZstdCompressor().compress(body)
    for at in range(0, len(wire), 7):
        exchange.body(REQUEST, wire[at : at + 7])
    exchange.end(REQUEST)
    for at in range(len(body)):
        if at == 0:
            exchange.head(RESPONSE, "HTTP/1.1 200 OK", [("set-cookie", "opaque-value")])
        exchange.body(RESPONSE, body[at : at + 1])
    exchange.close()
    log.close()
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*.http"))
    for secret in (b"opaque-value", token.encode(), b"my own token"):
        assert secret not in written
    assert written.count(REDACTED.encode()) == 4 + 3 + 1 + 3
    assert b"decoded from zstd" in written


def test_an_exchange_that_hangs_can_be_read(start: Callable[..., Log], tmp_path: Path) -> None:
    log = start()
    exchange, name = log.exchange("f", STARTED)
    exchange.head(RESPONSE, "HTTP/1.1 200 OK", [])
    exchange.body(RESPONSE, b"data: 1\n\ndata: 2")
    file = tmp_path / "raw" / name / RESPONSE
    wait_for(lambda: file.exists() and file.read_bytes().endswith(b"data: 1\n\ndata: "))
    exchange.close()
    log.close()
    assert file.read_bytes().endswith(b"data: 2\r\n\r\n### body of 16 bytes, cut\r\n\r\n")


def test_bodies_are_capped(start: Callable[..., Log], tmp_path: Path) -> None:
    log = start(max_body_kb=1)
    exchange, name = log.exchange("f", STARTED)
    one(exchange, REQUEST, [b"a b " * 100] * 10)
    one(exchange, RESPONSE, [gzip.compress(b"a b " * 5000)], ("content-encoding", "gzip"))
    exchange.close()
    log.close()
    folder = tmp_path / "raw" / name
    request = (folder / REQUEST).read_bytes()
    assert request.count(b"a b ") == 256
    assert b"### body of 4000 bytes, complete, only the beginning is shown" in request
    response = (folder / RESPONSE).read_bytes()
    assert response.count(b"a b ") == 256
    assert b"decoded from gzip, only the beginning is shown" in response


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 60))
def test_a_secret_at_the_cap_leaves_no_beginning(tmp_path_factory: pytest.TempPathFactory, before: int) -> None:
    folder = tmp_path_factory.mktemp("raw")
    log = Log(folder, max_body_kb=1)
    log.traffic.start()
    exchange, name = log.exchange("f", STARTED)
    one(exchange, REQUEST, [b" " * (1024 - before), b"sk-ant-" + b"Q" * 100])
    exchange.close()
    log.close()
    assert b"QQ" not in (folder / name / REQUEST).read_bytes()


def test_what_cannot_be_decoded_is_not_shown(start: Callable[..., Log], tmp_path: Path) -> None:
    log = start()
    exchange, name = log.exchange("f", STARTED)
    one(exchange, REQUEST, [b"secret?"], ("Content-Encoding", "compress"))
    one(exchange, RESPONSE, [b"no gzip, secret?"], ("content-encoding", "gzip"))
    exchange.close()
    log.close()
    folder = tmp_path / "raw" / name
    for message, note in ((REQUEST, b"nothing decodes compress"), (RESPONSE, b"gzip fails")):
        written = (folder / message).read_bytes()
        assert b"secret?" not in written
        assert note in written


def test_a_second_attempt_is_written_behind_the_first(start: Callable[..., Log], tmp_path: Path) -> None:
    log = start()
    exchange, name = log.exchange("f", STARTED)
    exchange.head(Message.UPSTREAM_REQUEST, "POST /1 HTTP/1.1", [])
    exchange.body(Message.UPSTREAM_REQUEST, b"{}")
    one(exchange, Message.UPSTREAM_REQUEST, [b"{}"])
    exchange.close()
    log.close()
    written = (tmp_path / "raw" / name / Message.UPSTREAM_REQUEST).read_bytes()
    assert written.count(b"HTTP/1.1\r\n") == 2
    assert b"given up\r\n\r\nPOST /api" in written


def test_the_oldest_go_first_and_nothing_else(start: Callable[..., Log], tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    (folder / "notes").mkdir(parents=True)
    (folder / "notes" / "mine.txt").write_bytes(b"x" * (2 << 20))
    (folder / "20261121T000000.000000Z-earlier").mkdir()
    (folder / "20261121T000000.000000Z-earlier" / REQUEST).write_bytes(b"x" * 1000)
    log = start(max_total_mb=1)
    exchanges = [log.exchange(f"flow-{n}", STARTED + timedelta(seconds=n)) for n in range(30)]
    for exchange, _ in exchanges:
        one(exchange, REQUEST, [b"a " * 51200])
        exchange.close()
    log.close()
    left = sorted(entry.name for entry in folder.iterdir())
    assert left == [name for _, name in exchanges[-10:]] + ["notes"]
    assert sum(file.stat().st_size for file in folder.rglob("*.http")) <= 1 << 20
    assert (folder / "notes" / "mine.txt").exists()


def test_an_exchange_that_goes_on_outlasts_those_that_are_over(start: Callable[..., Log], tmp_path: Path) -> None:
    log = start(max_total_mb=1)
    long, long_name = log.exchange("long", STARTED - timedelta(days=1))
    long.head(RESPONSE, "HTTP/1.1 200 OK", [])
    for number in range(30):
        exchange, _ = log.exchange(f"flow-{number}", STARTED + timedelta(seconds=number))
        one(exchange, REQUEST, [b"a " * 51200])
        exchange.close()
        long.body(RESPONSE, b"tick\n")
        assert log.traffic.flush()
    long.close()
    log.close()
    assert (tmp_path / "raw" / long_name / RESPONSE).read_bytes().count(b"tick") == 30


def test_no_place_to_write_is_said_once_and_harms_nobody(
    start: Callable[..., Log], tmp_path: Path, caplog: Any
) -> None:
    (tmp_path / "file").write_text("")
    log = start(tmp_path / "file" / "raw")
    for _ in range(3):
        exchange, _ = log.exchange("f", STARTED)
        one(exchange, REQUEST, [b"x"])
        exchange.close()
        assert log.traffic.flush()
    log.close()
    assert caplog.text.count("cannot be written") == 1


def test_a_writer_that_does_not_keep_up_leaves_out_bodies_not_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic_module, "MAX_WAITING", 10_000)
    log = Log(tmp_path)  # its thread has not started
    exchange, name = log.exchange("f", STARTED)
    exchange.head(REQUEST, "POST / HTTP/1.1", [])
    for _ in range(100):
        exchange.body(REQUEST, b"x " * 500)
    exchange.close()
    assert log.traffic.left_out > 0
    assert len(log.traffic._queue) < 20
    log.traffic.start()
    log.close()
    written = (tmp_path / name / REQUEST).read_bytes()
    assert b"### body of 100000 bytes, cut, only the beginning is shown" in written


def test_after_a_gap_nothing_more_of_a_body_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was left out may have been the name that makes the rest a secret."""
    monkeypatch.setattr(traffic_module, "MAX_WAITING", 100)
    log = Log(tmp_path)
    exchange, name = log.exchange("f", STARTED)
    exchange.head(REQUEST, "POST / HTTP/1.1", [])
    exchange.body(REQUEST, b" " * 200)
    exchange.body(REQUEST, b'{"access_token": "')
    log.traffic.start()
    assert log.traffic.flush()
    exchange.body(REQUEST, b'opaque-value"}\n')
    exchange.close()
    log.close()
    assert b"opaque" not in (tmp_path / name / REQUEST).read_bytes()


def test_flow_ids_never_leave_the_folder(start: Callable[..., Log], tmp_path: Path) -> None:
    log = start()
    exchange, name = log.exchange("../../etc", STARTED)
    one(exchange, REQUEST, [])
    exchange.close()
    log.close()
    assert [entry.name for entry in (tmp_path / "raw").iterdir()] == [name]
    assert "/" not in name


def test_the_banner_names_the_folder(start: Callable[..., Log], tmp_path: Path) -> None:
    assert str(tmp_path / "raw") in start().files.banner
