"""No log record holds a secret, whoever wrote it and whichever handler shows it.

Records are cleaned where they are made, not in a handler: stderr, mitmproxy's terminal and mitmweb's event log all get them.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from ccproxy.redaction import Redaction

_FORMAT = logging.Formatter()


@contextlib.contextmanager
def redacted_logs(redaction: Redaction, but: str = "") -> Iterator[None]:
    """Clean all records that are made meanwhile, tracebacks too, but those of the logger `but`."""
    before = logging.getLogRecordFactory()

    def clean(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = before(*args, **kwargs)
        if record.name == but:
            return record
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - arguments that do not fit the message: logging itself tells of them
            return record
        record.msg, record.args = redaction.text(message), None
        if record.exc_info:
            # Formatters print this text where it is there already.
            record.exc_text = redaction.text(_FORMAT.formatException(record.exc_info))
        return record

    logging.setLogRecordFactory(clean)
    try:
        yield
    finally:
        if logging.getLogRecordFactory() is clean:
            logging.setLogRecordFactory(before)


class LogRedaction:
    """The same as an addon, for a stock mitmproxy."""

    name = "ccproxy_log_redaction"

    def __init__(self, redaction: Redaction) -> None:
        self._installed = contextlib.ExitStack()
        # The line with mitmweb's address and token is the user's only way into it.
        self._installed.enter_context(redacted_logs(redaction, but="mitmproxy.tools.web.master"))

    def done(self) -> None:
        self._installed.close()
