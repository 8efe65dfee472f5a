"""`/claude` as its clients have it: over HTTP, in the three formats, with the official SDKs, and with clients that leave."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from ccproxy.cli.checks.listening import claude_processes as in_doctor
from ccproxy.cli.running import Address, probe_port
from ccproxy.providers.claude_sdk import stream as claude_stream
from ccproxy.server.proxy_server import Extras
from ccproxy.settings import load
from ccproxy.settings.folders import data_dir
from ccproxy.settings.runtime import cli_token
from ccproxy.settings.trust import is_trusted, trust
from ccproxy.translate.formats import Format
from tests.e2e.claude_sdk.conftest import (
    MODEL,
    PROMPTLY,
    children,
    claude_processes,
    open_files,
    roots,
    sessions_left,
    temp_folders,
    until,
)
from tests.fakes.claude import Claude
from tests.fakes.client import message
from tests.fakes.messages_upstream import Answer, MessagesUpstream, text, tool_use
from tests.fakes.plot import CACHED, THOUGHT, WRITTEN, Call, Said, fresh, spent
from tests.fakes.proxy import Proxy, running, serving
from tests.fakes.talk import Heard, Talk, talking
from tests.fakes.upstream import PATIENCE, Upstream

pytestmark = pytest.mark.e2e

PATHS = {
    Format.ANTHROPIC: "messages",
    Format.OPENAI_CHAT: "chat/completions",
    Format.OPENAI_RESPONSES: "responses",
}
Start = Callable[..., Any]


@pytest.fixture
async def start(
    upstream: MessagesUpstream, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Start]:
    """Starts a proxy in this process; keyword arguments are settings of `/claude`."""
    monkeypatch.setenv("HOME", environment["HOME"])
    async with AsyncExitStack() as stack:

        async def begin(**settings: Any) -> Proxy:
            own = {"api_key": "sk-ant-dummy", "base_url": upstream.url, **settings}
            return await stack.enter_async_context(running(tmp_path, None, providers={"claude_sdk": own}))

        yield begin


def client_of(proxy: Proxy) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=proxy.url, trust_env=False, timeout=60)


def body(fmt: Format, words: str, *, streamed: bool) -> dict[str, Any]:
    turn = {"role": "user", "content": words}
    turns = {"input": [turn]} if fmt is Format.OPENAI_RESPONSES else {"messages": [turn]}
    return {"model": MODEL, "stream": streamed, **turns, **({"max_tokens": 100} if fmt is Format.ANTHROPIC else {})}


async def status(client: httpx.AsyncClient) -> dict[str, Any]:
    """What `/health` says of `/claude`."""
    answer = await client.get("/health")
    found: dict[str, Any] = answer.json()["providers"]["claude_sdk"]
    return found


async def says(client: httpx.AsyncClient, what: Callable[[dict[str, Any]], bool]) -> None:
    """Ask until it says so."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if what(await status(client)):
                return
            await asyncio.sleep(0.01)


CLIENTS = int(os.environ.get("CCPROXY_TEST_CLIENTS", "50"))
"""How many leave at once in the test below. Each costs a start of Claude Code, a third of a second of a core."""


async def test_many_clients_leave(start: Start, upstream: MessagesUpstream, home: Path) -> None:
    proxy: Proxy = await start(max_processes=4, queue=CLIENTS)
    async with client_of(proxy) as client:
        assert (await client.post("/claude/v1/messages", content=message(MODEL))).status_code == 200
        await until(lambda: not claude_processes())
    before = (open_files(), len(asyncio.all_tasks()))
    upstream.otherwise = lambda _body: Answer([text("one two three")], hold=asyncio.Event())
    most = 0

    async def leave(number: int) -> None:
        nonlocal most
        asked = body(Format.ANTHROPIC, f"client {number}", streamed=True)
        async with client_of(proxy) as client, client.stream("POST", "/claude/v1/messages", json=asked) as answer:
            async for line in answer.aiter_lines():
                if "content_block_delta" in line:
                    most = max(most, len(children()))
                    return

    await asyncio.gather(*(leave(number) for number in range(CLIENTS)))
    assert await until(lambda: not children()) < PROMPTLY
    await until(lambda: all(call.left.is_set() for call in upstream.calls[1:]))
    assert most <= 4
    asked = [call.body["messages"][0]["content"][0]["text"] for call in upstream.calls[1:]]
    assert sorted(asked) == sorted(f"client {number}" for number in range(CLIENTS))
    await until(lambda: (open_files(), len(asyncio.all_tasks())) <= before)
    await until(lambda: temp_folders() == [])
    assert sessions_left(home) == []
    async with client_of(proxy) as client:
        assert (await status(client))["processes"] == {"live": 0, "max": 4, "spare": 0, "waiting": 0}


