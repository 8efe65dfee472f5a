"""Interfaces of the decoders and encoders of answers, their context, and open parts."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any, Protocol

from ccproxy.translate.losses import Losses
from ccproxy.translate.names import Names
from ccproxy.translate.neutral import Event, Part

Json = dict[str, Any]


@dataclass(slots=True)
class AnswerContext:
    """What an encoder needs to know about the request."""

    request: Json
    """The body that the client sent: Responses echoes parts of it."""
    names: Names
    model: str = ""
    include_usage: bool = False
    include: frozenset[str] = frozenset()
    created: int = 0
    """Unix time for formats that need one, if the upstream does not send it."""
    losses: Losses = field(default_factory=Losses)
    """Losses of the answer."""
    folding: bool = False
    """Only the whole answer is needed: the encoder collects it, and may return less of the stream."""


class Decoder(Protocol):
    """Reads an upstream's answer in one format into neutral events."""

    @property
    def output(self) -> list[Json]:
        """The whole answer so far as the upstream wrote it: Anthropic blocks, Responses items, or one Chat message."""

    def decode(self, event: Json, name: str = "") -> list[Event]:
        """The neutral events of one stream event; none for an unknown one. May raise `MALFORMED`."""

    def done(self) -> list[Event]:
        """The stream contained `[DONE]`."""

    def flush(self) -> list[Event]:
        """The stream has ended: the remaining events, with an `Error` if the answer is not complete."""

    def whole(self, body: Json) -> list[Event]:
        """The neutral events of a whole answer."""

    def length(self) -> int:
        """Characters of the parts that are open."""

    def shed(self) -> bool:
        """Release the text and output so far. Return False if some of it is still needed."""


class Encoder(Protocol):
    """Writes neutral events as a client's stream in one format. With `folding`, it collects the whole answer."""

    def encode(self, event: Event) -> bytes:
        """The bytes of this event in the stream."""

    def result(self) -> Json:
        """The whole answer, with `folding` only."""

    def ping(self) -> bytes:
        """An event that keeps the connection alive."""

    @property
    def keeps(self) -> bool:
        """Whether it needs the text or events of the answer until the end."""


NOT_AN_ANSWER = "The upstream's response is not an answer in its format"
CITED_LIMIT = 1000
"""Characters of an answer that one citation quotes. Anthropic's own citations have at most 150."""
MAX_ID = 256
"""Characters of an answer's id and model name, which some formats repeat in every event."""


def identity(value: object) -> str:
    """An id or model name from an upstream as text of limited length; "" if it is neither text nor a number."""
    if isinstance(value, str):
        return value[:MAX_ID]
    return str(value)[:MAX_ID] if isinstance(value, int) and not isinstance(value, bool) else ""


class OpenPart:
    """A part that is being decoded, with its text in pieces.

    Citations refer to positions in the text. A search by position finds their pieces: joining all pieces for each citation would take quadratic time.
    """

    __slots__ = ("_dropped", "_ends", "chunks", "index", "part")

    def __init__(self, index: int, part: Part) -> None:
        self.index = index
        self.part = part
        self.chunks: list[str] = []
        self._ends: list[int] | None = None  # the end position of each piece, once a position is needed
        self._dropped = 0  # characters that were released

    @property
    def shortened(self) -> bool:
        """Whether the beginning of the text was released."""
        return self._dropped > 0

    def text(self) -> str:
        """The text, or the rest of it if `shortened`."""
        return "".join(self.chunks)

    def length(self) -> int:
        """The number of characters so far."""
        ends = self._ends
        if ends is None:
            ends = self._ends = []
        total = ends[-1] if ends else self._dropped
        for chunk in self.chunks[len(ends) :]:
            total += len(chunk)
            ends.append(total)
        return total

    def quote(self, start: int, end: int) -> str:
        """The characters from `start` to `end`, at most `CITED_LIMIT` of them."""
        end = min(end, self.length(), start + CITED_LIMIT)
        ends = self._ends or []
        place = bisect_right(ends, start)
        if start < self._dropped or start >= end:
            return ""
        first = ends[place - 1] if place else self._dropped
        pieces: list[str] = []
        at = first
        while at < end:
            pieces.append(self.chunks[place])
            at = ends[place]
            place += 1
        return "".join(pieces)[start - first : end - first]

    def shed(self) -> bool:
        """Release the text so far. Return False if citations depend on it."""
        if self.part.annotations:
            return False
        self._dropped = self.length()
        self.chunks.clear()
        self._ends = None
        return True


MALFORMED = (LookupError, TypeError, ValueError, AttributeError, RecursionError, ArithmeticError)
"""Exceptions from reading an object of the wrong shape."""
