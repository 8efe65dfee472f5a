"""Reports what blocks the event loop: while it is blocked, every client waits."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

logger = logging.getLogger(__name__)

BLOCKED: Final = 0.2
"""Seconds from which a blocked loop is worth a line in the log."""
_INTERVAL: Final = 0.05


class LoopWatch:
    """An addon that measures how late the loop's own timer is. It runs only where the log shows debug lines, because it wakes the process up all the time."""

    name = "ccproxy_loop_watch"

    def __init__(self) -> None:
        self.worst = 0.0
        """The longest block so far, in seconds."""
        self._task: asyncio.Task[None] | None = None

    def running(self) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            self._task = asyncio.get_running_loop().create_task(self._watch(), name="watching the event loop")

    def done(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _INTERVAL
            await asyncio.sleep(_INTERVAL)
            late = loop.time() - due
            self.worst = max(self.worst, late)
            if late >= BLOCKED:
                logger.debug("The event loop was blocked for %.0f ms", late * 1000)
