"""A provider inside the process whose every event is a test's to decide."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from ccproxy.providers.local import LocalRequest

START: dict[str, Any] = {
    "type": "message_start",
    "message": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None, "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    },
}  # fmt: skip
END: dict[str, Any] = {"type": "message_stop"}


class Scripted:
    """Yields `events`; with `gate` each only when that is set. Notes when its iterator is closed."""

    def __init__(
        self, events: list[dict[str, Any]] | None = None, *, hang: bool = False, endless: bool = False
    ) -> None:
        self.events = events if events is not None else [START, END]
        self.hang = hang
        self.endless = endless
        self.pulled = 0
        self.asked: list[LocalRequest] = []
        self.began = asyncio.Event()
        self.closed = asyncio.Event()
        self.stopped = False

    async def stream(self, request: LocalRequest) -> AsyncIterator[dict[str, Any]]:
        self.asked.append(request)
        self.began.set()
        try:
            while True:
                for event in self.events:
                    self.pulled += 1
                    yield event
                if not self.endless:
                    break
            if self.hang:
                await asyncio.Event().wait()
        finally:
            self.closed.set()

    async def count_tokens(self, request: LocalRequest) -> dict[str, Any]:
        return {"input_tokens": 1}

    async def models(self) -> list[dict[str, Any]]:
        return []

    def status(self) -> dict[str, Any]:
        return {}

    async def aclose(self) -> None:
        self.stopped = True
