"""Python's garbage collector while ccproxy starts. Only `ccproxy serve` uses this: a stock mitmproxy's collector is left alone."""

from __future__ import annotations

import gc

_paused = False


def pause() -> None:
    """Let the collector rest until `resume`: nothing that a start makes is garbage."""
    global _paused  # noqa: PLW0603 - the collector is the process's, and so is this
    _paused = True
    gc.disable()


def resume() -> None:
    """Let the collector run again, but never over what has been loaded: half a million objects, 70 ms each time."""
    if _paused:
        gc.freeze()
        gc.enable()
