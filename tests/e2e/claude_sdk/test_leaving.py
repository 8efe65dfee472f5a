"""Clients that leave, proxies that die: nothing stays behind, and nothing more is asked upstream."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest

from ccproxy.errors import ExchangeError
from tests.e2e.claude_sdk.conftest import Make, children, claude_processes, collect, request, until, words
from tests.fakes.messages_upstream import Answer, MessagesUpstream, text

ROOT = Path(__file__).parents[3]


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def roots() -> list[str]:
    return [path.name for path in Path(tempfile.gettempdir()).glob("ccproxy-claude-*")]


def temp_folders() -> list[str]:
    return sorted(path.name for path in Path(tempfile.gettempdir()).glob("ccproxy-claude-*/*") if path.name != ".lock")


def sessions_left(home: Path) -> list[str]:
    folder = home / ".claude" / "sessions"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


CLIENTS = int(os.environ.get("CCPROXY_TEST_CLIENTS", "16"))
"""How many leave at once in the test below. Each costs a start of Claude Code, a third of a second of a core."""


async def test_many_clients_leave(make: Make, upstream: MessagesUpstream, home: Path) -> None:
    provider = make(max_processes=4, queue=100)
    await collect(provider, request("warm up"))
    await until(lambda: not claude_processes())
    before = (open_files(), len(asyncio.all_tasks()))
    upstream.otherwise = lambda _body: Answer([text("one two three")], hold=asyncio.Event())

    async def leave(number: int) -> None:
        stream = provider.stream(request(f"client {number}"))
        while (await anext(stream))["type"] != "content_block_delta":
            pass
        assert len(children()) <= 4
        start = time.monotonic()
        await stream.aclose()
        assert time.monotonic() - start < 0.5

    await asyncio.gather(*(leave(number) for number in range(CLIENTS)))
    await until(lambda: all(call.left.is_set() for call in upstream.calls[1:]))
    assert len(upstream.calls) == CLIENTS + 1
    assert len({call.body["messages"][0]["content"][0]["text"] for call in upstream.calls}) == CLIENTS + 1
    assert children() == []
    await until(lambda: (open_files(), len(asyncio.all_tasks())) <= before)
    assert temp_folders() == []
    assert sessions_left(home) == []
    assert provider.status()["processes"]["live"] == 0


@pytest.mark.parametrize(
    ("way", "moment"),
    [
        ("close", "starting"),
        ("close", "asked"),
        ("close", "streaming"),
        ("cancel", "starting"),
        ("cancel", "streaming"),
        ("let go", "between"),
    ],
)
async def test_leaving_at_any_moment(make: Make, upstream: MessagesUpstream, moment: str, way: str) -> None:
    hold = asyncio.Event()
    upstream.otherwise = lambda _body: (
        Answer(hold_before=hold) if moment == "asked" else Answer([text("one two three")], hold=hold)
    )
    provider = make()
    stream = provider.stream(request("go"))
    reader: asyncio.Task[object] | None = asyncio.create_task(anext(stream))
    if moment == "starting":
        await until(lambda: bool(claude_processes()))
    else:
        await upstream.called(1)
    if moment in ("streaming", "between"):
        assert reader is not None
        await reader
        reader = asyncio.create_task(anext(stream)) if moment == "streaming" else None
    if way == "close":
        closing = asyncio.create_task(stream.aclose())
        await until(closing.done)
    if reader is not None:
        reader.cancel()
        await asyncio.wait({reader})
    del reader, stream
    gc.collect()
    assert await until(lambda: not claude_processes()) < 0.25
    await until(lambda: provider.status()["processes"]["live"] == 0)
    assert len(upstream.calls) == (0 if moment == "starting" else 1)
    if upstream.calls:
        await asyncio.wait_for(upstream.calls[0].left.wait(), 2)


async def test_a_client_that_does_not_read_keeps_nobody_from_stopping(make: Make, upstream: MessagesUpstream) -> None:
    upstream.answers.append(Answer([text("word " * 4000)], stop_reason="max_tokens", pieces=4000))
    stream = make().stream(request("go"))
    await anext(stream)
    await until(lambda: not claude_processes())
    assert len(upstream.calls) == 1
    events = [event async for event in stream]
    assert words(events) == "word " * 4000
    assert events[-1] == {"type": "message_stop"}


async def test_waiting_in_line_and_leaving(make: Make, upstream: MessagesUpstream) -> None:
    upstream.otherwise = lambda _body: Answer(hold_before=asyncio.Event())
    provider = make(max_processes=1, queue=2)
    first, second, third = (provider.stream(request(word)) for word in ("a", "b", "c"))
    reading = [asyncio.create_task(anext(stream)) for stream in (first, second, third)]
    await upstream.called(1)
    with pytest.raises(ExchangeError) as caught:
        await collect(provider, request("d"))
    assert (caught.value.status, caught.value.headers) == (429, {"retry-after": "5"})
    assert provider.status()["processes"] == {"live": 1, "max": 1, "spare": 0, "waiting": 2}
    reading[1].cancel()
    await until(lambda: provider.status()["processes"]["waiting"] == 1)
    reading[0].cancel()
    call = await upstream.called(2)
    assert call.body["messages"][0]["content"][0]["text"] == "c"
    reading[2].cancel()
    await asyncio.wait(reading)
    await until(lambda: provider.status()["processes"]["live"] == 0)


async def test_the_provider_closes_in_mid_answer(make: Make, upstream: MessagesUpstream) -> None:
    upstream.otherwise = lambda _body: Answer([text("one two three")], hold=asyncio.Event())
    provider = make(prewarm=1)
    stream = provider.stream(request("go", session="s"))
    while (await anext(stream))["type"] != "content_block_delta":
        pass
    waiting = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    await provider.aclose()
    assert children() == []
    assert roots() == []
    with pytest.raises(ExchangeError, match="stopping"):
        await asyncio.wait_for(waiting, 1)
    with pytest.raises(ExchangeError, match="stopping"):
        await collect(provider, request("late"))


PROXY = """
import asyncio, os, sys
from ccproxy.providers.claude_sdk import ClaudeSdkConfig, ClaudeSdkProvider
from ccproxy.providers.local import LocalRequest

