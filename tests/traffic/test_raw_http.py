"""The raw HTTP log behind a running proxy: four files of each exchange, whole and without a secret."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import logging
import random
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ccproxy.translate.formats import Format
from tests.conftest import Serve
from tests.examples.answers import EVENTS, sse
from tests.fakes.client import message
from tests.fakes.proxy import ANTHROPIC_KEY, Proxy, running
from tests.fakes.upstream import PATIENCE, Received, Upstream, Wire
from tests.traffic.conftest import ANSWERED, FIELDS
from tests.traffic.secrets import CLIENT_KEY, IN_ANSWER, IN_PROMPT, TOKEN, found, found_below

FILES = ["1-client-request.http", "2-upstream-request.http", "3-upstream-response.http", "4-client-response.http"]


CHAT = json.dumps(
    {"model": "claude-x", "stream": True, "temperature": 0.5, "messages": [{"role": "user", "content": f"my key is {IN_PROMPT}"}]}
).encode()  # fmt: skip


@pytest.fixture
def logged(tmp_path: Path, upstream: Upstream) -> Callable[..., Any]:
    """Runs a proxy with the log on; what `ask` does with it; the exchanges' files after its end."""

    async def run(ask: Callable[[Proxy], Any], **more: Any) -> list[dict[str, bytes]]:
        folder = tmp_path / "raw"
        sections = {"server": {"auth_token": TOKEN}, "raw_log": {"enabled": True, "dir": str(folder)}, **more}
        async with running(tmp_path, upstream, **sections) as proxy:
            await ask(proxy)
        assert not found_below(folder)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        exchanges = []
        for exchange in sorted(folder.iterdir()):
            assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in exchange.iterdir())
            exchanges.append({file.name: file.read_bytes() for file in sorted(exchange.iterdir())})
        return exchanges

    return run


async def test_native(upstream: Upstream, logged: Callable[..., Any]) -> None:
    body = json.dumps({"text": f"yours is {IN_ANSWER}", "model": "claude-x"}).encode()

    async def script(wire: Wire, request: Received) -> None:
        await wire.answer(200, gzip.compress(body), ("Content-Encoding", "gzip"), *ANSWERED)

    async def ask(proxy: Proxy) -> None:
        answer = await proxy.post("/api/v1/messages", message(text=IN_PROMPT), *FIELDS)
        assert gzip.decompress(answer.body) == body  # what is redacted is only what is written down

    upstream.script = script
    (files,) = await logged(ask)
    assert list(files) == FILES
    request, sent, came, told = files.values()
    assert request.startswith(b"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nx-api-key: [redacted]\r\n")
    assert b"authorization: Bearer [redacted]" in request
    assert sent.startswith(b"POST /v1/messages HTTP/1.1\r\n")
    assert b"x-api-key: [redacted]" in sent
    assert b'"content": "[redacted]"' in sent
    assert came.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Set-Cookie: [redacted]" in came
    assert b'"text": "yours is [redacted]"' in came
    assert b"decoded from gzip" in came
    assert b"x-ccproxy-flow: " in told
    assert all(file.rstrip().endswith(b"###") or b", complete" in file for file in files.values())


async def test_translated_and_streamed(upstream: Upstream, logged: Callable[..., Any]) -> None:
    events = sse(Format.ANTHROPIC, EVENTS[Format.ANTHROPIC])
    heard = b""

    async def script(wire: Wire, request: Received) -> None:
        await wire.stream(*(event + b"\n\n" for event in events.split(b"\n\n") if event), fields=ANSWERED)

    async def ask(proxy: Proxy) -> None:
        nonlocal heard
        heard = (await proxy.post("/api/v1/chat/completions", CHAT, *FIELDS)).body

    upstream.script = script
    (files,) = await logged(ask)
    request, sent, came, told = files.values()
    assert request.startswith(b"POST /api/v1/chat/completions HTTP/1.1\r\n")
    assert b'"content": "my key is [redacted]"' in request
    assert b'"max_tokens"' in sent
    assert b"x-api-key: [redacted]" in sent
    assert events in came
    assert heard in told
    assert b"x-ccproxy-loss" in told or b"content-type: text/event-stream" in told


