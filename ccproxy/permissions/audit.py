"""The audit of permissions: one JSON line for each decision about a tool call, in a file that only the user can read.

It is next to the ledger's tables, not in them: decisions are few, must outlive a ledger that is off or full, and are read with `tail` and `jq`.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ccproxy.settings.folders import private

logger = logging.getLogger(__name__)

LARGEST: Final = 32 * 2**20
"""Bytes of the file after which it becomes FILE.1, in place of the last one."""


class Audit:
    """Appends rows to `file`, which the first one makes. A row that cannot be written is reported in the log, once. Any thread may write."""

    def __init__(self, file: Path, *, largest: int = LARGEST) -> None:
        self._file = file
        self._largest = largest
        self._lock = threading.Lock()
        self._warned = False

    def put(self, row: Mapping[str, Any]) -> None:
        """Write one row; it is in the file when this returns, since no decision should pass unrecorded."""
        line = json.dumps(row, ensure_ascii=False, default=str) + "\n"
        try:
            with self._lock:
                self._write(line.encode("utf-8", "backslashreplace"))
        except OSError as error:
            if not self._warned:
                self._warned = True
                logger.warning("Decisions about tools cannot be recorded in %s: %s", self._file, error.strerror)

    def _write(self, line: bytes) -> None:
        private(self._file.parent)
        descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "ab", buffering=0) as file:
            file.write(line)
            full = file.tell() >= self._largest
        if full:
            self._file.replace(self._file.with_name(f"{self._file.name}.1"))