async def main():
    config = ClaudeSdkConfig(api_key="sk-ant-dummy", base_url=sys.argv[1], prewarm=1)
    provider = ClaudeSdkProvider(config)
    body = {"model": "claude-sonnet-4-6", "max_tokens": 9, "messages": [{"role": "user", "content": "go"}]}
    stream = provider.stream(LocalRequest(body))
    await anext(stream)
    while provider.status()["processes"]["spare"] < 1:
        await asyncio.sleep(0.01)
    print("answering", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_killed_proxy_leaves_no_orphans(
    make: Make, upstream: MessagesUpstream, environment: dict[str, str], tmp_path: Path, home: Path
) -> None:
    upstream.otherwise = lambda _body: Answer([text("one two three")], hold=asyncio.Event())
    proxy = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROXY, upstream.url),
        env={
            **environment,
            "TMPDIR": tempfile.gettempdir(),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "PYTHONPATH": str(ROOT),
        },
        stdout=asyncio.subprocess.PIPE,
    )
    assert proxy.stdout is not None
    assert await asyncio.wait_for(proxy.stdout.readline(), 30) == b"answering\n"
    orphans = [int(pid) for pid in _read(f"/proc/{proxy.pid}/task/{proxy.pid}/children").split()]
    assert len(orphans) == 2
    proxy.send_signal(signal.SIGKILL)
    await proxy.wait()
    await until(lambda: not any(_lives(pid) for pid in orphans), 2.0)
    await asyncio.wait_for(upstream.calls[0].left.wait(), 2)
    assert len(upstream.calls) == 1
    # What the dead proxy left on disk goes when the next one starts.
    assert len(roots()) == 1
    provider = make()
    upstream.otherwise = lambda _body: Answer()
    await collect(provider, request("go"))
    await provider.aclose()
    assert roots() == []
    assert sessions_left(home) == []


def _read(path: str) -> str:
    return Path(path).read_text()


def _lives(pid: int) -> bool:
    try:
        return _read(f"/proc/{pid}/stat").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