async def test_twenty_at_once(start: Start, upstream: MessagesUpstream) -> None:
    most = 0

    def echo(asked: dict[str, Any]) -> Answer:
        nonlocal most
        most = max(most, len(claude_processes()))
        return Answer([text(f"You said {asked['messages'][0]['content'][0]['text']}.")])

    upstream.otherwise = echo
    proxy: Proxy = await start(max_processes=4, queue=16)
    async with client_of(proxy) as client:
        kinds = [(fmt, streamed) for fmt in PATHS for streamed in (True, False)]

        async def ask(number: int) -> httpx.Response:
            fmt, streamed = kinds[number % len(kinds)]
            return await client.post(f"/claude/v1/{PATHS[fmt]}", json=body(fmt, f"<{number}>", streamed=streamed))

        # Four answer and sixteen wait; there is no place for one more.
        asking = [asyncio.create_task(ask(number)) for number in range(20)]
        await says(client, lambda told: told["processes"]["waiting"] == 16)
        late = await ask(20)
        assert (late.status_code, late.headers["retry-after"]) == (429, "5")
        for number, answer in enumerate(await asyncio.gather(*asking)):
            assert answer.status_code == 200, answer.text
            said = "".join(_deltas(answer.text)) if kinds[number % len(kinds)][1] else answer.text
            assert f"You said <{number}>." in said
    assert most == 4
    assert len(upstream.calls) == 20


def _deltas(stream: str) -> list[str]:
    """The text of a stream, in whatever format."""
    found = []
    for line in stream.splitlines():
        if line.startswith("data: {"):
            event = json.loads(line[6:])
            delta = event["choices"][0]["delta"] if event.get("choices") else event.get("delta", "")
            if isinstance(delta, dict):
                delta = delta.get("text") or delta.get("content") or ""
            found.append(delta)
    return found


PLOT = [
    Said("Two cities, so two calls.", "Let me look.", (Call("weather", {"city": "Zürich"}), Call("weather", {"city": "Oslo", "unit": "F"}))),
    Said("Oslo failed.", "Zürich 21 °C 🌤."),
]  # fmt: skip
RESULTS = [("21 °C", False), ("station down", True)]
STOPS = {
    Format.ANTHROPIC: ("end_turn", "tool_use"),
    Format.OPENAI_CHAT: ("stop", "tool_calls"),
    Format.OPENAI_RESPONSES: ("completed", "completed"),
}


async def test_tool_loops_of_the_official_sdks(start: Start) -> None:
    """The upstream refuses thinking that does not come back as it was, results without calls, and the like."""

    async def loop(talk: Talk, *, streamed: bool) -> list[Heard]:
        talk.says("How is the weather in Zürich and Oslo?")
        first = await talk.turn(streamed=streamed)
        talk.results({call[0]: result for call, result in zip(first.calls, RESULTS, strict=True)})
        return [first, await talk.turn(streamed=streamed)]

    async def both(fmt: Format, proxy: Proxy) -> None:
        for streamed in (True, False):
            async with talking(fmt, f"{proxy.url}/claude", "claude-opus-5-5", patience=60) as talk:
                heard = await loop(talk, streamed=streamed)
            for turn, (said, answer) in enumerate(zip(PLOT, heard, strict=True)):
                assert (answer.text, answer.thinking) == (said.text, said.thinking)
                called = [(name, arguments) for _, name, arguments in answer.calls]
                assert called == [(call.name, call.arguments) for call in said.calls]
                assert answer.stop == STOPS[fmt][bool(said.calls)]
                assert answer.usage == (fresh(turn) + CACHED + WRITTEN, CACHED, spent(turn), THOUGHT)

    async with Upstream() as teeth:
        fake = teeth.script = Claude(PLOT)
        proxy: Proxy = await start(base_url=teeth.url)
        await asyncio.gather(*(both(fmt, proxy) for fmt in PATHS))
        assert fake.refused == []
        assert len(fake.bodies) == 3 * 2 * len(PLOT)


