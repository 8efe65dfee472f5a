"""A Claude Code process as the SDK's transport: lines of JSON on its pipes.

The SDK's own transport passes the whole parent environment on, puts prompts on the command line, and needs 5 s to end a process that is writing an answer.
This one starts what a `Launch` describes, and ends it at once. (The SDK calls the class public and its interface subject to change.)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import claude_agent_sdk
from claude_agent_sdk import ProcessError, Transport

from ccproxy.errors import InternalError, Unavailable, UpstreamBroken
from ccproxy.providers.claude_sdk.cleanup import descendants, kill_survivors, note_down, sweep
from ccproxy.providers.claude_sdk.launch import Launch

logger = logging.getLogger(__name__)

MAX_LINE = 64 * 1024 * 1024
"""The longest line taken from Claude Code, in bytes. A long answer with its documents comes as one."""

_MOST_UNREAD = 1000  # messages that a process may write before it answers

_GRACE = 0.15  # seconds between asking a process to end and killing it
_SECRET = re.compile(r"sk-ant-[\w-]+|(?i:bearer) \S+")


@dataclass(frozen=True, slots=True)
class _Running:
    process: asyncio.subprocess.Process
    stdin: asyncio.StreamWriter
    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader


class CliTransport(Transport):
    """Starts one process, speaks to it, and leaves nothing of it behind."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.system_prompt: str | None = None
        """If set, sent with the SDK's handshake: for a process that was started before it was known."""
        self._started: _Running | None = None
        self._errors: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._replies: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._unread: deque[dict[str, Any]] = deque()
        self._killed = False
        self.last_words: deque[str] = deque(maxlen=20)
        self.is_last: Callable[[dict[str, Any]], bool] | None = None
        """Looks at each message as it is read. True ends the process before anything else is done with the message."""

    @property
    def pid(self) -> int | None:
        return self._started.process.pid if self._started else None

    # --- what the SDK calls ---

    async def connect(self) -> None:
        """Start the process, unless it was started before.

        Raises:
            Unavailable: the program cannot be run.

        """
        if self._started is not None:
            return
        launch = self.launch
        env = {**launch.env, "CLAUDE_AGENT_SDK_VERSION": claude_agent_sdk.__version__}
        pipe = asyncio.subprocess.PIPE
        try:
            # Its own session: Ctrl-C in the terminal ends ccproxy, which then ends its processes in order.
            process = await asyncio.create_subprocess_exec(
                *launch.argv, stdin=pipe, stdout=pipe, stderr=pipe, cwd=launch.cwd, env=env, start_new_session=True
            )
        except FileNotFoundError as error:
            if not launch.cwd.is_dir():
                raise InternalError(
                    f"Claude Code cannot start: its folder {launch.cwd} (providers.claude_sdk.cwd) does not exist"
                ) from error
            raise Unavailable(f"Claude Code cannot start: {error.strerror}: {error.filename}") from error
        except OSError as error:
            raise Unavailable(f"Claude Code cannot start: {error.strerror or error}") from error
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise InternalError("Claude Code was started without pipes")
        self._started = _Running(process, process.stdin, process.stdout, process.stderr)
        self._errors = asyncio.create_task(self._read_errors(process.stderr), name=f"claude stderr {process.pid}")
        await asyncio.to_thread(note_down, process.pid, launch.config_dir, launch.folder)

    async def write(self, data: str) -> None:
        stdin = self._running().stdin
        if self.system_prompt is not None:
            data = self._with_system_prompt(data)
        try:
            stdin.write(data.encode())
            await stdin.drain()
        except (ConnectionError, RuntimeError) as error:
            raise await self._ended() from error

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        while self._unread:
            yield self._unread.popleft()
        async for message in self._read_lines():
            if self.is_last is not None and self.is_last(message):
                self._kill()
            if not self._is_own_reply(message):
                yield message
        if not self._killed:
            # Also after exit code 0: the SDK closes stdin only when the connection is given up.
            raise await self._ended()

    async def end_input(self) -> None:
        if self._started is not None:
            self._started.stdin.close()

    async def close(self) -> None:
        await self.end()

    def is_ready(self) -> bool:
        return self._started is not None and self._started.process.returncode is None and not self._killed

    # --- what ccproxy calls ---

    async def wait_until_booted(self) -> None:
        """Return when the process answers. Only for one that the SDK does not read from yet."""
        reply = await self._send({"subtype": "get_settings"})
        async for message in self._read_lines():
            if not self._is_own_reply(message):
                self._unread.append(message)
            if reply.done():
                return
            if len(self._unread) > _MOST_UNREAD:
                raise UpstreamBroken(f"Claude Code wrote {_MOST_UNREAD} messages before it answered")
        raise await self._ended()

    async def apply_settings(self, settings: dict[str, Any]) -> None:
        """Change settings of the running process; the SDK must be reading."""
        reply = await self._send({"subtype": "apply_flag_settings", "settings": settings})
        response = await asyncio.wait_for(reply, 30)
        if response.get("subtype") != "success":
            raise UpstreamBroken(f"Claude Code did not accept its settings: {str(response.get('error'))[:500]}")

    async def end(self) -> None:
        """End the process and what it started, and remove its files. Takes 0.2 s at most; safe to call twice and to
        cancel.
        """
        if self._ending is None:
            self._killed = True
            self._ending = asyncio.create_task(self._end(), name=f"claude end {self.pid}")
        await asyncio.shield(self._ending)

    # --- inside ---

    def _kill(self) -> None:
        """End the process at this instant: nothing more is sent upstream. `end` cleans up."""
        self._killed = True
        with contextlib.suppress(ProcessLookupError):
            self._running().process.kill()

    def _running(self) -> _Running:
        if self._started is None:
            raise InternalError("Claude Code was not started")
        return self._started

    async def _ended(self) -> ProcessError:
        """The error for a process that has closed its pipes: its exit code and its last words."""
        process = self._running().process
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await process.wait()
                if self._errors is not None:
                    await asyncio.wait({self._errors})
        return ProcessError("Claude Code ended", exit_code=process.returncode, stderr="\n".join(self.last_words))

    def _with_system_prompt(self, data: str) -> str:
        """Add the system prompt to the handshake, as the TypeScript SDK does; the Python SDK has only the flag for it."""
        message = json.loads(data)
        request = message.get("request")
        if isinstance(request, dict) and request.get("subtype") == "initialize":
            request["systemPrompt"] = self.system_prompt
            self.system_prompt = None
            return json.dumps(message) + "\n"
        return data

    async def _send(self, request: dict[str, Any]) -> asyncio.Future[dict[str, Any]]:
        name = f"ccproxy_{len(self._replies)}"
        reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._replies[name] = reply
        await self.write(json.dumps({"type": "control_request", "request_id": name, "request": request}) + "\n")
        return reply

    def _is_own_reply(self, message: dict[str, Any]) -> bool:
        if not self._replies or message.get("type") != "control_response":
            return False
        response = message.get("response") or {}
        reply = self._replies.get(response.get("request_id", ""))
        if reply is None:
            return False
        if not reply.done():
            reply.set_result(response)
        return True

    async def _read_lines(self) -> AsyncIterator[dict[str, Any]]:
        stdout = self._running().stdout
        begun: list[bytes] = []
        size = 0
        while chunk := await stdout.read(65536):
            head, newline, rest = chunk.partition(b"\n")
            begun.append(head)
            size += len(head)
            if size > MAX_LINE:
                raise UpstreamBroken(f"Claude Code wrote a line of more than {MAX_LINE >> 20} MiB")
            if not newline:
                continue
            first = b"".join(begun)
            *lines, last = rest.split(b"\n")
            begun, size = [last], len(last)
            for line in (first, *lines):
                # Some builds write messages for people between the JSON.
                if line.startswith(b"{"):
                    yield json.loads(line)

    async def _read_errors(self, stderr: asyncio.StreamReader) -> None:
        while line := await self._error_line(stderr):
            text = _SECRET.sub("[redacted]", line.decode("utf-8", "replace").rstrip()[:500])
            if text:
                self.last_words.append(text)
                logger.debug("claude %s: %s", self.pid, text)

    @staticmethod
    async def _error_line(stderr: asyncio.StreamReader) -> bytes:
        try:
            return await stderr.readline()
        except ValueError:  # longer than the reader's limit, which has dropped it
            return b"[a very long line]\n"

    async def _end(self) -> None:
        if self._started is None:
            await asyncio.to_thread(sweep, None, self.launch.config_dir, self.launch.folder)
            return
        process = self._started.process
        for reply in self._replies.values():
            reply.cancel()
        below = await asyncio.to_thread(descendants, process.pid) if self.launch.has_children else []
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _GRACE)
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await asyncio.to_thread(kill_survivors, below)
        await self._close_pipes(self._started)
        await asyncio.to_thread(sweep, process.pid, self.launch.config_dir, self.launch.folder)

    async def _close_pipes(self, running: _Running) -> None:
        """Read to the ends of the pipes: asyncio closes a descriptor when its pipe has ended, and a pipe that is not read never does."""
        running.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                while await self._skip(running.stdout):
                    pass
                await running.process.wait()
                if self._errors is not None:
                    await self._errors
        if self._errors is not None:
            self._errors.cancel()

    @staticmethod
    async def _skip(stdout: asyncio.StreamReader) -> bytes:
        try:
            return await stdout.read(65536)
        except RuntimeError:  # the SDK's reader waits here and will see the end
            await asyncio.sleep(0.005)
            return b"" if stdout.at_eof() else b" "
