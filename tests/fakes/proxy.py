"""ccproxy itself, running: in the test's own loop, or as the program that a user starts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

import ccproxy
from ccproxy.server.proxy_server import Extras, ProxyServer
from ccproxy.settings import Settings, load
from tests.fakes.client import Answer, Client, connected, request
from tests.fakes.upstream import PATIENCE, Upstream, turns

START = 60.0
"""Seconds that a real process may take to start on a busy machine before a test gives up."""

ANTHROPIC_KEY = "sk-ant-" + "configured"
CODEX_KEY = "codex-configured"
OWN_KEY = "own-configured"


def pointing_at(upstream: Upstream) -> dict[str, Any]:
    """Providers that all lead to this upstream: the built-in ones, and one of the user's own for each format."""
    url = upstream.url
    return {
        "claude_api": {"base_url": url, "api_key": ANTHROPIC_KEY},
        "codex": {"base_url": f"{url}/backend-api/codex", "api_key": CODEX_KEY},
        "zai": {"prefix": "/zai", "format": "anthropic", "base_url": f"{url}/anthropic", "api_key": OWN_KEY},
        "chatty": {"prefix": "/chatty", "format": "openai_chat", "base_url": f"{url}/v1", "api_key": OWN_KEY, "header": "authorization"},
        "respy": {"prefix": "/respy", "format": "openai_responses", "base_url": url, "api_key": OWN_KEY, "header": "authorization"},
    }  # fmt: skip


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(base)
    for key, value in over.items():
        out[key] = merged(out.get(key, {}), value) if isinstance(value, Mapping) else value
    return out


@dataclass
class Proxy:
    """A running ProxyServer."""

    host: ProxyServer
    settings: Settings
    task: asyncio.Task[None]

    @property
    def port(self) -> int:
        return self.host.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def addon(self, name: str) -> Any:
        """One of the addons that run in it."""
        return self.host.master.addons.get(name)

    def connect(self, host: str = "127.0.0.1", *, receive_buffer: int = 0) -> Any:
        """A raw connection: `async with proxy.connect() as client`."""
        return connected(self.port, host, receive_buffer=receive_buffer)

    async def ask(self, data: bytes) -> Answer:
        """One request on a connection of its own."""
        async with self.connect() as client:
            return await client.ask(data)

    async def post(self, path: str, body: bytes, *fields: tuple[str, str]) -> Answer:
        return await self.ask(request(path, body, *fields))

    async def get(self, path: str, *fields: tuple[str, str]) -> Answer:
        return await self.ask(request(path, b"", *fields, method="GET"))

    @asynccontextmanager
    async def http(self, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=PATIENCE, **options) as client:
            yield client


@asynccontextmanager
async def running(
    folder: Path, upstream: Upstream | None = None, extras: Extras | None = None, **sections: Any
) -> AsyncIterator[Proxy]:
    """A proxy on a free port, configured by `sections` on top of `pointing_at(upstream)`. Nothing may be left of it afterwards."""
    base: dict[str, Any] = {"server": {"port": 0}, "ledger": {"enabled": False}}
    if upstream is not None:
        base["providers"] = pointing_at(upstream)
    loaded = load(merged(base, sections), environ={}, folder=folder)
    before = asyncio.all_tasks()
    host = ProxyServer(loaded.settings, extras or Extras())
    task = asyncio.create_task(host.run())
    started = asyncio.create_task(host.started.wait())
    done, _ = await asyncio.wait({task, started}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    if task in done:
        started.cancel()
        await task
        raise AssertionError("the proxy ended instead of starting")
    proxy = Proxy(host, loaded.settings, task)
    try:
        yield proxy
    finally:
        host.stop()
        async with asyncio.timeout(PATIENCE):
            await task
        await settled(before)


async def settled(before: set[asyncio.Task[Any]]) -> None:
    """Wait until no task runs that was not there before, but for those of fakes."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while left := {task for task in asyncio.all_tasks() - before - {asyncio.current_task()} if not _is_fake(task)}:
        assert asyncio.get_running_loop().time() < deadline, f"left running: {left}"
        await turns(1)


def _is_fake(task: asyncio.Task[Any]) -> bool:
    return getattr(task.get_coro(), "__qualname__", "").startswith(("Upstream.", "CompanyProxy.", "pump"))


@dataclass
class Program:
    """`ccproxy …` as a process of its own, in a folder and with an environment of its own."""

    process: asyncio.subprocess.Process
    output: str = ""
    """What it has said on stdout and stderr, as far as it was waited for."""
    _spoke: asyncio.Condition = field(default_factory=asyncio.Condition)

    def __post_init__(self) -> None:
        streams = [stream for stream in (self.process.stdout, self.process.stderr) if stream]
        self._streams = [asyncio.create_task(self._listen(stream)) for stream in streams]

    @property
    def port(self) -> int:
        found = re.search(r"listens on http://\S+?:(\d+)", self.output)
        assert found, self.output
        return int(found[1])

    async def says(self, pattern: str, seconds: float = START) -> re.Match[str]:
        """Wait until the output matches."""
        try:
            async with asyncio.timeout(seconds), self._spoke:
                await self._spoke.wait_for(
                    lambda: re.search(pattern, self.output) or all(stream.done() for stream in self._streams)
                )
        except TimeoutError:
            pass
        found = re.search(pattern, self.output)
        assert found, f"it did not say {pattern!r} but:\n{self.output}"
        return found

    async def ends(self, seconds: float = START) -> int:
        """Wait for its end; its exit code."""
        async with asyncio.timeout(seconds):
            code = await self.process.wait()
            await asyncio.gather(*self._streams)
        return code

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def _listen(self, stream: asyncio.StreamReader) -> None:
        while data := await stream.read(65536):
            async with self._spoke:
                self.output += data.decode(errors="replace")
                self._spoke.notify_all()
        async with self._spoke:
            self._spoke.notify_all()


def environment(folder: Path, **more: str) -> dict[str, str]:
    """A user who has nothing but this folder."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR", "SYSTEMROOT") if name in os.environ}
    root = str(Path(ccproxy.__file__).parent.parent)
    return {
        **kept,
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PYTHONPATH": root,
        "PYTHONUNBUFFERED": "1",
        **more,
    }


@asynccontextmanager
async def program(
    folder: Path, *arguments: str, command: Sequence[str] = (), env: Mapping[str, str] | None = None
) -> AsyncIterator[Program]:
    """Start `ccproxy ARGUMENTS`, or `command ARGUMENTS`; it is killed if the test leaves it running."""
    process = await asyncio.create_subprocess_exec(
        *(command or (sys.executable, "-m", "ccproxy")), *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        cwd=folder, env=environment(folder, **(env or {})),
    )  # fmt: skip
    made = Program(process)
    try:
        yield made
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await made.ends()


@asynccontextmanager
async def serving(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> AsyncIterator[Program]:
    """`ccproxy serve` on a free port, once it listens."""
    async with program(folder, "serve", "--port", "0", *arguments, env=env) as made:
        await made.says(r"listens on http://")
        yield made


__all__ = ["Answer", "Client", "Program", "Proxy", "environment", "pointing_at", "program", "running", "serving"]
