"""The number of Claude Code processes that may live and start at once.

Each takes about 200 MiB and, while it starts, a whole core. So their number is capped, requests that must wait are in a bounded queue, and no more start
at once than there are cores.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable

from ccproxy.errors import TooManyRequests

RETRY_AFTER = 5
"""Seconds that a client is asked to wait when the queue is full: about one short answer."""


class Pool:
    """Places for processes. A place is taken before a process starts and given back when it is gone."""

    def __init__(self, places: int, queue: int, reclaim: Callable[[], bool], *, cores: int | None = None) -> None:
        """`reclaim` ends one process that answers no request, if there is one, and returns whether there was; its place is given back later."""
        self.places = max(1, places)
        self._queue = queue
        self._reclaim = reclaim
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.taken = 0
        self.starting = asyncio.Semaphore(cores or os.cpu_count() or 1)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def take(self) -> None:
        """Take a place, first come first served.

        Raises:
            TooManyRequests: all places are taken by answers, and the queue is full.

        """
        if self.take_if_free():
            return
        # A place that is being given back is as good as free for a request that waits.
        if not self._reclaim() and len(self._waiting) >= self._queue:
            raise TooManyRequests(
                f"all {self.places} Claude Code processes are busy and {self._queue} requests wait "
                "(providers.claude_sdk.max_processes, providers.claude_sdk.queue)",
                headers={"retry-after": str(RETRY_AFTER)},
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back()  # the place came while the client left
            else:
                self._waiting.remove(turn)
            raise

    def take_if_free(self) -> bool:
        """Take a place if it is free and no request waits for it."""
        if self.taken >= self.places or self._waiting:
            return False
        self.taken += 1
        return True

    def give_back(self) -> None:
        """Give a place back: to the request that has waited longest, if there is one."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.taken -= 1
