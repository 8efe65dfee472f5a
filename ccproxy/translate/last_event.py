"""Whether a stream that passes untouched is whole. Reads bytes, not events: it costs a few microseconds per chunk.

A stream of a format has to end with that format's last event, or an error event. A stream that shows nothing of the format, as some servers' own, has
to end between two events.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ccproxy.translate.formats import Format

_CARRY: Final = 128
"""Bytes of a chunk that are looked at again with the next: longer than any match."""


class _Signs(NamedTuple):
    """What a stream of a format is known by, in any spelling of JSON, and words that are quick to look for.

    Within a string quotes would be escaped, so text that a model writes does not match.
    """

    begins: tuple[bytes, ...]
    ends: tuple[bytes, ...]
    end: re.Pattern[bytes]


# `[DONE]` ends the streams of OpenAI-compatible servers whatever they speak. Some Chat Completions servers leave it out: a finish_reason is enough there.
_SIGNS: Final = {
    Format.ANTHROPIC: _Signs(
        (b"message_start",),
        (b"message_stop", b"error", b"[DONE]"),
        re.compile(rb'"type"\s*:\s*"(?:message_stop|error)"|[\r\n]data:\s*\[DONE\]'),
    ),
    Format.OPENAI_CHAT: _Signs(
        (b"choices",),
        (b"[DONE]", b"finish_reason", b"error"),
        re.compile(rb'[\r\n]data:\s*\[DONE\]|"finish_reason"\s*:\s*"|"error"\s*:\s*[{"]'),
    ),
    Format.OPENAI_RESPONSES: _Signs(
        (b"response.created", b"response.in_progress", b"response.output_item"),
        (
            b"response.completed",
            b"response.incomplete",
            b"response.failed",
            b"response.cancelled",
            b"response.done",
            b"error",
            b"[DONE]",
        ),
        re.compile(
            rb'"type"\s*:\s*"(?:response\.(?:completed|incomplete|failed|cancelled|done)|error)"|[\r\n]data:\s*\[DONE\]'
        ),
    ),
}


class LastEvent:
    """Looks for the last event of one stream."""

    def __init__(self, fmt: Format) -> None:
        self._signs = _SIGNS[fmt]
        self._carry = b"\n"  # a stream begins at the beginning of a line
        self._begun = False
        self._came = False

    def feed(self, chunk: bytes) -> None:
        """The next bytes of the stream, as they are."""
        data = self._carry + chunk
        if not self._came:
            self._begun = self._begun or any(word in data for word in self._signs.begins)
            self._came = any(word in data for word in self._signs.ends) and self._signs.end.search(data) is not None
        self._carry = data[-_CARRY:]

    @property
    def is_missing(self) -> bool:
        """Would the stream be cut if it ended here?"""
        if self._came:
            return False
        lines = self._carry.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return self._begun or not lines.endswith(b"\n\n")
