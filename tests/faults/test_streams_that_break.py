"""An upstream that dies in the middle of its answer: the client is told, or cut off; it never takes half an answer for a whole one."""

from __future__ import annotations

import gzip
import json
import logging
from typing import Any

import pytest

from tests.fakes.client import Answer, message, request
from tests.fakes.proxy import Proxy
from tests.fakes.routes import IDS, NATIVE, Native
from tests.fakes.upstream import Received, Script, Upstream, Wire, chunk, turns

native = pytest.mark.parametrize("route", NATIVE, ids=IDS)
goodbye = pytest.mark.parametrize("goodbye", [Wire.close, Wire.reset], ids=["close", "reset"])

EVENT = b'event: message_start\ndata: {"type":"message_start"}\n\n'
SSE = b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"


def dies(*pieces: bytes, head: bytes = SSE, goodbye: Any = Wire.close) -> Script:
    """Sends these pieces, each in a chunk if the head says so, and is gone."""

    async def script(wire: Wire, _: Received) -> None:
        await wire.send(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
        for piece in pieces:
            await wire.send(chunk(piece) if b"chunked" in head else piece)
        await turns()
        goodbye(wire)

    return script


def told(answer: Answer, before: bytes, route: Native) -> dict[str, Any]:
    """The one event that follows `before`, checked to be of the route's format, with a proper end of the message behind it."""
    assert answer.whole
    assert answer.body.startswith(before)
    event = answer.body.removeprefix(before)
    assert event.endswith(b"\n\n")
    assert event.count(b"\n\n") == 1
    lines = event.decode().splitlines()
    data: dict[str, Any] = json.loads(lines[-2].removeprefix("data: "))
    if route.error_type == "api_error":
        assert lines[0] == "event: error"
        assert data["type"] == "error"
        assert data["error"]["type"] == "api_error"
        assert data["request_id"]
        return data["error"]  # type: ignore[no-any-return]
    if "responses" in route.path:
        assert lines[0] == "event: response.failed"
        assert data["type"] == "response.failed"
        assert data["response"]["status"] == "failed"
        return data["response"]["error"]  # type: ignore[no-any-return]
    assert len(lines) == 2
    assert data["error"]["type"] == "server_error"
    return data["error"]  # type: ignore[no-any-return]


@native
@goodbye
async def test_after_a_whole_event_the_formats_own_error_event_follows(
    proxy: Proxy, upstream: Upstream, route: Native, goodbye: Any
) -> None:
    upstream.script = dies(EVENT, EVENT, goodbye=goodbye)
    async with proxy.connect() as client:
        answer = await client.ask(request(route.path, route.body))
        assert "middle" in told(answer, EVENT + EVENT, route)["message"]
        upstream.script = dies(EVENT)
        assert (await client.ask(request(route.path, route.body))).status == 200  # the client's connection lives on
    assert b"[DONE]" not in answer.body


@native
async def test_before_the_first_event_too(proxy: Proxy, upstream: Upstream, route: Native) -> None:
    upstream.script = dies()
    told(await proxy.post(route.path, route.body), b"", route)


@pytest.mark.parametrize(
    "pieces",
    [
        (b"data: 1\r\n\r\n",), (b"data: 1\r\r",), (b"data: 1\n", b"\n"), (b"data: 1\r\n\r", b"\n"), (b"data: 1", b"\n", b"\n"),
        (b"d", b"ata: 1\n\n"), (b"data: 1\n\n", b"\n"), (b": ping\n\n",), (b"data: 1\r", b"\r"),
    ],
    ids=repr,
)  # fmt: skip
async def test_a_blank_line_of_any_kind(proxy: Proxy, upstream: Upstream, pieces: tuple[bytes, ...]) -> None:
    upstream.script = dies(*pieces)
    told(await proxy.post("/api/v1/messages", message()), b"".join(pieces), NATIVE[0])


@native
@goodbye
async def test_in_the_middle_of_an_event_the_connection_is_cut(
    proxy: Proxy, upstream: Upstream, route: Native, goodbye: Any
) -> None:
    upstream.script = dies(EVENT, b'event: content_block_delta\ndata: {"delta":"ha', goodbye=goodbye)
    async with proxy.connect() as client:
        answer = await client.ask(request(route.path, route.body))
        assert answer.body == EVENT + b'event: content_block_delta\ndata: {"delta":"ha'
        assert not answer.whole


@pytest.mark.parametrize(
    "tail",
    [b"data: 1\n", b"data: 1\r\n", b"data: 1", b"\n", b"data: 1\n\ndata", b"data: 1\n\n:", b"data: 1\n \n"],
    ids=repr,
)
async def test_no_event_where_one_could_be_open(proxy: Proxy, upstream: Upstream, tail: bytes) -> None:
    upstream.script = dies(EVENT + b"data: 0\n" if tail == b"x" else EVENT, tail)
    answer = await proxy.post("/api/v1/messages", message())
    if tail == b"\n":  # a third line end leaves no event open
        told(answer, EVENT + tail, NATIVE[0])
    else:
        assert (answer.body, answer.whole) == (EVENT + tail, False)


@native
@pytest.mark.parametrize(
    "head",
    [
        SSE + b"Content-Encoding: gzip\r\n",
        SSE + b"Content-Encoding: br\r\n",
        b"Content-Type: text/event-stream\r\nContent-Length: 1000\r\n",
        b"Content-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Type: text/plain\r\nContent-Length: 1000\r\n",
        b"Transfer-Encoding: chunked\r\n",
    ],
    ids=["gzip", "br", "known length", "no event stream", "plain text", "no type"],
)
async def test_where_an_event_cannot_be_said_the_connection_is_cut(
    proxy: Proxy, upstream: Upstream, route: Native, head: bytes
) -> None:
    body = gzip.compress(EVENT) if b"gzip" in head else EVENT
    upstream.script = dies(body, head=head)
    answer = await proxy.post(route.path, route.body)
    assert (answer.body, answer.whole) == (body, False)


async def test_a_chunk_that_is_none_in_the_middle(
    proxy: Proxy, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def script(wire: Wire, _: Received) -> None:
        await wire.send(b"HTTP/1.1 200 OK\r\n" + SSE + b"\r\n", chunk(EVENT), b"a private word\r\n")

    upstream.script = script
    told(await proxy.post("/api/v1/messages", message()), EVENT, NATIVE[0])
    assert "private" not in caplog.text


async def test_the_log_tells_of_it(proxy: Proxy, upstream: Upstream, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ccproxy.access")
    upstream.script = dies(EVENT)
    await proxy.post("/api/v1/messages", message())
    assert "truncated" in caplog.messages[-1]
    upstream.script = dies(EVENT, b"data")
    await proxy.post("/api/v1/messages", message())
    assert " cut" in caplog.messages[-1]
    assert len(caplog.messages) == 2


# ---- the same for an answer that is made inside this process


async def test_the_mock_drops_its_answer(proxy: Proxy) -> None:
    answer = await proxy.post("/mock/v1/messages", message("mock-drop", stream=True))
    assert answer.status == 200
    assert answer.body.startswith(b"event: message_start\n")
    assert not answer.whole
    assert b"message_stop" not in answer.body
    answer = await proxy.post("/mock/v1/messages", message("mock-drop"))
    assert (answer.status, answer.json["error"]["type"], answer.whole) == (502, "api_error", True)


async def test_the_mock_fails_in_the_middle(proxy: Proxy) -> None:
    answer = await proxy.post("/mock/v1/messages", message("mock-error", "one two three", stream=True))
    assert answer.whole
    assert answer.body.startswith(b"event: message_start\n")
    last = answer.body.strip().split(b"\n\n")[-1].decode().splitlines()
    assert last[0] == "event: error"
    assert json.loads(last[1][6:])["error"] == {
        "type": "overloaded_error", "message": "mock-error: overloaded in the middle, as asked for",
    }  # fmt: skip
    answer = await proxy.post("/mock/v1/messages", message("mock-error", "one two three"))
    assert (answer.status, answer.json["error"]["type"]) == (529, "overloaded_error")
