"""How the time of some work grows with its size."""

from __future__ import annotations

import time
from collections.abc import Callable

_STEPS = 4
_GROWTH = 9.0
"""Four times the size may take nine times as long: on a busy machine linear work has been seen at six, while quadratic work takes sixteen times."""
_NOISE = 0.02


def assert_linear(prepare: Callable[[int], Callable[[], object]], size: int) -> None:
    """Fail when the work that `prepare(n)` returns grows with the square of n. CPU time, the best of several runs; `size` should take a few ms."""
    seen: list[tuple[float, float]] = []
    for _ in range(5):
        small, large = (_best(prepare, n) for n in (size, _STEPS * size))
        if large <= _GROWTH * small + _NOISE:
            return
        seen.append((small, large))
    raise AssertionError(f"the work grows faster than its size: {seen}")


def _best(prepare: Callable[[int], Callable[[], object]], n: int) -> float:
    best = float("inf")
    for _ in range(2):
        work = prepare(n)
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best
