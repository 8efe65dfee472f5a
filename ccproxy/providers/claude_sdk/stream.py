"""One answer on its way from the task that works on it to the one that reads it."""

from __future__ import annotations

import asyncio
import functools
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, Final

from ccproxy.errors import ExchangeError, Unavailable

Event = dict[str, Any]

PING_AFTER = 10.0
"""Seconds of silence within an answer after which a ping is sent, so that no party on the way takes it for dead."""
FIRST_PING_AFTER = 30.0
"""The same before its first event. A ping makes the answer a stream, so errors get this long to be errors."""

# The work must see the end of a message when it comes, not when a slow client gets there: only then can it keep Claude
# Code from starting another turn. So much of an answer waits here; beyond it the client sets the pace.
MOST_WAITING: Final = 8192
MOST_WAITING_BYTES: Final = 8 * 2**20


class Sink:
    """Where the work puts an answer: its events, then either `end` or `fail`."""

    def __init__(self) -> None:
        self._events: deque[tuple[Event, int]] = deque()
        self._bytes = 0
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._error: ExchangeError | None = None
        self.losses: Sequence[tuple[str, str]] = ()
        self.cost_usd: float | None = None
        self.begun = False
        """Whether an event has been put: from then on the answer cannot begin again."""
        self.complete = False
        """Whether the answer has ended: what the work still does is not the client's business."""

    async def put(self, event: Event) -> None:
        self.begun = True
        while len(self._events) >= MOST_WAITING or self._bytes >= MOST_WAITING_BYTES:
            self._room.clear()
            await self._room.wait()
        size = _size(event)
        self._events.append((event, size))
        self._bytes += size
        self._news.set()

    def end(self) -> None:
        self.complete = True
        self._news.set()

    def fail(self, error: ExchangeError) -> None:
        """End the answer with an error, unless it has ended."""
        if not self.complete:
            self._error = error
            self.end()

    def stop(self) -> None:
        """The work has ended. Without `end` or `fail`, the answer has not."""
        self.fail(Unavailable("ccproxy is stopping"))

    async def take(self) -> Event | None:
        """The next event; None at the end.

        Raises:
            ExchangeError: the answer failed.

        """
        while not self._events:
            if self.complete:
                if self._error is not None:
                    raise self._error
                return None
            self._news.clear()
            await self._news.wait()
        event, size = self._events.popleft()
        self._bytes -= size
        self._room.set()
        return event


class ClaudeStream(AsyncIterator[Event]):
    """The reader's end. The work runs as a task of its own, so that no reader ever cancels the SDK half-way.

    It begins with the first `__anext__`, and stops when the reader is cancelled, closes the stream, or drops it.
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
        """What Claude Code cannot carry of the request, as (JSON path, reason). Complete when the first event has come."""
        return self._sink.losses

    @property
    def cost_usd(self) -> float | None:
        """The list price as Claude Code reports it, in US dollars. Known after the last event, if at all."""
        return self._sink.cost_usd

    async def __anext__(self) -> Event:
        if self._over:
            raise StopAsyncIteration
        if self._task is None:
            self._task = self._spawn(self._work(self._sink))
            self._task.add_done_callback(functools.partial(_ended, self._sink))
            weakref.finalize(self, _stop, self._task, self._sink).atexit = False
        try:
            async with asyncio.timeout(self._ping_after):
                event = await self._sink.take()
        except TimeoutError:
            return {"type": "ping"}
        except ExchangeError:
            self._over = True
            raise
        except asyncio.CancelledError:
            self._over = True
            _stop(self._task, self._sink)
            raise
        if event is None:
            self._over = True
            raise StopAsyncIteration
        self._ping_after = PING_AFTER
        return event

    async def aclose(self) -> None:
        """Stop the work and wait until it has stopped, which takes 0.2 s at most."""
        self._over = True
        if self._task is not None and _stop(self._task, self._sink):
            await asyncio.wait({self._task})


def _size(event: Event) -> int:
    """Bytes, about: the long values are texts of a block or of what is added to it."""
    parts = (event.get("delta"), event.get("content_block"))
    return 200 + sum(
        len(text) for part in parts if isinstance(part, dict) for text in part.values() if isinstance(text, str)
    )


def _ended(sink: Sink, _task: asyncio.Task[None]) -> None:
    sink.stop()


def _stop(task: asyncio.Task[None], sink: Sink) -> bool:
    """Stop the work, unless all that it does is to make the process ready for the session's next turn."""
    return not sink.complete and task.cancel()
