"""`ccproxy serve` as a user starts it: its own process, its own home."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import sqlite3
import sys
from pathlib import Path

import pytest
from mitmproxy import io
from mitmproxy.http import HTTPFlow

from tests.fakes.client import connected, message, request
from tests.fakes.proxy import ANTHROPIC_KEY, Program, environment, program, serving
from tests.fakes.upstream import PATIENCE, Received, Upstream, Wire, chunk

pytestmark = pytest.mark.e2e

WITH_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


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
        rest = await client.rest()
        assert b"event: error" in rest
        assert b"ccproxy is stopping" in rest
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
        async with asyncio.timeout(4 * PATIENCE):
            while data := await client.reader.read(1_000_000):
                received += len(data)
        assert received >= len(body)
        assert await running.ends() == 0
        clean(running)


async def test_the_first_ctrl_c_says_what_it_waits_for(tmp_path: Path, upstream: Upstream) -> None:
    async def script(wire: Wire, _: Received) -> None:
        await wire.stream(b"data: 1\n\n", end=False)
        await wire.left()

    upstream.script = script
    async with serving(tmp_path, env=to(upstream)) as running, contextlib.AsyncExitStack() as stack:
        for _ in range(3):
            client = await stack.enter_async_context(connected(running.port))
            await client.send(request(body=message()))
            await client.until(b"data: 1\n\n")
        running.signal(signal.SIGINT)
        await running.says("Waiting for 3 responses, up to 10 s. Press Ctrl-C again to end them now\n")
        running.signal(signal.SIGINT)
        assert await running.ends() == 0
        assert running.output.count("ccproxy stopped") == 3
        assert "client" not in running.output.partition("Waiting")[2]
        clean(running)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_nothing_is_said_where_nothing_runs(tmp_path: Path, number: signal.Signals) -> None:
    async with serving(tmp_path) as running, connected(running.port) as client:
        assert (await client.ask(request("/mock/v1/messages", message()))).status == 200
        running.signal(number)
        assert await running.ends(seconds=5) == 0
        assert "Waiting" not in running.output
        clean(running)


async def test_a_second_ctrl_c_does_not_end_a_stream_made_here_as_if_it_were_whole(tmp_path: Path) -> None:
    async with serving(tmp_path) as running, connected(running.port) as client:
        await client.send(request("/mock/v1/messages", message("mock-hang", stream=True)))
        await client.until(b"message_start")
        running.signal(signal.SIGINT)
        await running.says("Waiting for 1 response, up to 10 s. Press")
        running.signal(signal.SIGINT)
        assert await running.ends(seconds=5) == 0
        assert not (await client.rest()).endswith(b"0\r\n\r\n")
        assert "ccproxy stopped" in running.output
        clean(running)


async def test_watching_permissions_does_not_hold_a_stop(tmp_path: Path) -> None:
    env = {"SERVER__AUTH_TOKEN": "t", "PROVIDERS__CLAUDE_SDK__MODE": "agent"}
    async with serving(tmp_path, env=env) as running, connected(running.port) as client:
        await client.send(request("/permissions/stream", b"", ("x-ccproxy-token", "t"), method="GET"))
        await client.until(b"listing")
        running.signal(signal.SIGINT)
        assert await running.ends(seconds=5) == 0
        assert "Waiting" not in running.output
        clean(running)


async def test_a_closed_terminal_is_a_stop_that_keeps_what_was_recorded(tmp_path: Path, upstream: Upstream) -> None:
    go = asyncio.Event()

    async def script(wire: Wire, _: Received) -> None:
        await wire.stream(b"data: 1\n\n", end=False)
        await go.wait()
        await wire.send(chunk(b"data: 2\n\n"), b"0\r\n\r\n")

    upstream.script = script
    tokens = tmp_path / "data" / "ccproxy" / "run"
    async with serving(tmp_path, "--record", "x.har", env=to(upstream)) as running:
        async with connected(running.port) as client:
            await client.ask(request("/mock/v1/messages", message(text="recorded")))
            await client.send(request(body=message()))
            answer = await client.head()
            assert list(tokens.glob("token-*"))
            for _ in range(3):  # the kernel and the shell both send it
                running.signal(signal.SIGHUP)
            await running.says("Waiting for 1 response, up to 10 s\n")
            go.set()
            await client.body(answer)
            assert (answer.body, answer.whole) == (b"data: 1\n\ndata: 2\n\n", True)
        assert await running.ends() == 0
        clean(running)
    assert len(json.loads((tmp_path / "x.har").read_text())["log"]["entries"]) == 2
    assert not list(tokens.glob("token-*"))
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "ccproxy" / "ledger.sqlite3")) as ledger:
        assert ledger.execute("SELECT COUNT(*) FROM exchanges").fetchone() == (2,)


async def test_a_terminal_that_is_gone_cannot_be_printed_to(tmp_path: Path) -> None:
    ours, its = os.openpty()
    command = [
        sys.executable,
        "-c",
        WITH_A_TERMINAL,
        sys.executable,
        "-m",
        "ccproxy",
        "serve",
        "--port",
        "0",
        "--record",
        "x.har",
    ]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=its, stdout=its, stderr=its, cwd=tmp_path, env=environment(tmp_path), start_new_session=True
    )
    os.close(its)
    shown = b""
    while not (listening := re.search(rb"listens on http://\S+?:(\d+)", shown)):
        shown += await asyncio.to_thread(os.read, ours, 65536)
    async with connected(int(listening[1])) as client:
        await client.send(request("/mock/v1/messages", message("mock-hang", stream=True)))
        await client.until(b"message_start")
        os.close(ours)  # the kernel sends SIGHUP, and whatever is printed from here on fails
        await closed(int(listening[1]))
    async with asyncio.timeout(15):
        await process.wait()
    assert len(json.loads((tmp_path / "x.har").read_text())["log"]["entries"]) == 1
    assert not list((tmp_path / "data" / "ccproxy" / "run").glob("token-*"))


async def test_nohup_keeps_it_running_when_the_terminal_closes(tmp_path: Path) -> None:
    ignoring = "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    command = (sys.executable, "-c", ignoring, "-m", "ccproxy", "serve", "--port", "0")
    async with program(tmp_path, command=command) as running:
        await running.says(r"listens on http://")
        running.signal(signal.SIGHUP)
        async with connected(running.port) as client:
            assert (await client.ask(request("/mock/v1/messages", message()))).status == 200
        running.signal(signal.SIGTERM)
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


async def test_reload_continues_a_recording(tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text("[providers.mock]\nprefix = '/one'\n")
    arguments = ("serve", "--port", "0", "--config", str(config), "--reload", "--record", "x.har")
    async with program(tmp_path, *arguments) as running:
        for prefix, following in (("/one", "/two"), ("/two", "")):
            await running.says(r"listens on")
            async with connected(running.port) as client:
                assert (await client.ask(request(f"{prefix}/v1/messages", message()))).status == 200
            running.output = ""
            if following:
                config.write_text(f"[providers.mock]\nprefix = '{following}'\n")
        running.signal(signal.SIGTERM)
        assert await running.ends() == 0
    entries = json.loads((tmp_path / "x.har").read_text())["log"]["entries"]
    urls = [entry["request"]["url"] for entry in entries]
    assert [url.partition("localhost")[2] for url in urls] == ["/one/v1/messages", "/two/v1/messages"]


async def test_reload_keeps_the_running_configuration_when_the_new_one_is_wrong(tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text("[providers.mock]\nprefix = '/one'\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = taken.getsockname()[1]
        wrong = {
            "[server]\nprot = 1\n": r"mine\.toml:2: .*server\.prot",
            "[providers.mock]\nprefix = 1\n": r"mine\.toml:2: .*providers\.mock\.prefix",
            "[[[": r"mine\.toml",
            "[server]\nhost = '0.0.0.0'\n": r".*auth_token",
            f"[server]\nweb = true\nweb_port = {busy}\n": str(busy),
            "[server]\nport = 1\n": "",  # the command line's port wins: a change like any other
        }
        async with program(tmp_path, "serve", "--port", "0", "--config", str(config), "--reload") as running:
            await running.says(r"listens on")
            pid, port = running.process.pid, running.port
            async with connected(port) as client:
                for text, problem in wrong.items():
                    running.output = ""
                    config.write_text(text)
                    if not problem:
                        break
                    await running.says(
                        f"Still running with the previous configuration because of an error: .*{problem}"
                    )
                    assert "Traceback" not in running.output
                    assert (await client.ask(request("/one/v1/messages", message()))).status == 200
            await running.says(r"listens on")
            assert running.process.pid == pid
            async with connected(running.port) as client:
                assert (await client.ask(request("/mock/v1/messages", message()))).status == 200
            running.signal(signal.SIGTERM)
            assert await running.ends() == 0
            clean(running)


async def test_a_configuration_that_breaks_while_the_proxy_restarts_is_waited_for(tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text("")
    async with (
        program(tmp_path, "serve", "--port", "0", "--config", str(config), "--reload") as running,
        contextlib.AsyncExitStack() as stack,
    ):
        await running.says(r"listens on")
        client = await stack.enter_async_context(connected(running.port))
        await client.send(request("/mock/v1/messages", message("mock-hang", stream=True)))
        await client.until(b"message_start")
        config.write_text("[server]\nshutdown_grace = 1\n")
        await running.says(r"Waiting for 1 response, up to 10 s\n")
        config.write_text("[server]\nprot = 1\n")
        running.output = ""
        await stack.aclose()
        await running.says(r"Waiting for the next change because of an error: .*server\.prot")
        config.write_text("[providers.mock]\nprefix = '/two'\n")
        await running.says(r"listens on")
        async with connected(running.port) as again:
            assert (await again.ask(request("/two/v1/messages", message()))).status == 200
        running.signal(signal.SIGTERM)
        assert await running.ends() == 0


async def test_ctrl_c_while_it_restarts_stops_it(tmp_path: Path) -> None:
    async with serving(tmp_path, "--reload") as running, connected(running.port) as client:
        await client.send(request("/mock/v1/messages", message("mock-hang", stream=True)))
        await client.until(b"message_start")
        (tmp_path / ".env").write_text("SERVER__PORT=1\n")
        await running.says(r"Waiting for 1 response, up to 10 s\n")
        running.signal(signal.SIGINT)
        await running.says("Press Ctrl-C again")
        running.signal(signal.SIGINT)
        assert await running.ends(seconds=5) == 0
        assert running.output.count("listens on") == 1


@pytest.mark.parametrize("kind", ["har", "flow"])
async def test_a_recording_continues_after_a_reload(tmp_path: Path, kind: str) -> None:
    record = tmp_path / f"x.{kind}"
    record.write_text("overwritten by the first start")
    config = tmp_path / "mine.toml"
    config.write_text("")
    arguments = ("--config", str(config), "--reload", "--record", str(record))
    async with serving(tmp_path, *arguments) as running:
        for text in ("first", "second", "third"):
            async with connected(running.port) as client:
                assert (await client.ask(request("/mock/v1/messages", message(text=text)))).status == 200
            running.output = ""
            config.write_text(f"# {text}\n")
            await running.says(r"listens on")
        running.signal(signal.SIGTERM)
        assert await running.ends() == 0
    assert recorded(record) == ["first", "second", "third"]


def recorded(file: Path) -> list[str]:
    """The texts of the requests in a recording."""
    if file.suffix == ".har":
        entries = json.loads(file.read_text())["log"]["entries"]
        bodies = [entry["request"]["postData"]["text"] for entry in entries]
    else:
        with file.open("rb") as opened:
            bodies = [flow.request.text or "" for flow in io.FlowReader(opened).stream() if isinstance(flow, HTTPFlow)]
    return [json.loads(body)["messages"][0]["content"] for body in bodies]


async def test_the_first_start_is_not_forgiven(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[server]\nprot = 1\n")
    async with program(tmp_path, "serve", "--port", "0", "--config", "mine.toml", "--reload") as running:
        assert await running.ends() == 2


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