async def test_silence_is_filled(start: Start, upstream: MessagesUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claude_stream, "FIRST_PING_AFTER", 0.1)
    monkeypatch.setattr(claude_stream, "PING_AFTER", 0.1)
    proxy: Proxy = await start()

    async def ask(client: httpx.AsyncClient, fmt: Format, *, streamed: bool) -> str:
        asked = body(fmt, "go", streamed=streamed)
        said, go = "", asyncio.Event()
        upstream.answers.append(Answer([text("one two three")], hold=go))
        if not streamed:
            asyncio.get_running_loop().call_later(0.7, go.set)
        async with client.stream("POST", f"/claude/v1/{PATHS[fmt]}", json=asked) as answer:
            async for piece in answer.aiter_text():
                said += piece
                if "one t" in said and said.rpartition("one t")[2].count("ping") >= 2:
                    go.set()
        return said

    async with client_of(proxy) as client:
        for fmt in PATHS:
            said = await ask(client, fmt, streamed=True)
            assert "".join(_deltas(said)) == "one two three"
        assert ": ping\n\n" in said
        assert json.loads(await ask(client, Format.OPENAI_CHAT, streamed=False))["choices"][0]["message"]["content"]


async def test_failures_as_clients_see_them(start: Start, upstream: MessagesUpstream) -> None:
    proxy: Proxy = await start(api_key="", env={"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-dummy"})
    reset = int(time.time()) + 1800
    limit = {
        "anthropic-ratelimit-unified-status": "rejected",
        "anthropic-ratelimit-unified-reset": str(reset),
        "anthropic-ratelimit-unified-representative-claim": "five_hour",
    }
    async with client_of(proxy) as client:
        upstream.answers.append(Answer(status=429, message="limit", headers=limit))
        asked = body(Format.OPENAI_CHAT, "go", streamed=True)
        answer = await client.post("/claude/v1/chat/completions", json=asked)
        assert (answer.status_code, answer.json()["error"]["type"]) == (429, "rate_limit_error")
        assert 1700 < int(answer.headers["retry-after"]) <= 1801
        # Claude Code is killed while it answers: the stream ends with an error, not with an end.
        upstream.answers.append(Answer([text("one two three")], hold=asyncio.Event()))
        asked = body(Format.ANTHROPIC, "go", streamed=True)
        said = ""
        async with client.stream("POST", "/claude/v1/messages", json=asked) as answer:
            async for piece in answer.aiter_text():
                if "one t" in piece:
                    (pid,) = claude_processes()
                    os.kill(pid, signal.SIGKILL)
                said += piece
        last = json.loads(said.splitlines()[-2].removeprefix("data: "))
        assert (last["type"], last["error"]["type"]) == ("error", "api_error")
        assert "signal 9" in last["error"]["message"]
        assert "message_stop" not in said
        # The next one is none the worse for it.
        assert (await client.post("/claude/v1/messages", content=message(MODEL))).status_code == 200
    assert len(upstream.calls) == 3


@pytest.mark.parametrize(
    ("settings", "code", "kind", "words"),
    [
        ({"api_key": ""}, 401, "authentication_error", "claude setup-token"),
        ({"cli_path": "/nowhere/claude"}, 503, "api_error", "providers.claude_sdk.cli_path"),
    ],
    ids=["login", "program"],
)
async def test_what_is_missing_is_said(
    start: Start, settings: dict[str, Any], code: int, kind: str, words: str
) -> None:
    async with client_of(await start(**settings)) as client:
        for streamed in (True, False):
            answer = await client.post("/claude/v1/messages", content=message(MODEL, stream=streamed))
            assert (answer.status_code, answer.json()["error"]["type"]) == (code, kind)
            assert words in answer.json()["error"]["message"]


