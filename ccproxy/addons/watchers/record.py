"""`--record FILE`: whole exchanges in a file that mitmproxy reads (`.flow`) or other tools do (`.har`), redacted."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mitmproxy import http

from ccproxy.addons.transport.mitmproxy_internals import FlowWriter
from ccproxy.errors import StartError
from ccproxy.settings.folders import private

logger = logging.getLogger(__name__)


class Recorder:
    """Writes flows off the event loop, in the order in which exchanges end. The file is its owner's alone.

    A HAR file is one JSON document: its exchanges are kept in memory and written when the proxy ends.
    """

    name = "ccproxy_record"

    def __init__(self, path: Path) -> None:
        """Raises `StartError` if the file cannot be made."""
        self.path = path.expanduser()
        self._har = self.path.suffix == ".har"
        self._flows: list[http.HTTPFlow] = []
        try:
            private(self.path.parent)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            if hasattr(os, "fchmod"):
                os.fchmod(descriptor, 0o600)  # it may have been there before
            self._file = os.fdopen(descriptor, "wb")
        except OSError as error:
            raise StartError(f"--record: {self.path} cannot be written: {error.strerror or error}") from error
        self._writer = FlowWriter(self._file)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ccproxy-record")
        self._failed = False

    def show(self, flows: Sequence[http.HTTPFlow]) -> None:
        if self._har:
            self._flows += flows
        else:
            self._thread.submit(self._write, list(flows))

    async def done(self) -> None:
        await asyncio.to_thread(self._close)

    def _write(self, flows: list[http.HTTPFlow]) -> None:
        try:
            for flow in flows:
                self._writer.add(flow)
            self._file.flush()
        except (OSError, ValueError, TypeError) as error:
            if not self._failed:
                logger.warning("--record: %s cannot be written: %s", self.path, error)
            self._failed = True

    def _close(self) -> None:
        self._thread.shutdown(wait=True)
        try:
            if self._har:
                from mitmproxy.addons.savehar import SaveHar

                made: Any = SaveHar()
                har = made.make_har(self._flows)
                for entry, flow in zip(har["log"]["entries"], self._flows, strict=True):
                    entry["comment"] = flow.comment
                    entry["_ccproxy"] = {"flow": flow.id, **flow.metadata.get("ccproxy", {})}
                self._file.write(json.dumps(har, indent=1).encode())
            self._file.close()
        except OSError as error:
            logger.warning("--record: %s cannot be written: %s", self.path, error)
