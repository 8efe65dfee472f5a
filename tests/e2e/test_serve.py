"""`ccproxy serve` as a user starts it: its own process, its own home."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.fakes.client import connected, message, request
from tests.fakes.proxy import ANTHROPIC_KEY, Program, program, serving
from tests.fakes.upstream import PATIENCE, Received, Upstream, Wire, chunk

pytestmark = pytest.mark.e2e


def to(upstream: Upstream) -> dict[str, str]:
    return {"PROVIDERS__CLAUDE_API__BASE_URL": upstream.url, "PROVIDERS__CLAUDE_API__API_KEY": ANTHROPIC_KEY}


def clean(running: Program) -> None:
    assert "Traceback" not in running.output, running.output
    assert "Warning" not in running.output, running.output


# ---- start


async def test_it_starts_with_nothing_and_says_where(tmp_path: Path) -> None:
    (tmp_path / ".ccproxy.toml").write_text('[server]\nauth_token = "t"\n')
    async with serving(tmp_path) as running:
        assert f"http://127.0.0.1:{running.port} and http://[::1]:{running.port}" in running.output
        assert "/claude is in plain mode" in running.output
        await running.says(
            r"\.ccproxy\.toml is not trusted, ignored: server\.auth_token.*ccproxy config trust \.ccproxy\.toml"
        )
        for host in ("127.0.0.1", "::1"):
            async with connected(running.port, host) as client:
                assert (await client.ask(request("/health", method="GET"))).json["status"] == "ok"
                assert (await client.ask(request("/mock/v1/messages", message()))).status == 200
        await running.says(r"POST /mock/v1/messages mock/anthropic claude-x 200 ")
        running.signal(signal.SIGINT)
        assert await running.ends() == 0
        clean(running)


async def test_a_home_that_cannot_be_written_and_secrets_that_are_not_shown(tmp_path: Path, upstream: Upstream) -> None:
    home = tmp_path / "home"
    home.write_text("a file where the home should be: nothing can be made below it, not even by root")
    folders = {"HOME": home, "XDG_CONFIG_HOME": home / "c", "XDG_DATA_HOME": home / "d", "XDG_CACHE_HOME": home / "e"}
    env = {**to(upstream), **{name: str(folder) for name, folder in folders.items()}, "SERVER__AUTH_TOKEN": "hush-hush"}
    async with serving(tmp_path, "--log-level", "debug", env=env) as running:
        async with connected(running.port) as client:
            for fields in (
                (("x-api-key", "hush-hush"),),
                (("x-ccproxy-token", "hush-hush"), ("Authorization", "Bearer hush-own")),
                (),
            ):
                await client.ask(request("/api/v1/messages", message(text="hush-prompt"), *fields))
        running.signal(signal.SIGTERM)
        assert await running.ends() == 0
        clean(running)
    assert upstream.last.values("x-api-key") == [ANTHROPIC_KEY.encode()]
    assert "hush" not in running.output
    assert ANTHROPIC_KEY not in running.output
    assert "POST" in running.output


@pytest.mark.parametrize("web", [False, True])
async def test_a_taken_port(tmp_path: Path, web: bool) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        arguments = ("--port", "0", "--web", "--web-port", str(port)) if web else ("--port", str(port))
        async with program(tmp_path, "serve", *arguments) as running:
            assert await running.ends() == 1
        clean(running)
        assert str(port) in running.output
        assert "listens on" not in running.output
        if not web:
            assert running.output.count("\n") == 1
            assert "--port" in running.output


# ---- stop


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_lets_a_running_stream_end(tmp_path: Path, upstream: Upstream, number: signal.Signals) -> None:
    go = asyncio.Event()

    async def script(wire: Wire, _: Received) -> None:
        await wire.stream(b"data: 1\n\n", end=False)
        await go.wait()
        await wire.send(chunk(b"data: 2\n\n"), b"0\r\n\r\n")

    upstream.script = script
    async with serving(tmp_path, env=to(upstream)) as running, connected(running.port) as client:
        await client.send(request(body=message()))
        answer = await client.head()
        assert await client.read_chunk() == b"data: 1\n\n"
        running.signal(number)
        await closed(running.port)
        assert running.process.returncode is None
        go.set()
        await client.body(answer)
        assert (answer.body, answer.whole) == (b"data: 2\n\n", True)
        assert await running.ends() == 0
        clean(running)


async def closed(port: int) -> None:
    """Wait until nobody new is let in."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except (ConnectionRefusedError, ConnectionResetError):  # the second: it had been in the queue
                return
            writer.close()
            await asyncio.sleep(0.02)


async def test_a_second_signal_stops_at_once(tmp_path: Path, upstream: Upstream) -> None:
    async def script(wire: Wire, _: Received) -> None:
        await wire.stream(b"data: 1\n\n", end=False)
        await wire.left()

    upstream.script = script
    env = {**to(upstream), "SERVER__SHUTDOWN_GRACE": "600"}
    async with serving(tmp_path, env=env) as running, connected(running.port) as client:
        await client.send(request(body=message()))
        await client.until(b"data: 1\n\n")
        running.signal(signal.SIGINT)
        await closed(running.port)
        assert running.process.returncode is None
        running.signal(signal.SIGINT)
        assert await running.ends() == 0
        assert await client.rest() == b"\r\n"  # cut, not ended
        clean(running)


