"""All Claude Code processes of this proxy: started, configured, held as spares, ended."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import logging
import shutil
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccproxy.errors import ExchangeError, InternalError, Unavailable
from ccproxy.permissions.broker import PermissionBroker
from ccproxy.permissions.paths import CallContext
from ccproxy.providers.claude_sdk.config import ClaudeSdkConfig
from ccproxy.providers.claude_sdk.folders import Folders
from ccproxy.providers.claude_sdk.launch import INSTALL_COMMAND, Launch, Program, build_launch, find_program
from ccproxy.providers.claude_sdk.pool import Pool
from ccproxy.providers.claude_sdk.request import Plan

if TYPE_CHECKING:
    from ccproxy.providers.claude_sdk.connection import Connection
    from ccproxy.providers.claude_sdk.transport import CliTransport

logger = logging.getLogger(__name__)

_PACKAGE = "ccproxy.providers.claude_sdk"
_BOOTED_WITHIN = 60.0
"""Seconds within which a spare must have started: until then it keeps others from starting."""


class Processes:
    """Provides connections to processes, within the cap. The caller passes each one to `close`, whatever happens."""

    def __init__(
        self,
        config: ClaudeSdkConfig,
        broker: PermissionBroker,
        environment: Mapping[str, str],
        private: Path | None,
        take_idle: Callable[[], Connection | None],
    ) -> None:
        """`take_idle` releases a process that only waits for its conversation to continue, for one that is needed now."""
        self._config = config
        self._broker = broker
        self._environment = environment
        self._private = private
        self._take_idle = take_idle
        self._program: Program | None = None
        self._folders: Folders | None = None
        self._preparing = asyncio.Lock()
        self._pool = Pool(config.max_processes, config.queue, self._reclaim)
        self._spares: deque[tuple[float, CliTransport]] = deque()
        self._spares_coming = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.closed = False
        self.info: dict[str, Any] = {}
        """The description of itself that the latest process sent: version, models, account."""

    @property
    def is_short(self) -> bool:
        """Whether a request waits for a place."""
        return self._pool.waiting > 0

    def status(self) -> dict[str, Any]:
        return {
            "claude_code": self._program.path if self._program else None,
            "version": self.info.get("claude_code_version"),
            "login": _login(self.info.get("account")),
            "processes": {
                "live": self._pool.taken,
                "max": self._pool.places,
                "spare": len(self._spares),
                "waiting": self._pool.waiting,
            },
        }

    async def connect(self, plan: Plan | None, label: str | None, *, one_answer: bool) -> Connection:
        """A process for `plan` without any conversation yet; without a plan, one to ask about Claude Code itself. `label` names the conversation to people.

        Raises:
            ExchangeError: it cannot be started, or all places are taken.

        """
        await self._prepare()
        connection = None
        if plan is not None and one_answer and self._spares:
            connection = await self._from_spare(plan)
        if connection is None:
            await self._pool.take()
            connection = await self._open(plan, label, one_answer=one_answer)
        self._refill()
        return connection

    async def close(self, connection: Connection) -> None:
        """End the process and give its place back. Runs to its end even if the caller is cancelled."""
        await asyncio.shield(self.begin_close(connection))

    def begin_close(self, connection: Connection) -> asyncio.Task[None]:
        """Start to do the same, without waiting for its end."""
        return self.spawn(self._close(connection), name="claude close")

    def spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """A task that this object keeps alive and, at the end, waits for."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def drop_old_spares(self, older_than: float) -> None:
        """End the spares that were started before that time (`time.monotonic`): there are no requests any more."""
        while self._spares and self._spares[0][0] <= older_than:
            self._end_spare()

    def next_expiry(self, oldest: float) -> float | None:
        """Seconds until the oldest spare will have been started before `oldest`, which moves with the clock."""
        return max(0.0, self._spares[0][0] - oldest) if self._spares else None

    async def aclose(self) -> None:
        """End everything. Tasks that close a process are waited for, others are cancelled."""
        self.closed = True
        while self._spares:
            self._end_spare()
        for task in self._tasks:
            if not task.get_name().startswith("claude close"):
                task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._folders is not None:
            folders, self._folders = self._folders, None
            await asyncio.to_thread(folders.remove)

    # --- starting ---

    async def _prepare(self) -> None:
        """Before the first process: import the SDK, which takes half a second, find the program, make the folders."""
        if self.closed:
            raise Unavailable("ccproxy is stopping")
        async with self._preparing:
            if self._folders is not None:
                return
            try:
                await asyncio.to_thread(_import_all)
            except ModuleNotFoundError as error:
                raise Unavailable(
                    f"/claude is not available because the Claude SDK is not installed ({error.name} is missing). "
                    f"Install it with: {INSTALL_COMMAND}"
                ) from error
            import claude_agent_sdk

            bundle = Path(claude_agent_sdk.__file__).parent / "_bundled"
            self._program = await asyncio.to_thread(find_program, self._config.cli_path, bundle)
            self._folders = await asyncio.to_thread(Folders, self._config.mode, self._config.cwd, self._private)

    async def _new_transport(self, plan: Plan | None, *, one_answer: bool) -> CliTransport:
        from ccproxy.providers.claude_sdk.transport import CliTransport

        program, folders = self._program, self._folders
        if program is None or folders is None:
            raise InternalError("Claude Code was not prepared")
        build = functools.partial(
            build_launch,
            self._config,
            program,
            plan,
            one_answer=one_answer,
            cwd=folders.cwd,
            folder=folders.next(),
            parent_env=self._environment,
        )
        building = asyncio.get_running_loop().run_in_executor(None, build)
        try:
            return CliTransport(await asyncio.shield(building))
        except asyncio.CancelledError:
            # The thread goes on: remove what it makes once it has made it.
            _removing = self.spawn(_remove(building), name="claude close launch")
            raise

    def _connection(self, transport: CliTransport, plan: Plan | None, label: str | None) -> Connection:
        from ccproxy.providers.claude_sdk.connection import Connection
        from ccproxy.providers.claude_sdk.tool_permissions import ToolPermissions

        if self._config.mode == "plain" or plan is None:
            return Connection(transport)
        launch = transport.launch
        permissions = ToolPermissions(
            self._broker,
            {tool["name"] for tool in plan.client_tools},
            label,
            CallContext(str(launch.cwd), launch.env.get("HOME")),
        )
        return Connection(transport, can_use_tool=permissions.can_use_tool, before_tool=permissions.before_tool)

    async def _open(
        self, plan: Plan | None, label: str | None = None, *, one_answer: bool = True, spare: CliTransport | None = None
    ) -> Connection:
        """Open a new connection, or one to a `spare`, in a place that is taken already; if that fails, the place is given back."""
        connection = None
        try:
            # A spare has started before.
            async with contextlib.nullcontext() if spare else self._pool.starting:
                transport = spare or await self._new_transport(plan, one_answer=one_answer)
                connection = self._connection(transport, plan, label)
                await connection.open(plan, late=spare is not None)
        except BaseException as error:
            if connection is None:
                self._pool.give_back()
            else:
                await self.close(connection)
            if isinstance(error, ExchangeError) or not isinstance(error, Exception):
                raise
            from ccproxy.providers.claude_sdk.failures import process_error

            last_words = connection.last_words if connection is not None else ()
            logger.warning("Claude Code did not start: %s. Its last words: %s", error, list(last_words))
            raise process_error(error, last_words) from error
        self.info = connection.info
        return connection

    async def _close(self, connection: Connection) -> None:
        try:
            await connection.close()
        finally:
            self._pool.give_back()

    # --- spares ---

    async def _from_spare(self, plan: Plan) -> Connection | None:
        _, transport = self._spares.popleft()
        transport.system_prompt = plan.system
        try:
            return await self._open(plan, spare=transport)
        except ExchangeError as error:
            logger.info("A spare Claude Code process could not be used: %s", error)
            return None

    def _refill(self) -> None:
        """Start spares in free places. Only the program of the wheel can be one: it is known which messages it understands late."""
        if self._config.mode != "plain" or self._program is None or not self._program.bundled:
            return
        while (
            len(self._spares) + self._spares_coming < self._config.prewarm
            and not self.closed
            and self._pool.take_if_free()
        ):
            self._spares_coming += 1
            _coming = self.spawn(self._add_spare(), name="claude spare")

    async def _add_spare(self) -> None:
        transport = None
        try:
            async with self._pool.starting:
                transport = await self._new_transport(None, one_answer=True)
                async with asyncio.timeout(_BOOTED_WITHIN):
                    await transport.connect()
                    await transport.wait_until_booted()
        except BaseException as error:
            if transport is not None:
                await asyncio.shield(self.spawn(transport.end(), name="claude close spare"))
            self._pool.give_back()
            if not isinstance(error, Exception):
                raise
            logger.warning("A spare Claude Code process could not be started: %s", error)
        else:
            self._spares.append((time.monotonic(), transport))
        finally:
            self._spares_coming -= 1

    def _end_spare(self) -> None:
        _, transport = self._spares.popleft()

        async def end() -> None:
            try:
                await transport.end()
            finally:
                self._pool.give_back()

        _ending = self.spawn(end(), name="claude close spare")

    def _reclaim(self) -> bool:
        if self._spares:
            self._end_spare()
            return True
        connection = self._take_idle()
        if connection is None:
            return False
        _closing = self.begin_close(connection)
        return True


def _import_all() -> None:
    """Import what needs the SDK. It takes half a second, too long for the event loop."""
    for module in ("answer_events", "connection", "failures", "tool_permissions", "transport"):
        importlib.import_module(f"{_PACKAGE}.{module}")


async def _remove(building: asyncio.Future[Launch]) -> None:
    with contextlib.suppress(Exception):  # it failed, and has removed its folder itself
        launch = await building
        await asyncio.to_thread(shutil.rmtree, launch.folder, ignore_errors=True)


def _login(account: object) -> str | None:
    """The source of Claude Code's credential ("ANTHROPIC_API_KEY", "claude.ai", …, "none"), not its owner."""
    if not isinstance(account, dict):
        return None
    source = account.get("apiKeySource") or account.get("tokenSource")
    return source if isinstance(source, str) else None
