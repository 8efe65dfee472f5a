from __future__ import annotations

import asyncio

import pytest

from ccproxy.errors import TooManyRequests
from ccproxy.providers.claude_sdk.pool import Pool


async def test_those_who_wait_are_served_in_order() -> None:
    pool = Pool(1, 2, lambda: False, cores=1)
    await pool.take()
    served: list[str] = []

    async def take(name: str) -> None:
        await pool.take()
        served.append(name)

    waiting = [asyncio.create_task(take(name)) for name in ("a", "b")]
    await asyncio.sleep(0)
    assert (pool.taken, pool.waiting, pool.take_if_free()) == (1, 2, False)
    with pytest.raises(TooManyRequests) as caught:
        await pool.take()
    assert caught.value.headers == {"retry-after": "5"}
    pool.give_back()
    pool.give_back()
    await asyncio.wait(waiting)
    assert served == ["a", "b"]
    pool.give_back()
    assert (pool.taken, pool.waiting, pool.take_if_free()) == (0, 0, True)


async def test_one_who_leaves_the_line_takes_no_place() -> None:
    pool = Pool(1, 2, lambda: False, cores=1)
    await pool.take()
    first, second = (asyncio.create_task(pool.take()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    pool.give_back()
    await second
    await asyncio.wait({first})
    assert (pool.taken, pool.waiting) == (1, 0)


async def test_one_who_leaves_as_the_place_comes_gives_it_on() -> None:
    pool = Pool(1, 2, lambda: False, cores=1)
    await pool.take()
    first, second = (asyncio.create_task(pool.take()) for _ in range(2))
    await asyncio.sleep(0)
    pool.give_back()  # it is the first one's now
    first.cancel()
    await second
    assert (pool.taken, pool.waiting) == (1, 0)


async def test_what_answers_nobody_makes_room_even_in_a_full_line() -> None:
    pool = Pool(1, 0, lambda: True, cores=1)
    await pool.take()
    taking = asyncio.create_task(pool.take())
    await asyncio.sleep(0)
    pool.give_back()
    await taking
    assert pool.taken == 1