async def test_errors_cuts_and_attempts(upstream: Upstream, logged: Callable[..., Any]) -> None:
    async def script(wire: Wire, request: Received) -> None:
        if len(upstream.requests) == 1:
            await wire.answer(529, b'{"type":"error"}', ("retry-after", "0"), reason="Overloaded")
        elif len(upstream.requests) == 2:
            await wire.stream(b"event: ping\ndata: {}\n\n", end=False)
            wire.reset()
        else:
            await wire.answer(
                400, b'{"type":"error","error":{"type":"invalid_request_error","message":"no"}}', reason="Bad"
            )

    async def ask(proxy: Proxy) -> None:
        assert (await proxy.post("/api/v1/messages", message(), *FIELDS)).status == 200
        assert (await proxy.post("/api/v1/chat/completions", CHAT, *FIELDS)).status == 400
        assert (await proxy.post("/api/v1/messages", message(), ("x-api-key", CLIENT_KEY))).status == 401
        assert (await proxy.post("/nowhere", message(), *FIELDS)).status == 404
        assert (await proxy.get("/health", *FIELDS)).status == 200

    upstream.script = script
    async with asyncio.timeout(PATIENCE * 2):
        exchanges = await logged(ask, providers={"claude_api": {"retries": [529]}})
    cut, refused, unauthorised, unknown, own = exchanges
    assert list(cut) == FILES
    assert b"200 OK" in cut[FILES[2]]
    assert b", cut" in cut[FILES[2]]
    assert cut[FILES[1]].count(b"POST /v1/messages") == 2  # each attempt
    assert b"HTTP/1.1 529 Overloaded" in cut[FILES[2]]
    assert b"event: error" in cut[FILES[3]]
    assert b'"error"' in refused[FILES[3]]
    assert [list(one) for one in (unauthorised, unknown, own)] == [[FILES[0], FILES[3]]] * 3
    assert b"HTTP/1.1 401" in unauthorised[FILES[3]]


async def test_in_this_process(upstream: Upstream, logged: Callable[..., Any]) -> None:
    async def ask(proxy: Proxy) -> None:
        assert (await proxy.post("/mock/v1/chat/completions", CHAT, *FIELDS)).status == 200

    (files,) = await logged(ask)
    assert list(files) == [FILES[0], FILES[3]]
    assert b"data: [DONE]" in files[FILES[3]]


async def test_an_image_delays_no_other_client(upstream: Upstream, logged: Callable[..., Any]) -> None:
    """It took a minute in the first release, during which no client was answered."""
    image = base64.b64encode(random.Random(1).randbytes(1_200_000)).decode()
    source = {"type": "base64", "media_type": "image/png", "data": image}
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": [{"type": "image", "source": source}]}]})

    async def ask(proxy: Proxy) -> None:
        async with asyncio.timeout(PATIENCE):
            for _ in range(3):
                assert (await proxy.post("/api/v1/messages", body.encode(), *FIELDS)).status == 200
                assert (await proxy.get("/health/live")).status == 200

    exchanges = await logged(ask)
    assert len(exchanges) == 3  # probes are not recorded
    assert all(len(files[FILES[0]]) > 1024 * 1024 for files in exchanges)


async def test_says_that_it_is_on(
    upstream: Upstream, logged: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def ask(proxy: Proxy) -> None:
        await proxy.get("/health")

    await logged(ask)
    assert any(
        record.levelno == logging.WARNING and "raw HTTP log is ON" in record.message for record in caplog.records
    )


async def test_no_log_record_holds_a_secret(serve: Serve, upstream: Upstream, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    proxy = await serve(server={"auth_token": TOKEN})
    await proxy.post("/api/v1/messages", message(), *FIELDS)
    logger = logging.getLogger("anybody")
    logger.error("the key is %s", ANTHROPIC_KEY)
    try:
        int(TOKEN)
    except ValueError:
        logger.exception("failed")
    assert "the key is [redacted]" in caplog.text
    assert "literal for int() with base 10: '[redacted]'" in caplog.text
    assert not found(caplog.text)
