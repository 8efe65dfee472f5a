"""One answer on its way from the task that works on it to the one that reads it."""

from __future__ import annotations

import asyncio
import functools
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

from ccproxy.errors import ExchangeError, Unavailable

Event = dict[str, Any]

PING_AFTER = 10.0
"""Seconds of silence within an answer after which a ping is sent, so that nobody on the way takes it for dead."""
FIRST_PING_AFTER = 30.0
"""The same before its first event. A ping settles that the answer is a stream, so errors get this long to be errors."""

# The work must see the end of a message when it comes, not when a slow client gets there: only then can it keep Claude
# Code from going on by itself. So much of an answer waits here, about 8 MB; beyond it the client sets the pace.
_AHEAD = 8192


class Sink:
    """Where the work puts an answer."""

    def __init__(self) -> None:
        self.items: asyncio.Queue[Event | ExchangeError | None] = asyncio.Queue(_AHEAD)
        self.losses: Sequence[tuple[str, str]] = ()
        self.cost_usd: float | None = None
        self.begun = False
        """Whether an event has been put: from then on the answer cannot begin anew."""
        self.complete = False
        """Whether the answer has ended: what the work still does is not the client's business."""

    async def put(self, event: Event) -> None:
        self.begun = True
        await self.items.put(event)

    async def end(self) -> None:
        self.complete = True
        await self.items.put(None)

    async def fail(self, error: ExchangeError) -> None:
        self.complete = True
        await self.items.put(error)


class ClaudeStream(AsyncIterator[Event]):
    """The reader's end. The work runs as a task of its own, so that no reader ever cancels the SDK half-way.

    It begins with the first `__anext__`, and stops when the reader is cancelled, closes the stream, or lets go of it.
    """

    def __init__(
        self,
        work: Callable[[Sink], Coroutine[Any, Any, None]],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._work = work
        self._spawn = spawn
        self._sink = Sink()
        self._task: asyncio.Task[None] | None = None
        self._ping_after = FIRST_PING_AFTER
        self._over = False

    @property
    def losses(self) -> Sequence[tuple[str, str]]:
        """What Claude Code could not be told, as (JSON path, reason). Complete when the first event has come."""
        return self._sink.losses

    @property
    def cost_usd(self) -> float | None:
        """The list price as Claude Code reports it, in US dollars. Known after the last event, if ever."""
        return self._sink.cost_usd

    async def __anext__(self) -> Event:
        if self._over:
            raise StopAsyncIteration
        if self._task is None:
            self._task = self._spawn(self._work(self._sink))
            self._task.add_done_callback(functools.partial(_wake, self._sink))
            weakref.finalize(self, _stop, self._task, self._sink).atexit = False
        try:
            item = await self._next(self._task)
        except asyncio.CancelledError:
            self._over = True
            _stop(self._task, self._sink)
            raise
        if isinstance(item, dict):
            self._ping_after = PING_AFTER
            return item
        self._over = True
        if item is None:
            raise StopAsyncIteration
        raise item

    async def aclose(self) -> None:
        """Stop the work and wait until it has stopped, which takes 0.2 s at most."""
        self._over = True
        if self._task is not None and _stop(self._task, self._sink):
            await asyncio.wait({self._task})

    async def _next(self, task: asyncio.Task[None]) -> Event | ExchangeError | None:
        if not self._sink.items.empty():
            return self._sink.items.get_nowait()
        if task.done():
            return _stopped()
        try:
            async with asyncio.timeout(self._ping_after):
                return await self._sink.items.get()
        except TimeoutError:
            return {"type": "ping"}


def _wake(sink: Sink, _task: asyncio.Task[None]) -> None:
    """The work has ended. If it was stopped by others than its reader, the reader must not wait for more."""
    if not sink.complete and not sink.items.full():
        sink.items.put_nowait(_stopped())


def _stopped() -> ExchangeError:
    return Unavailable("ccproxy is stopping")


def _stop(task: asyncio.Task[None], sink: Sink) -> bool:
    """Stop the work, unless all that it does is to make the process ready for the session's next turn."""
    return not sink.complete and task.cancel()
