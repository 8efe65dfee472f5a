"""`--record FILE`: whole exchanges in a file that mitmproxy reads (`.flow`) or other tools do (`.har`), redacted."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, Final

from mitmproxy import http, version

from ccproxy.addons.transport.mitmproxy_internals import FlowWriter, SaveHar
from ccproxy.errors import StartError
from ccproxy.settings.folders import private

logger = logging.getLogger(__name__)

MAX_WAITING: Final = 64 << 20
"""Bytes of bodies that may wait to be written; exchanges beyond that are left out."""
_HAR_HEAD: Final = {"version": "1.2", "creator": {"name": "mitmproxy", "version": version.VERSION, "comment": ""}}
_HAR_TAIL: Final = b"\n]}}\n"


class Recorder:
    """Writes flows off the event loop, in the order in which exchanges end. The file is its owner's alone.

    It can be read at any time: after each exchange a HAR file is a complete JSON document.
    """

    name = "ccproxy_record"

    def __init__(self, path: Path, *, append: bool = False) -> None:
        """`append` continues a file that an earlier recorder has written.

        Raises:
            StartError: the file cannot be made.

        """
        self.path = path.expanduser()
        try:
            private(self.path.parent)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | (0 if append else os.O_TRUNC), 0o600)
            if hasattr(os, "fchmod"):
                os.fchmod(descriptor, 0o600)  # the file may have been there before
            self._file = os.fdopen(descriptor, "r+b")
            self._write = _HarFile(self._file).add if self.path.suffix == ".har" else _FlowFile(self._file).add
        except OSError as error:
            raise StartError(f"--record: {self.path} cannot be written: {error.strerror or error}") from error
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ccproxy-record")
        self._queued = 0  # bytes, counted by the event loop
        self._written = 0  # bytes, counted by the thread
        self._failed = False
        self.left_out = 0
        """Exchanges that ended faster than they could be written."""

    def show(self, flows: Sequence[http.HTTPFlow]) -> None:
        size = sum(len(message.raw_content or b"") for flow in flows for message in _messages(flow))
        if self._queued - self._written + size > MAX_WAITING and self._queued > self._written:
            self.left_out += 1
            if self.left_out == 1:
                logger.warning(
                    "--record: exchanges end faster than they can be written to %s; some are left out", self.path
                )
            return
        self._queued += size
        self._thread.submit(self._add, list(flows), size)

    def show_progress(self, flow: http.HTTPFlow) -> None:
        """Only exchanges that are over are recorded."""

    async def done(self) -> None:
        await asyncio.to_thread(self._close)

    def _add(self, flows: list[http.HTTPFlow], size: int) -> None:
        try:
            for flow in flows:
                self._write(flow)
        except Exception as error:  # noqa: BLE001 - a full disk, or a flow that a format cannot hold; traffic goes on
            if not self._failed:
                logger.warning("--record: %s cannot be written: %s", self.path, error)
            self._failed = True
        finally:
            self._written += size

    def _close(self) -> None:
        self._thread.shutdown(wait=True)
        try:
            self._file.close()
        except OSError as error:
            logger.warning("--record: %s cannot be written: %s", self.path, error)


class _FlowFile:
    """mitmproxy's own format: one flow after the other."""

    def __init__(self, file: BinaryIO) -> None:
        file.seek(0, os.SEEK_END)
        self._file = file
        self._writer = FlowWriter(file)

    def add(self, flow: http.HTTPFlow) -> None:
        self._writer.add(flow)
        self._file.flush()


class _HarFile:
    """A JSON document (http://www.softwareishard.com/blog/har-12-spec/): each entry overwrites the end of the document, and writes it again behind itself."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._exporter: Any = SaveHar()
        head = json.dumps({"log": {**_HAR_HEAD, "pages": [], "entries": []}}).encode()
        head = head[: head.rindex(b"[") + 1]
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        begins = file.read(len(head)) == head
        file.seek(max(0, size - len(_HAR_TAIL)))
        if begins and file.read() == _HAR_TAIL:  # a recording to continue
            self._end = size - len(_HAR_TAIL)
            self._empty = self._end == len(head)
            return
        file.truncate(0)
        self._end, self._empty = len(head), True
        self._put(0, head + _HAR_TAIL)

    def add(self, flow: http.HTTPFlow) -> None:
        entry = self._exporter.flow_entry(flow, set())
        entry["comment"] = flow.comment
        entry["_ccproxy"] = {"flow": flow.id, **flow.metadata.get("ccproxy", {})}
        data = (b"\n" if self._empty else b",\n") + json.dumps(entry).encode()
        self._put(self._end, data + _HAR_TAIL)
        self._end += len(data)
        self._empty = False

    def _put(self, position: int, data: bytes) -> None:
        """Write with one call of the system, if it can, so that the file is hardly ever seen in between."""
        try:
            self._file.seek(position)
            self._file.write(data)
            self._file.flush()
        except OSError:
            if position:  # a full disk: what was there before stays a document
                os.ftruncate(self._file.fileno(), self._end)
                os.pwrite(self._file.fileno(), _HAR_TAIL, self._end)
            raise


def _messages(flow: http.HTTPFlow) -> list[http.Message]:
    return [message for message in (flow.request, flow.response) if message is not None]