async def test_sessions_models_and_tokens(start: Start, upstream: MessagesUpstream) -> None:
    proxy: Proxy = await start(session_busy="reject", max_processes=2)
    async with client_of(proxy) as client:
        go = asyncio.Event()
        upstream.answers.append(Answer([text("Hello.")], hold=go))
        asked = {"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi."}]}
        first = asyncio.create_task(client.post("/claude/my-chat/v1/messages", json=asked))
        await upstream.called(1)
        second = await client.post("/claude/my-chat/v1/chat/completions", json=asked)
        assert (second.status_code, "session_busy" in second.json()["error"]["message"]) == (409, True)
        go.set()
        assert (await first).json()["content"] == [text("Hello.")]
        # Another format's client may go on with it: only the new turn is sent to the process.
        turns = [*asked["messages"], {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "Go on."}]
        await says(client, lambda told: not told["sessions"][0]["busy"])
        (pid,) = claude_processes()
        answer = await client.post("/claude/my-chat/v1/chat/completions", json={**asked, "messages": turns})
        assert answer.json()["choices"][0]["message"]["content"] == "ok"
        await says(client, lambda told: not told["sessions"][0]["busy"])
        health = await status(client)
        (session,) = health["sessions"]
        assert (session["id"], session["pid"], session["turns"]) == ("my-chat", pid, 4)
        found = await asyncio.to_thread(probe_port, Address("127.0.0.1", proxy.port))
        lines = [(finding.subject, finding.what) for finding in in_doctor(found.providers["claude_sdk"])]
        assert lines == [
            ("claude processes", "1 of 2"),
            ("claude session my-chat", f"idle for 0 s, 4 turns, process {pid}"),
        ]
        models = (await client.get("/claude/v1/models")).json()["data"]
        assert len(models) > 1
        one = (await client.get(f"/claude/v1/models/{models[0]['id']}")).json()
        assert one["id"] == models[0]["id"]
        counted = await client.post("/claude/v1/messages/count_tokens", json=asked)
        assert counted.headers["x-ccproxy-estimate"] == "1"
        assert counted.json()["input_tokens"] > 0
    assert len(upstream.calls) == 2


async def test_a_killed_proxy_leaves_no_orphans(
    upstream: MessagesUpstream, environment: dict[str, str], tmp_path: Path, home: Path
) -> None:
    hold = asyncio.Event()
    upstream.otherwise = lambda _body: Answer([text("one two three")], hold=hold)
    env = {
        "HOME": str(home),
        "TMPDIR": tempfile.gettempdir(),
        "PROVIDERS__CLAUDE_SDK__API_KEY": "sk-ant-dummy",
        "PROVIDERS__CLAUDE_SDK__BASE_URL": upstream.url,
        "PROVIDERS__CLAUDE_SDK__PREWARM": "1",
    }
    async with serving(tmp_path, env=env) as proxy:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{proxy.port}", trust_env=False, timeout=60) as client:
            asked = body(Format.ANTHROPIC, "go", streamed=True)
            async with client.stream("POST", "/claude/v1/messages", json=asked) as answer:
                lines = answer.aiter_lines()
                while "content_block_delta" not in await anext(lines):
                    pass
                async with httpx.AsyncClient(base_url=client.base_url, trust_env=False) as other:
                    await says(other, lambda told: told["processes"]["spare"] == 1)
                orphans = below(proxy.process.pid)
                assert len(orphans) == 2
                proxy.signal(signal.SIGKILL)
                await proxy.ends()
                with pytest.raises(httpx.HTTPError):
                    async for _ in lines:
                        pass
        await until(lambda: not any(lives(pid) for pid in orphans))
        await asyncio.wait_for(upstream.calls[0].left.wait(), PATIENCE)
        assert len(upstream.calls) == 1
    # What the dead proxy left on disk goes when the next one starts its first process.
    assert len(roots()) == 1
    hold.set()
    async with serving(tmp_path, env=env) as proxy:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{proxy.port}", trust_env=False, timeout=60) as client:
            assert (await client.post("/claude/v1/messages", content=message(MODEL))).status_code == 200
        proxy.signal(signal.SIGTERM)
        assert await proxy.ends() == 0
        assert "Traceback" not in proxy.output
    assert roots() == []
    assert sessions_left(home) == []


