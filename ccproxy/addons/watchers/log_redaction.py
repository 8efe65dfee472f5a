"""Removes secrets from all log records, of every logger and for every handler.

Records are cleaned where they are made, not in a handler: stderr, mitmproxy's terminal and mitmweb's event log all get them.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

from ccproxy.redaction import Redaction

_FORMAT = logging.Formatter()
_CLEAN = "ccproxy.access"
"""The access log cleans the few words of each line itself, and remembers them: they are the same line after line."""


@contextlib.contextmanager
def redacted_logs(redaction: Redaction, but: str = "") -> Iterator[None]:
    """Clean all records that are made meanwhile, tracebacks too, but those of the logger `but`.

    Within another one this one takes its place: it has to know all secrets that the other knows.
    """
    before = logging.getLogRecordFactory()
    make = _plain.get(before, before)

    def clean(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        if record.name in (but, _CLEAN) and not record.exc_info:
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

    _plain[clean] = make
    logging.setLogRecordFactory(clean)
    try:
        yield
    finally:
        del _plain[clean]
        if logging.getLogRecordFactory() is clean:
            logging.setLogRecordFactory(before)


_plain: dict[Callable[..., logging.LogRecord], Callable[..., logging.LogRecord]] = {}
"""For each of our factories, the one whose records it cleans."""


class LogRedaction:
    """The same as an addon, for a stock mitmproxy."""

    name = "ccproxy_log_redaction"

    def __init__(self, redaction: Redaction) -> None:
        self._installed = contextlib.ExitStack()
        # The line with mitmweb's address and token is the user's only way into it.
        self._installed.enter_context(redacted_logs(redaction, but="mitmproxy.tools.web.master"))

    def done(self) -> None:
        self._installed.close()
