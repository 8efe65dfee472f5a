"""A streamed body made in this process: pulled as fast as the client reads, stopped at once when it leaves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from ccproxy.errors import ExchangeError, InternalError
from ccproxy.providers.local import Dropped

logger = logging.getLogger(__name__)

_AHEAD = 16
"""Chunks that may be ready before the client has taken them: bounds memory, and lets small ones go out together."""


class InProcessBody:
    """Runs an async iterator of chunks in a task of its own, so that it can be cancelled while it yields nothing.

    `first()` waits for the first chunk and raises what the iterator raised before it. `failure(error)` gives the bytes that end a stream which
    failed later. A body that is cancelled before its end counts as dropped: it must never look whole.
    """

    def __init__(self, chunks: AsyncIterator[bytes], failure: Callable[[ExchangeError], bytes]) -> None:
        self._chunks = chunks
        self._failure = failure
        self._queue: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue(_AHEAD)
        self._first: bytes | None = None
        self._ended = False
        self._cancelled = False
        self.chunk = b""
        """The piece that was pulled last; empty at the end."""
        self.dropped = False
        """The response breaks off here: cut the connection."""
        self.error: ExchangeError | None = None
        self._task = asyncio.get_running_loop().create_task(self._pump(), name="response made in this process")

    async def _pump(self) -> None:
        try:
            async for chunk in self._chunks:
                if chunk:
                    await self._queue.put(chunk)
            await self._queue.put(None)
        except asyncio.CancelledError:
            raise
        except (ExchangeError, Dropped) as error:
            await self._queue.put(error)
        except Exception:
            logger.exception("a provider in this process failed")
            await self._queue.put(InternalError("ccproxy failed to make this response. See ccproxy's log for details"))
        finally:
            with contextlib.suppress(AttributeError):  # only generators have something to close
                await self._chunks.aclose()  # type: ignore[attr-defined]  # AsyncIterator does not promise it

    async def first(self) -> None:
        """Wait until the response begins.

        Raises:
            ExchangeError: it did not; nothing has been sent yet.
            Dropped: it broke off before it began.

        """
        item = await self._queue.get()
        if isinstance(item, BaseException):
            raise item
        self._first = item if item is not None else b""

    async def pull(self, ready: Awaitable[None] | None = None) -> bytes:
        """The next piece, as many chunks as are ready, once `ready`; empty at the end. Also in `chunk`."""
        self.chunk = b""
        try:
            if ready is not None:
                await ready
            self.chunk = await self._next()
        except Exception:
            logger.exception("A response made in this process failed")
            self._ended = self.dropped = True
            self._task.cancel()
        return self.chunk

    async def _next(self) -> bytes:
        pieces: list[bytes] = []
        if self._first is not None:
            pieces.append(self._first)
            self._ended = not self._first
            self._first = None
        while not self._ended and (not pieces or not self._queue.empty()):
            if self._cancelled and self._queue.empty():
                self._ended = self.dropped = True
                break
            item = await self._queue.get()
            if isinstance(item, bytes):
                pieces.append(item)
                continue
            self._ended = True
            if isinstance(item, ExchangeError):
                self.error = item
                pieces.append(self._failure(item))
            elif isinstance(item, BaseException):
                self.dropped = True
        return b"".join(pieces)

    async def whole(self) -> AsyncIterator[bytes]:
        """All pieces."""
        while piece := await self.pull():
            yield piece

    def cancel(self) -> None:
        """The client has left, or the proxy stops: stop all work."""
        if self._ended or self._cancelled:
            return
        self._cancelled = True
        self._task.cancel()
        if not self._queue.full():
            self._queue.put_nowait(Dropped())  # wakes a reader that waits for a piece
