"""Writes whole exchanges as they were on the wire, redacted, for debugging: `[raw_log]`.

Each exchange has a folder, `20261122T123256.123456Z-FLOW`, with up to four files: what the client sent, what went to
the upstream, what came back, what the client got. Heads and chunks are handed over as they pass; a thread of its own
decodes, redacts and writes them, so that an exchange that hangs can be read while it hangs. A compressed body is
written decoded, because what cannot be read cannot be redacted.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

from ccproxy.content_encoding import Decode, UnknownEncoding, incremental_decoder
from ccproxy.redaction import RedactedStream, Redaction
from ccproxy.settings.folders import private

log = logging.getLogger(__name__)

LINGER: Final = 0.1
"""Seconds for which the writer collects before it touches the disk."""
_QUEUED: Final = 64 << 20
"""Bytes that may wait for the writer; what comes beyond them is left out."""
_FOLDER: Final = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z-[A-Za-z0-9._-]+")

Fields = Iterable[tuple[str, str]]


class Message(StrEnum):
    """The four messages of an exchange, by the names of their files."""

    CLIENT_REQUEST = "1-client-request.http"
    UPSTREAM_REQUEST = "2-upstream-request.http"
    UPSTREAM_RESPONSE = "3-upstream-response.http"
    CLIENT_RESPONSE = "4-client-response.http"


@dataclass(slots=True)
class _Head:
    exchange: str
    message: Message
    first_line: str
    fields: list[tuple[str, str]]


@dataclass(slots=True)
class _Chunk:
    exchange: str
    message: Message
    data: bytes


@dataclass(slots=True)
class _End:
    exchange: str
    message: Message
    size: int
    """Body bytes in all, as on the wire."""
    note: str


@dataclass(slots=True)
class _Over:
    exchange: str


@dataclass(slots=True)
class _Stop:
    deadline: float


class RawLog:
    """The log's folder and its writer.

        raw_log = RawLog(data_folder / "raw", Redaction([token]))
        raw_log.start()
        exchange = raw_log.exchange(flow.id, started)
        exchange.head(Message.CLIENT_REQUEST, "POST /api/v1/messages HTTP/1.1", fields)
        exchange.body(Message.CLIENT_REQUEST, chunk)      # any number of times
        exchange.end(Message.CLIENT_REQUEST)
        exchange.close()                                  # what has no end by now was cut
        raw_log.close()

    Nothing here waits or raises, `close` apart. Files have mode 0600 in folders of mode 0700.
    """

    def __init__(self, folder: Path, redaction: Redaction, *, max_body_kb: int = 1024, max_total_mb: int = 500) -> None:
        self.folder = folder
        self.max_body = max_body_kb * 1024
        self._queue: SimpleQueue[_Head | _Chunk | _End | _Over | _Stop] = SimpleQueue()
        self._taken = 0  # bytes handed over
        self._writer = _Writer(folder, redaction, self.max_body, max_total_mb << 20)
        self._thread = threading.Thread(target=self._run, name="ccproxy-raw-log", daemon=True)
        self.left_out = 0
        """Bytes that came faster than they could be written."""

    @property
    def banner(self) -> str:
        """What to say at the start."""
        return f"raw HTTP log is ON: prompts and answers are written to {self.folder} (secrets are not)"

    def start(self) -> None:
        self._thread.start()

    def exchange(self, flow: str, started: datetime) -> RawExchange:
        """Begins an exchange. `started` is aware."""
        safe = flow if re.fullmatch(r"[A-Za-z0-9._-]{1,64}", flow) else hashlib.sha256(flow.encode()).hexdigest()[:32]
        return RawExchange(self, f"{started.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}-{safe}")

    def close(self, timeout: float = 5.0) -> None:
        """Writes what is left, for `timeout` seconds at most. Blocks."""
        if self._thread.is_alive():
            self._queue.put(_Stop(time.monotonic() + timeout))
            self._thread.join(timeout + 1)

    def put(self, event: _Head | _Chunk | _End | _Over) -> bool:
        """False when there are too many bytes on their way for this chunk."""
        if isinstance(event, _Chunk):
            if self._taken - self._writer.done > _QUEUED:
                self.left_out += len(event.data)
                return False
            self._taken += len(event.data)
        self._queue.put(event)
        return True

    def _run(self) -> None:
        stop = None
        while stop is None:
            batch = [self._queue.get()]
            until = time.monotonic() + LINGER
            while (pause := until - time.monotonic()) > 0 and not isinstance(batch[-1], _Stop):
                try:
                    batch.append(self._queue.get(timeout=pause))
                except Empty:
                    break
            for event in batch:
                if isinstance(event, _Stop):
                    stop = event
                else:
                    self._take(event)
            self._writer.flush()

    def _take(self, event: _Head | _Chunk | _End | _Over) -> None:
        try:
            self._writer.take(event)
        except Exception:
            log.exception("the raw HTTP log lost a part of %s", event.exchange)


class RawExchange:
    """One exchange on its way into the log. For one thread at a time."""

    def __init__(self, raw_log: RawLog, name: str) -> None:
        self.name = name
        """The name of its folder."""
        self._log = raw_log
        self._sizes: dict[Message, int] = {}  # of the messages that have begun and not ended
        self._full: set[Message] = set()

    def head(self, message: Message, first_line: str, fields: Fields) -> None:
        """The first line and fields. A second head of a message is another attempt, written behind the first."""
        if message in self._sizes:
            self.end(message, "given up")
        self._sizes[message] = 0
        self._full.discard(message)
        self._log.put(_Head(self.name, message, first_line, list(fields)))

    def body(self, message: Message, chunk: bytes) -> None:
        """The next bytes of the body, as on the wire."""
        size = self._sizes.get(message)
        if size is None or not chunk:
            return
        self._sizes[message] = size + len(chunk)
        room = self._log.max_body - size
        if room > 0 and message not in self._full:
            part = chunk if len(chunk) <= room else chunk[:room]
            if not self._log.put(_Chunk(self.name, message, part)):
                self._full.add(message)  # a gap could hide the name that makes a value a secret

    def end(self, message: Message, note: str = "complete") -> None:
        """The message is over: complete, or as `note` says."""
        size = self._sizes.pop(message, None)
        if size is not None:
            self._log.put(_End(self.name, message, size, note))

    def close(self) -> None:
        """The exchange is over."""
        for message in list(self._sizes):
            self.end(message, "cut")
        self._log.put(_Over(self.name))


@dataclass(slots=True)
class _Open:
    """A message that is being written."""

    stream: RedactedStream
    decode: Decode | None
    encoding: str
    taken: int = 0  # bytes of the body as on the wire
    room: int = 0  # bytes that may still be shown
    problem: str = ""
    cut: bool = False  # there was no room for all of it


@dataclass(slots=True)
class _Writer:
    """What runs in the thread: redacts, writes, keeps the folder within its limit."""

    folder: Path
    redaction: Redaction
    max_body: int
    max_total: int
    done: int = 0
    """Bytes of bodies taken off the queue."""
    _open: dict[tuple[str, Message], _Open] = field(default_factory=dict)
    _pending: dict[tuple[str, Message], bytearray] = field(default_factory=lambda: defaultdict(bytearray))
    _sizes: dict[str, int] | None = None  # bytes by exchange, the one written to last at the end; None at first
    _over: set[str] = field(default_factory=set)
    _gone: set[str] = field(default_factory=set)  # removed for want of room while they went on
    _failing: bool = False

    def take(self, event: _Head | _Chunk | _End | _Over) -> None:
        if isinstance(event, _Head):
            self._head(event)
        elif isinstance(event, _Chunk):
            self.done += len(event.data)
            self._chunk(event)
        elif isinstance(event, _End):
            self._end(event)
        else:
            self._over.add(event.exchange)

    def _head(self, head: _Head) -> None:
        key = (head.exchange, head.message)
        encoding = next((value for name, value in head.fields if name.lower() == "content-encoding"), "")
        message = _Open(self.redaction.stream(), None, encoding, room=self.max_body)
        try:
            message.decode = incremental_decoder(encoding)
        except UnknownEncoding:
            message.problem = f"not shown: nothing decodes {encoding}"
        self._open[key] = message
        lines = [self.redaction.text(head.first_line)]
        lines += [f"{name}: {value}" for name, value in self.redaction.headers(head.fields)]
        self._pending[key] += "\r\n".join([*lines, "", ""]).encode("utf-8", "replace")

    def _chunk(self, chunk: _Chunk) -> None:
        key = (chunk.exchange, chunk.message)
        message = self._open.get(key)
        if message is None:
            return
        message.taken += len(chunk.data)
        data = chunk.data
        if message.problem:
            return
        if message.decode:
            try:
                data = message.decode(data)
            except Exception as error:  # noqa: BLE001 - each codec raises its own; what it cannot decode stays unseen
                message.problem = f"not shown further: {message.encoding} fails ({type(error).__name__})"
                return
        if len(data) > message.room:
            message.cut = True
            data = data[: message.room]
        message.room -= len(data)
        if data:
            self._pending[key] += message.stream.feed(data)

    def _end(self, end: _End) -> None:
        key = (end.exchange, end.message)
        message = self._open.pop(key, None)
        if message is None:
            return
        cut = message.cut or message.taken < end.size
        self._pending[key] += message.stream.close(truncated=cut or bool(message.problem) or end.note != "complete")
        notes = [f"body of {end.size} bytes", end.note]
        notes += [f"decoded from {message.encoding}"] if message.decode else []
        notes += ["only the beginning is shown"] if cut else []
        notes += [message.problem] if message.problem else []
        self._pending[key] += f"\r\n\r\n### {', '.join(notes)}\r\n\r\n".encode("utf-8", "replace")

    def flush(self) -> None:
        """Writes what is pending, then deletes what is too old to stay."""
        pending, self._pending = self._pending, defaultdict(bytearray)
        trouble: OSError | None = None
        if self._sizes is None:
            self._sizes = self._found()
        for (exchange, message), data in pending.items():
            if exchange not in self._gone:
                try:
                    self._append(self._sizes, exchange, message, data)
                except OSError as error:
                    trouble = error
        self._shrink(self._sizes)
        if trouble and not self._failing:
            log.warning("the raw HTTP log cannot be written: %s", trouble)
        if trouble or pending:
            self._failing = trouble is not None
        for exchange in self._over:
            self._gone.discard(exchange)
        self._over.clear()

    def _append(self, sizes: dict[str, int], exchange: str, message: Message, data: bytearray) -> None:
        folder = self.folder / exchange
        private(folder)
        sizes[exchange] = sizes.pop(exchange, 0) + len(data)  # now the last one written to
        descriptor = os.open(folder / message, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with open(descriptor, "ab", buffering=0) as file:  # noqa: PTH123 - for the mode it is made with
            view = memoryview(data)
            while view:
                view = view[file.write(view) or 0 :]

    def _found(self) -> dict[str, int]:
        """What earlier runs left. Only folders named as ours: nothing else is ever deleted."""
        try:
            folders = sorted(
                entry for entry in self.folder.iterdir() if _FOLDER.fullmatch(entry.name) and entry.is_dir()
            )
            return {entry.name: sum(file.stat().st_size for file in entry.iterdir()) for entry in folders}
        except OSError:
            return {}

    def _shrink(self, sizes: dict[str, int]) -> None:
        total = sum(sizes.values())
        if total <= self.max_total:
            return
        going_on = {exchange for exchange, _ in self._open}
        for exchange in list(sizes):
            if total <= self.max_total:
                break
            shutil.rmtree(self.folder / exchange, ignore_errors=True)
            total -= sizes.pop(exchange)
            if exchange in going_on:
                self._gone.add(exchange)
                for message in Message:
                    self._open.pop((exchange, message), None)
