"""The provider with the real Claude Code of the SDK's wheel, in a home of its own, against an upstream on loopback."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ccproxy.providers.claude_sdk import ClaudeSdkConfig, ClaudeSdkProvider
from ccproxy.providers.local import LocalRequest
from tests.fakes.messages_upstream import MessagesUpstream
from tests.fakes.pace import Pace
from tests.fakes.upstream import PATIENCE

pytest.importorskip("claude_agent_sdk")

MODEL = "claude-sonnet-4-6"


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that Claude Code has seen before: its first start there is slower."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def environment(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    temp = tmp_path / "tmp"
    temp.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temp))
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        # What an outer Claude Code or a careless shell exports must not matter.
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
        "ANTHROPIC_API_KEY": "sk-ant-exported",
        "CLAUDECODE": "1",
        "SERVER__AUTH_TOKEN": "own-secret",
    }


@pytest.fixture
async def upstream() -> AsyncIterator[MessagesUpstream]:
    async with MessagesUpstream() as server:
        yield server


Make = Callable[..., ClaudeSdkProvider]


@pytest.fixture
async def make(upstream: MessagesUpstream, environment: dict[str, str], tmp_path: Path) -> AsyncIterator[Make]:
    """Makes providers; keyword arguments are settings. With `login=True`, Claude Code has a subscription's token."""
    made: list[ClaudeSdkProvider] = []

    def build(*, login: bool = False, broker: Any = None, **settings: Any) -> ClaudeSdkProvider:
        key: dict[str, Any] = {"api_key": "sk-ant-dummy"}
        if login:
            key = {"env": {"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-dummy"}}
        config = ClaudeSdkConfig(**{"base_url": upstream.url, **key, **settings})
        provider = ClaudeSdkProvider(config, broker=broker, environment=environment, private=tmp_path / "private")
        made.append(provider)
        return provider

    yield build
    for provider in made:
        await provider.aclose()


def request(
    *messages: Any, session: str | None = None, headers: dict[str, str] | None = None, **fields: Any
) -> LocalRequest:
    """A Messages request; plain strings are turns, the user's first."""
    turns = [
        message if isinstance(message, dict) else {"role": ("user", "assistant")[at % 2], "content": message}
        for at, message in enumerate(messages)
    ]
    body = {"model": MODEL, "max_tokens": 100, "messages": turns, **fields}
    return LocalRequest(body, session_id=session, headers=headers or {})


async def collect(provider: ClaudeSdkProvider, asked: LocalRequest) -> list[dict[str, Any]]:
    """All events of the answer, and the stream closed."""
    stream = provider.stream(asked)
    try:
        return [event async for event in stream]
    finally:
        await stream.aclose()


def words(events: list[dict[str, Any]]) -> str:
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    return "".join(delta.get("text", "") for delta in deltas)


def proc(pid: int, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


def children() -> list[int]:
    """The processes that this process started, zombies too."""
    while True:
        found: list[int] = []
        try:
            for task in Path("/proc/self/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue  # a thread ended just now: its children are another one's, maybe of one that has been read
        return found


def claude_processes() -> list[int]:
    found: list[int] = []
    for pid in children():
        with suppress(FileNotFoundError, ProcessLookupError):  # reaped just now
            if b"--output-format" in proc(pid, "cmdline"):
                found.append(pid)
    return found


PROMPTLY = 1.0
"""Seconds of `tests.fakes.pace` in which the processes of a client that left are gone: 0.15 of them are for the process to end, and killing it costs CPU."""


async def until(condition: Callable[[], bool]) -> float:
    """Wait for the condition; returns how many seconds of `tests.fakes.pace` it took."""
    pace = Pace()
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - other processes set no event
            await asyncio.sleep(0.005)
    return pace.stop()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def roots() -> list[str]:
    return [path.name for path in Path(tempfile.gettempdir()).glob("ccproxy-claude-*")]


def temp_folders() -> list[str]:
    return sorted(path.name for path in Path(tempfile.gettempdir()).glob("ccproxy-claude-*/*") if path.name != ".lock")


def sessions_left(home: Path) -> list[str]:
    folder = home / ".claude" / "sessions"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
