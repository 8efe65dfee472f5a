"""A failed start ends the program."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ccproxy.addons.transport.mitmproxy_internals import MitmLogHandler
from ccproxy.errors import StartError

if TYPE_CHECKING:
    pass


logger = logging.getLogger(__name__)


class StartCheck:
    """Makes a failed start end the program: a trimmed Master would log the failure and run on without a listener."""

    name = "errorcheck"  # mitmproxy's Master asks the addon of this name

    def __init__(self, started: asyncio.Event, on_start: Callable[[], None]) -> None:
        self._started = started
        self._on_start = on_start
        self._errors = _Errors()
        self._errors.install()

    async def shutdown_if_errored(self) -> None:
        """Raises StartError if anything has been logged as an error since the start."""
        await asyncio.sleep(0)  # log records of other tasks
        if self._errors.records:
            raise StartError("; ".join(dict.fromkeys(record.getMessage() for record in self._errors.records)))

    def finish(self) -> None:
        """The start is over, and well."""
        self._errors.uninstall()
        self._on_start()
        self._started.set()

    def close(self) -> None:
        self._errors.uninstall()


class _Errors(MitmLogHandler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)  # type: ignore[no-untyped-call]
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
