"""The audit of permissions: one JSON line for each decision about a tool call, in a file that only the user can read.

Beside the ledger's tables, not in them: decisions are few, must outlive a ledger that is off or full, and are read with `tail` and `jq`.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ccproxy.settings.folders import private

logger = logging.getLogger(__name__)


class Audit:
    """Appends rows to `file`, which the first one makes. A row that cannot be written is told in the log, once."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._warned = False

    def put(self, row: Mapping[str, Any]) -> None:
        """One row; written before it returns, since a decision that is not recorded should not pass unnoticed."""
        line = json.dumps(row, ensure_ascii=False, default=str) + "\n"
        try:
            private(self._file.parent)
            handle = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as opened:
                opened.write(line)
        except OSError as error:
            if not self._warned:
                self._warned = True
                logger.warning("decisions about tools cannot be recorded in %s: %s", self._file, error.strerror)
