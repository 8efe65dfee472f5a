"""How the time of a function grows with the size of its input."""

from __future__ import annotations

import time
from collections.abc import Callable

SMALL = 4 * 1024
LARGE = 64 * 1024
"""Sixteen times as much: linear work takes 16 times as long, quadratic work 256 times."""
ALLOWED = 90
FLOOR = 0.002
"""Seconds: below this a measurement says nothing."""


def assert_linear(work: Callable[[int], object], small: int = SMALL) -> None:
    """Assert that `work(size)` is linear in `size`, by this thread's own processor time: a busy machine does not change it much."""
    short, long = _fastest(work, small), _fastest(work, small * (LARGE // SMALL))
    assert long <= max(short, FLOOR) * ALLOWED, f"{short:.6f} s became {long:.6f} s"


def _fastest(work: Callable[[int], object], size: int) -> float:
    times = []
    for _ in range(3):
        start = time.thread_time()
        work(size)
        times.append(time.thread_time() - start)
    return min(times)


def assert_linear_work(prepare: Callable[[int], Callable[[], object]], size: int) -> None:
    """The same for work that needs preparing: `prepare(size)` returns it. `size` should make it take a few milliseconds.

    Four times the size may take nine times as long: linear work has been seen at six on a busy machine, quadratic work takes sixteen times.
    """
    times: list[tuple[float, float]] = []
    for _ in range(5):
        short, long = (min(_once(prepare(n)) for _ in range(2)) for n in (size, 4 * size))
        if long <= 9 * short + 0.02:
            return
        times.append((short, long))
    raise AssertionError(f"the work grows faster than its size: {times}")


def _once(work: Callable[[], object]) -> float:
    start = time.thread_time()
    work()
    return time.thread_time() - start
