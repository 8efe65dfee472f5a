"""The watch over the event loop."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from ccproxy.server.loop_watch import BLOCKED, LoopWatch


async def test_a_blocked_loop_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "ccproxy.server.loop_watch")
    watch = LoopWatch()
    watch.running()
    await asyncio.sleep(0)  # its first wait begins
    time.sleep(BLOCKED * 1.5)  # noqa: ASYNC251 - this is what the test is about
    for _ in range(100_000):
        if caplog.messages:
            break
        await asyncio.sleep(0)
    watch.done()
    assert "The event loop was blocked for" in caplog.text
    assert watch.worst >= BLOCKED


async def test_nothing_runs_where_no_debug_line_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ccproxy.server.loop_watch")
    before = len(asyncio.all_tasks())
    watch = LoopWatch()
    watch.running()
    assert len(asyncio.all_tasks()) == before
    watch.done()
