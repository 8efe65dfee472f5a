"""`ccproxy serve --reload`: wait for changed files, check them, and start again in place.

A changed file restarts the proxy only if it can be used. Until then the running proxy keeps its configuration. The restart replaces the process
(`exec`) and keeps its id, so that a terminal or a supervisor notices nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

import ccproxy
from ccproxy.errors import CcproxyError, StartError
from ccproxy.settings import Loaded, Settings
from ccproxy.settings.folders import config_dir

logger = logging.getLogger("ccproxy.reload")

_INTERVAL = 0.5
"""Seconds between two looks at the files."""
_RELOADED = "CCPROXY_RELOADED"
"""The environment variable by which a process knows that a restart, not a user, has started it."""


def is_restart() -> bool:
    """Return whether `restart` started this process. Programs that it starts in turn do not inherit the answer."""
    return os.environ.pop(_RELOADED, "") != ""


def restart() -> NoReturn:
    """Replace this process by one with the same arguments."""
    os.environ[_RELOADED] = "1"
    os.execv(sys.executable, [sys.executable, "-P", "-m", "ccproxy", *sys.argv[1:]])  # noqa: S606 - ccproxy itself


class Watch:
    """Notices changes of files since it was made, or since the change that it has reported last."""

    def __init__(self, config: Path | None) -> None:
        """Watch ccproxy's code and `config`, or all configuration files that ccproxy would use without that option."""
        names = (
            [Path("ccproxy.toml"), Path(".ccproxy.toml"), config_dir() / "config.toml"] if config is None else [config]
        )
        self._files = [*names, Path(".env")]
        self._stamps = self._look()

    async def change(self) -> list[Path]:
        """Return the files that have changed, as soon as one has."""
        before = self._stamps
        while (after := self._look()) == before:
            await asyncio.sleep(_INTERVAL)
        self._stamps = after
        return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))

    async def usable_change(self, load: Callable[[], Loaded], running: Settings | None) -> None:
        """Return when a file has changed and the proxy could start with the change. Log why it could not.

        `running` are the settings of the proxy that runs; None if none does.
        """
        while True:
            changed = await self.change()
            try:
                _check_syntax(changed)
                _check_addresses(load().settings, running)
            except CcproxyError as error:
                log_problem(error, is_running=running is not None)
            else:
                logger.info("Restarting because %s changed", ", ".join(str(path) for path in changed))
                return

    def _look(self) -> dict[Path, int]:
        """Return modification times in nanoseconds. A missing file has none, so its creation is a change."""
        code = Path(ccproxy.__file__).parent.rglob("*.py")
        stamps = {}
        for path in (*self._files, *code):
            try:
                stamps[path] = path.stat().st_mtime_ns
            except OSError:
                continue
        return stamps


def log_problem(error: CcproxyError, *, is_running: bool) -> None:
    """Log why a changed file is not used, without a traceback, which would not help to fix it."""
    state = "Still running with the previous configuration" if is_running else "Waiting for the next change"
    logger.error("%s because of an error: %s", state, error)


def _check_syntax(changed: Iterable[Path]) -> None:
    """Raise `StartError` if ccproxy's own code has changed and does not compile."""
    for path in changed:
        if path.suffix == ".py" and path.is_file():
            try:
                compile(path.read_bytes(), path, "exec")
            except (SyntaxError, ValueError) as error:
                raise StartError(f"{path}: {error}") from error


def _check_addresses(settings: Settings, running: Settings | None) -> None:
    """Raise `StartError` if the proxy is to move to an address that it cannot have."""
    from ccproxy.server.listening import addresses

    server, own_ports = settings.server, {running.server.port, running.server.web_port} if running else set()
    addresses(server.host, 0 if server.port in own_ports else server.port)
    if server.web and server.web_port not in own_ports:
        addresses("127.0.0.1", server.web_port)