async def test_a_stream_without_end_gets_its_grace(tmp_path: Path) -> None:
    env = {"SERVER__SHUTDOWN_GRACE": "0.5"}
    async with serving(tmp_path, env=env) as running, connected(running.port) as client:
        await client.send(request("/mock/v1/messages", message("mock-hang", stream=True)))
        await client.until(b"message_start")
        loop = asyncio.get_running_loop()
        start = loop.time()
        running.signal(signal.SIGTERM)
        assert await running.ends() == 0
        assert loop.time() - start >= 0.5
        assert not (await client.rest()).endswith(b"0\r\n\r\n")
        clean(running)


@pytest.mark.parametrize("kind", ["whole", "stream"])
async def test_a_client_that_reads_slowly_gets_all_of_it_before_the_process_ends(
    tmp_path: Path, upstream: Upstream, kind: str
) -> None:
    body = b'"' + b"x" * 20_000_000 + b'"'
    written = asyncio.Event()

    async def script(wire: Wire, _: Received) -> None:
        if kind == "whole":
            await wire.answer(200, body)
        else:
            await wire.stream(body)
        written.set()
        await wire.left()

    upstream.script = script
    async with serving(tmp_path, env=to(upstream)) as running, connected(running.port, receive_buffer=65536) as client:
        await client.send(request(body=message()))
        await client.head()
        if kind == "whole":
            await written.wait()
        running.signal(signal.SIGTERM)
        await closed(running.port)
        received = 0
        async with asyncio.timeout(20):
            while data := await client.reader.read(1_000_000):
                received += len(data)
        assert received >= len(body)
        assert await running.ends() == 0
        clean(running)


# ---- reload


async def test_reload_lets_a_running_stream_end_and_starts_anew(tmp_path: Path, upstream: Upstream) -> None:
    go = asyncio.Event()

    async def script(wire: Wire, _: Received) -> None:
        await wire.stream(b"data: 1\n\n", end=False)
        await go.wait()
        await wire.send(chunk(b"data: 2\n\n"), b"0\r\n\r\n")

    upstream.script = script
    config = tmp_path / "mine.toml"
    config.write_text("[providers.mock]\nprefix = '/one'\n")
    async with program(
        tmp_path, "serve", "--port", "0", "--config", str(config), "--reload", env=to(upstream)
    ) as running:
        await running.says(r"listens on")
        async with connected(running.port) as client:
            assert (await client.ask(request("/one/v1/messages", message()))).status == 200
            await client.send(request(body=message()))
            answer = await client.head()
            config.write_text("[providers.mock]\nprefix = '/two'\n")
            await closed(running.port)
            running.output = ""
            go.set()
            await client.body(answer)
            assert (answer.body, answer.whole) == (b"data: 1\n\ndata: 2\n\n", True)
        await running.says(r"listens on")
        async with connected(running.port) as client:
            assert (await client.ask(request("/two/v1/messages", message()))).status == 200
            assert (await client.ask(request("/one/v1/messages", message()))).status == 404
        running.signal(signal.SIGTERM)
        assert await running.ends() == 0
        clean(running)


# ---- mitmproxy's own tools


async def test_scripts_options_and_a_record(tmp_path: Path, upstream: Upstream) -> None:
    script = tmp_path / "mine.py"
    script.write_text("def response(flow):\n    flow.response.headers['x-mine'] = str(sorted(flow.request.headers))\n")
    arguments = ("-s", str(script), "--set", "anticache=true", "--record", "x.har")
    async with serving(tmp_path, *arguments, env=to(upstream)) as running:
        async with connected(running.port) as client:
            answer = await client.ask(request(body=message(text="recorded")))
            assert "x-api-key" not in answer["x-mine"]
            assert upstream.last.values("x-api-key") == [ANTHROPIC_KEY.encode()]
            await client.ask(request("/mock/v1/messages", message(text="recorded", stream=True)))
        running.signal(signal.SIGTERM)
        assert await running.ends() == 0
        clean(running)
    entries = json.loads((tmp_path / "x.har").read_text())["log"]["entries"]
    assert [entry["request"]["postData"]["text"].count("recorded") for entry in entries] == [1, 1]
    assert "message_stop" in entries[1]["response"]["content"]["text"]
    assert ANTHROPIC_KEY not in (tmp_path / "x.har").read_text()


async def test_nothing_heavy_is_imported_for_a_start(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "import ccproxy.cli.app, ccproxy.cli.serve, ccproxy.server.proxy_server\n"
        "heavy = {'claude_agent_sdk', 'mcp', 'sqlalchemy', 'genai_prices', 'tornado', 'anthropic', 'openai', 'requests_oauthlib', 'rich', 'httpx'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))\n"
    )
    async with program(tmp_path, "-c", code, command=(sys.executable,)) as running:
        assert await running.ends() == 0
    assert "heavy: []" in running.output, running.output
