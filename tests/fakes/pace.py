"""Time as a test's event loop had it: what is late only because the machine is busy is not late.

A tick of the loop's own timer takes `TICK` seconds on an idle machine. On a busy one it comes later and still counts once, so that a limit in ticks
holds on both; a wait in the program itself, such as a time-out that should not be there, takes as many ticks on each.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

TICK = 0.01


class Pace:
    """A stopwatch in ticks, running from its creation until `stop`."""

    def __init__(self, each: Callable[[], None] = lambda: None) -> None:
        self.ticks = 0
        self._each = each
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(TICK, self._tick)

    @property
    def seconds(self) -> float:
        return self.ticks * TICK

    def stop(self) -> float:
        """End the count; the seconds that it came to."""
        self._timer.cancel()
        return self.seconds

    def _tick(self) -> None:
        self.ticks += 1
        self._timer = self._loop.call_later(TICK, self._tick)
        self._each()


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[Pace]:
    """`asyncio.timeout`, in ticks."""

    def check() -> None:
        if pace.seconds >= seconds:
            pace.stop()
            limit.reschedule(0)

    async with asyncio.timeout(None) as limit:
        pace = Pace(check)
        try:
            yield pace
        finally:
            pace.stop()
