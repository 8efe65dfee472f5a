"""The feed of what happens to permission requests, for those who watch it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from ccproxy.errors import TooManyRequests

Change = dict[str, Any]

MOST_READERS: Final = 32
MOST_WAITING: Final = 1000
"""Changes that one reader may be behind before it is dropped."""
MOST_WAITING_BYTES: Final = 8 * 2**20
"""The same in bytes of JSON."""


class _Reader:
    """The changes that one reader has not taken yet."""

    def __init__(self) -> None:
        self._changes: deque[tuple[Change, int]] = deque()
        self._bytes = 0
        self._news = asyncio.Event()
        self.ended = False

    def put(self, change: Change, size: int) -> bool:
        """Return whether the reader keeps up."""
        if len(self._changes) >= MOST_WAITING or self._bytes + size > MOST_WAITING_BYTES:
            return False
        self._changes.append((change, size))
        self._bytes += size
        self._news.set()
        return True

    def end(self) -> None:
        self.ended = True
        self._news.set()

    async def take(self) -> Change | None:
        """The next change; None when there are no more."""
        while not self._changes:
            if self.ended:
                return None
            self._news.clear()
            await self._news.wait()
        change, size = self._changes.popleft()
        self._bytes -= size
        return change


class ChangeFeed:
    """Sends each change to all readers. Lives on one event loop."""

    def __init__(self) -> None:
        self._readers: set[_Reader] = set()
        self._closed = False

    @property
    def is_read(self) -> bool:
        return bool(self._readers)

    def publish(self, change: Change, size: int) -> None:
        """Send a change of about `size` bytes. A reader that is too far behind is dropped: its stream ends after what it has."""
        for reader in [reader for reader in self._readers if not reader.put(change, size)]:
            self._readers.discard(reader)
            reader.end()

    async def read(self, first: Callable[[], Change]) -> AsyncIterator[Change]:
        """`first()`, then all changes from then on, until the feed is closed or the reader is dropped.

        Raises:
            TooManyRequests: there are too many readers.

        """
        if len(self._readers) >= MOST_READERS:
            raise TooManyRequests(f"{MOST_READERS} clients read /permissions/stream already: end one of them")
        reader = _Reader()
        if self._closed:
            reader.end()
        else:
            self._readers.add(reader)
        try:
            yield first()
            while (change := await reader.take()) is not None:
                yield change
        finally:
            self._readers.discard(reader)

    def close(self) -> None:
        """End all streams, also those that begin later."""
        self._closed = True
        for reader in self._readers:
            reader.end()
        self._readers.clear()
