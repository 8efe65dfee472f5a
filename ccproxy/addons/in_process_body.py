"""A streamed body made in this process: pulled as fast as the client reads, stopped at once when it leaves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

from ccproxy.errors import ExchangeError, InternalError
from ccproxy.providers.local import Dropped

logger = logging.getLogger(__name__)

_AHEAD = 16
"""Chunks that may be ready before the client has taken them: bounds memory, and lets small ones go out together."""


class LocalBody:
    """Runs an async iterator of chunks in a task of its own, so that it can be cancelled while it yields nothing.

    `first()` waits for the first chunk and raises what the iterator raised before it. `failure(error)` gives the bytes that end a stream which
    failed later.
    """

    def __init__(self, chunks: AsyncIterator[bytes], failure: Callable[[ExchangeError], bytes]) -> None:
        self._chunks = chunks
        self._failure = failure
        self._queue: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue(_AHEAD)
        self._held: bytes | None = None
        self.dropped = False
        """The answer broke off: cut the connection."""
        self.error: ExchangeError | None = None
        self._task = asyncio.get_running_loop().create_task(self._pump(), name="answer made in this process")

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
            logger.exception("a provider inside this process failed")
            await self._queue.put(InternalError("ccproxy failed to make this answer; its log says more"))
        finally:
            with contextlib.suppress(AttributeError):  # an iterator that is no generator has nothing to close
                await self._chunks.aclose()  # type: ignore[attr-defined]  # AsyncIterator does not promise it

    async def first(self) -> None:
        """Wait until the answer begins.

        Raises:
            ExchangeError: it did not; nothing has been said yet.
            Dropped: it broke off before it began.

        """
        item = await self._queue.get()
        if isinstance(item, BaseException):
            raise item
        self._held = item if item is not None else b""

    async def next(self) -> bytes:
        """The next piece, as many chunks as are ready; empty at the end."""
        if self._held is not None:
            pieces, self._held = [self._held], None
            if not pieces[0]:
                return b""
        else:
            pieces = []
        while not pieces or not self._queue.empty():
            item = await self._queue.get()
            if isinstance(item, bytes):
                pieces.append(item)
                continue
            self._held = b""  # whatever comes next is the end
            if isinstance(item, ExchangeError):
                self.error = item
                pieces.append(self._failure(item))
            elif isinstance(item, BaseException):
                self.dropped = True
            break
        return b"".join(pieces)

    async def whole(self) -> AsyncIterator[bytes]:
        """All pieces."""
        while piece := await self.next():
            yield piece

    def cancel(self) -> None:
        """The client has left: stop all work."""
        self._task.cancel()
        if not self._queue.full():
            self._queue.put_nowait(None)  # wakes whoever waits for a piece
