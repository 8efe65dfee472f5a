from __future__ import annotations

import pytest

from ccproxy.errors import TooManyRequests
from ccproxy.permissions.changes import MOST_READERS, MOST_WAITING_BYTES, Change, ChangeFeed


def first() -> Change:
    return {"type": "listing"}


async def test_a_reader_that_is_many_bytes_behind_is_dropped() -> None:
    feed = ChangeFeed()
    slow, quick = feed.read(first), feed.read(first)
    assert await anext(slow) == await anext(quick) == first()
    for number in range(5):
        feed.publish({"number": number}, MOST_WAITING_BYTES // 3)
        assert await anext(quick) == {"number": number}
    assert [change["number"] async for change in slow] == [0, 1, 2]
    feed.close()
    assert [change async for change in quick] == []
    assert not feed.is_read


async def test_only_so_many_readers() -> None:
    feed = ChangeFeed()
    readers = [feed.read(first) for _ in range(MOST_READERS)]
    for reader in readers:
        await anext(reader)
    with pytest.raises(TooManyRequests):
        await anext(feed.read(first))
    await readers.pop().aclose()  # type: ignore[attr-defined]  # it is a generator
    assert await anext(feed.read(first)) == first()


async def test_a_reader_that_comes_after_the_end() -> None:
    feed = ChangeFeed()
    feed.close()
    assert [change async for change in feed.read(first)] == [first()]
