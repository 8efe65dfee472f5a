"""Writes whole exchanges as they were on the wire, redacted, for debugging: `[raw_log]`.

Each exchange has a folder, `20261122T123256.123456Z-FLOW`, with up to four files: what the client sent, what went to
the upstream, what came back, what the client got. They come from `ccproxy.ledger.traffic`, in its thread.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ccproxy.ledger.traffic import End, Head, Message
from ccproxy.settings.folders import private

logger = logging.getLogger(__name__)

MAX_EXCHANGES: Final = 20_000
"""Folders that are kept at most, however small they are."""
_FOLDER: Final = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z-[A-Za-z0-9._-]+")


class RawLog:
    """The log's folder.

        raw_log = RawLog(data_folder / "raw")
        sink = raw_log.exchange(flow.id, started)
        ...                                        # `Traffic` feeds the sink
        raw_log.flush()

    All but `exchange` is for one thread. Files have mode 0600 in folders of mode 0700. Nothing raises: what cannot be
    written is lost, with one warning.
    """

    def __init__(self, folder: Path, *, max_body_kb: int = 1024, max_total_mb: int = 500) -> None:
        self.folder = folder
        self.max_body = max_body_kb * 1024
        self._max_total = max_total_mb << 20
        self._pending: dict[tuple[str, Message], bytearray] = defaultdict(bytearray)
        self._sizes: dict[str, int] | None = (
            None  # bytes by exchange, the one written to last at the end; None at first
        )
        self._open: set[str] = set()
        self._gone: set[str] = set()  # exchanges under way that were removed for lack of room
        self._failing = False

    @property
    def banner(self) -> str:
        """The line that says at the start that it is on."""
        return f"raw HTTP log is ON: prompts and answers are written to {self.folder} (secrets are not)"

    def exchange(self, flow: str, started: datetime) -> RawExchange:
        """Begin an exchange. `started` is aware."""
        safe = flow if re.fullmatch(r"[A-Za-z0-9._-]{1,64}", flow) else hashlib.sha256(flow.encode()).hexdigest()[:32]
        return RawExchange(self, f"{started.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}-{safe}")

    def write(self, exchange: str, message: Message, data: bytes) -> None:
        """Add to a file, at the next flush."""
        self._open.add(exchange)
        if exchange not in self._gone:
            self._pending[exchange, message] += data

    def over(self, exchange: str) -> None:
        self._open.discard(exchange)

    def flush(self) -> None:
        """Write what is pending, then delete the oldest exchanges if there is too much."""
        pending, self._pending = self._pending, defaultdict(bytearray)
        if not pending and self._sizes is None:
            return
        if self._sizes is None:
            self._sizes = self._of_earlier_runs()
        failure: OSError | None = None
        for (exchange, message), data in pending.items():
            try:
                self._append(self._sizes, exchange, message, data)
            except OSError as error:
                failure = error
        self._shrink(self._sizes)
        if failure and not self._failing:
            logger.warning("The raw HTTP log cannot be written: %s. See raw_log.dir", failure)
        if failure or pending:
            self._failing = failure is not None
        self._gone &= self._open

    def _append(self, sizes: dict[str, int], exchange: str, message: Message, data: bytearray) -> None:
        folder = self.folder / exchange
        private(folder)
        sizes[exchange] = sizes.pop(exchange, 0) + len(data)  # now the last one written to
        descriptor = os.open(folder / message, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with open(descriptor, "ab", buffering=0) as file:  # noqa: PTH123 - for the mode it is made with
            view = memoryview(data)
            while view:
                view = view[file.write(view) or 0 :]

    def _of_earlier_runs(self) -> dict[str, int]:
        """The exchanges that earlier runs left. Only folders named as ours: nothing else is ever deleted."""
        try:
            folders = sorted(
                entry for entry in self.folder.iterdir() if _FOLDER.fullmatch(entry.name) and entry.is_dir()
            )
            return {entry.name: sum(file.stat().st_size for file in entry.iterdir()) for entry in folders}
        except OSError:
            return {}

    def _shrink(self, sizes: dict[str, int]) -> None:
        total = sum(sizes.values())
        for exchange in list(sizes):
            if total <= self._max_total and len(sizes) <= MAX_EXCHANGES:
                break
            shutil.rmtree(self.folder / exchange, ignore_errors=True)
            total -= sizes.pop(exchange)
            if exchange in self._open:
                self._gone.add(exchange)


class RawExchange:
    """One exchange on its way into the log: a sink of `Traffic`."""

    def __init__(self, raw_log: RawLog, name: str) -> None:
        self.name = name
        """The name of its folder."""
        self.room = raw_log.max_body
        self._log = raw_log
        self._shown: dict[Message, int] = {}  # bytes of the body

    def head(self, message: Message, head: Head) -> None:
        self._shown[message] = 0
        lines = [head.first_line, *(f"{name}: {value}" for name, value in head.fields), "", ""]
        self._log.write(self.name, message, "\r\n".join(lines).encode("utf-8", "replace"))

    def body(self, message: Message, data: bytes) -> None:
        room = self.room - self._shown[message]
        self._shown[message] += len(data)
        if room > 0:
            self._log.write(self.name, message, data[:room])

    def end(self, message: Message, end: End) -> None:
        notes = [f"body of {end.size} bytes", end.note]
        notes += [f"decoded from {end.encoding}"] if end.encoding else []
        notes += ["only the beginning is shown"] if end.cut or self._shown[message] > self.room else []
        notes += [end.problem] if end.problem else []
        self._log.write(self.name, message, f"\r\n\r\n### {', '.join(notes)}\r\n\r\n".encode("utf-8", "replace"))

    def close(self) -> None:
        self._log.over(self.name)
