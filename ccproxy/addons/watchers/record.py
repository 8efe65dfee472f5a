"""`--record FILE`: whole exchanges in a file that mitmproxy reads (`.flow`) or other tools do (`.har`), redacted."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

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

    It can be read at any time: after each exchange a HAR file is a complete JSON document
    (http://www.softwareishard.com/blog/har-12-spec/).
    """

    name = "ccproxy_record"

    def __init__(self, path: Path, *, append: bool = False) -> None:
        """`append` continues a file that an earlier recorder has written.

        Raises:
            StartError: the file cannot be made.

        """
        self.path = path.expanduser()
        self._encode: Callable[[http.HTTPFlow], bytes] = _as_flow
        head = tail = b""
        if self.path.suffix == ".har":
            self._encode = _as_har
            document = json.dumps({"log": {**_HAR_HEAD, "pages": [], "entries": []}}).encode()
            head, tail = document[: document.rindex(b"[") + 1], _HAR_TAIL
        try:
            private(self.path.parent)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | (0 if append else os.O_TRUNC), 0o600)
            if hasattr(os, "fchmod"):
                os.fchmod(descriptor, 0o600)  # the file may have been there before
            self._file = _Entries(descriptor, head, tail)
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
                self._file.add(self._encode(flow))
        except Exception as error:  # noqa: BLE001 - a full disk, or a flow that a format cannot hold; traffic goes on
            if not self._failed:
                logger.warning("--record: %s cannot be written: %s", self.path, error)
            self._failed = True
        finally:
            self._written += size

    def _close(self) -> None:
        self._thread.shutdown(wait=True)
        self._file.close()


class _Entries:
    """A file of entries between a head and a tail: each entry overwrites the tail, and writes it again behind itself."""

    def __init__(self, descriptor: int, head: bytes, tail: bytes) -> None:
        """Continue the file if it begins and ends like one of this kind."""
        self._descriptor = descriptor
        self._tail = tail
        size = os.lseek(descriptor, 0, os.SEEK_END)
        self._end = max(size - len(tail), 0)
        if self._read(0, len(head)) == head and self._read(self._end, len(tail)) == tail and self._end >= len(head):
            self._is_empty = self._end == len(head)
            return
        os.ftruncate(descriptor, 0)
        self._end, self._is_empty = len(head), True
        self._write(0, head + tail)

    def add(self, entry: bytes) -> None:
        """Add an entry with one call of the system, if it takes that, so that the file is hardly ever seen in between."""
        separator = (b"\n" if self._is_empty else b",\n") if self._tail else b""
        try:
            self._write(self._end, separator + entry + self._tail)
        except OSError:  # a full disk: without the part that was written the file stays valid
            os.ftruncate(self._descriptor, self._end)
            self._write(self._end, self._tail)
            raise
        self._end += len(separator) + len(entry)
        self._is_empty = False

    def close(self) -> None:
        os.close(self._descriptor)

    def _read(self, position: int, size: int) -> bytes:
        os.lseek(self._descriptor, position, os.SEEK_SET)
        return os.read(self._descriptor, size) if size else b""

    def _write(self, position: int, data: bytes) -> None:
        os.lseek(self._descriptor, position, os.SEEK_SET)
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]


def _as_flow(flow: http.HTTPFlow) -> bytes:
    buffer = io.BytesIO()
    FlowWriter(buffer).add(flow)
    return buffer.getvalue()


def _as_har(flow: http.HTTPFlow) -> bytes:
    exporter: Any = SaveHar()
    entry = exporter.flow_entry(flow, set())
    entry["comment"] = flow.comment
    entry["_ccproxy"] = {"flow": flow.id, **flow.metadata.get("ccproxy", {})}
    return json.dumps(entry).encode()


def _messages(flow: http.HTTPFlow) -> list[http.Message]:
    return [message for message in (flow.request, flow.response) if message is not None]