def below(pid: int) -> list[int]:
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_permissions_asked_and_given(
    upstream: MessagesUpstream, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By rule, by a person over HTTP and at the command line, by nobody; and written down."""
    monkeypatch.setenv("HOME", environment["HOME"])
    work = tmp_path / "work"
    work.mkdir()
    commands = [f"mkdir {name}" for name in ("denied", "changed", "shell", "kept_one", "kept_two", "nobody")]
    calls = [tool_use(f"t{at}", "Bash", command=command, description="x") for at, command in enumerate(commands)]
    upstream.answers += [Answer(calls), Answer()]
    config = tmp_path / "mine.toml"  # the file that the proxy was started with, and that its user trusts
    config.write_text('[permissions]\nrules = [{ tool = "Bash(mkdir *)", decision = "ask" }]  # mine\n')
    trust(config)
    own = {"mode": "agent", "api_key": "sk-ant-dummy", "base_url": upstream.url, "cwd": str(work)}
    async with (
        running(
            tmp_path, None, Extras(config=config), providers={"claude_sdk": own}, permissions={"timeout": 600}
        ) as proxy,
        client_of(proxy) as client,
    ):
        token = {"x-ccproxy-token": cli_token("127.0.0.1", proxy.port)}
        broker = proxy.addon("gateway").own.permissions
        answering = asyncio.create_task(client.post("/claude/mine/v1/messages", content=message(MODEL)))
        async with client.stream("GET", "/permissions/stream", headers=token) as answer:
            assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
            async for line in answer.aiter_lines():
                change = json.loads(line[6:]) if line.startswith("data: ") else {}
                if change.get("type") == "decided" and change["by"] == "timeout":
                    break
                if change.get("type") != "asked":
                    continue
                where, command = f"/permissions/{change['id']}", change["input"]["command"]
                assert change["session_id"] == "mine"
                match command.removeprefix("mkdir "):
                    case "denied":
                        said = {"decision": "deny", "message": "Not that one."}
                    case "changed":
                        said = {"decision": "allow", "updated_input": {**change["input"], "command": "mkdir other"}}
                    case "shell":
                        assert await at_the_command_line(proxy, "allow", change["id"][:6]) == "Allowed\n"
                        continue
                    case "kept_one":
                        broker.timeout = 2  # for the last one
                        said = {"decision": "allow", "remember": "Bash(mkdir kept*)"}
                    case _:
                        continue
                assert (await client.post(where, json=said, headers=token)).status_code == 200
                assert (await client.post(where, json=said, headers=token)).status_code == 409
        assert (await answering).status_code == 200
        assert (await client.get("/permissions", headers=token)).json()["pending"] == []
    assert sorted(path.name for path in work.iterdir()) == ["kept_one", "kept_two", "other", "shell"]
    told = json.dumps(upstream.calls[-1].body["messages"][-1])
    assert "Not that one." in told
    assert "no decision within 2 s" in told
    # The rule will be there after the next start, before the one that says otherwise.
    rules = [(rule.tool, rule.decision) for rule in load(config=config, environ={}).settings.permissions.rules]
    assert rules == [("Bash(mkdir kept*)", "allow"), ("Bash(mkdir *)", "ask")]
    assert is_trusted(config, config.read_bytes())
    rows = [json.loads(line) for line in (data_dir() / "permissions.jsonl").read_text().splitlines()]
    assert [(row["allowed"], row["by"], row["changed_input"]) for row in rows] == [
        (False, "person", False), (True, "person", True), (True, "person", False), (True, "person", False), (True, "rule", False), (False, "timeout", False),
    ]  # fmt: skip


async def at_the_command_line(proxy: Proxy, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ccproxy", "permissions", *arguments),
        env={**os.environ, "SERVER__PORT": str(proxy.port)},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    return said.decode()
