"""What decoders and encoders of answers share: their shapes, the parts that they have open, and the request's side of an answer."""

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
    """The request's side of an answer."""

    request: Json
    """The body that the client sent: Responses echoes parts of it."""
    names: Names
    model: str = ""
    include_usage: bool = False
    include: frozenset[str] = frozenset()
    created: int = 0
    """Unix time for answers that require one if the upstream does not send it."""
    losses: Losses = field(default_factory=Losses)
    """What the answer loses on its way."""
    folding: bool = False
    """Only the whole answer is needed: an encoder may leave out writing the stream, and keeps what the answer adds up to."""


class Decoder(Protocol):
    """Reads an upstream's answer of one format into neutral events."""

    @property
    def output(self) -> list[Json]:
        """The whole answer so far as the upstream wrote it: Anthropic blocks, Responses items, or one Chat message."""

    def decode(self, event: Json, name: str = "") -> list[Event]:
        """The neutral events of one stream event. Unknown events give none. May raise `MALFORMED` on nonsense."""

    def done(self) -> list[Event]:
        """The stream said `[DONE]`."""

    def flush(self) -> list[Event]:
        """The stream is over; an `Error` when it had not come to its end."""

    def whole(self, body: Json) -> list[Event]:
        """The neutral events of a whole answer."""

    def length(self) -> int:
        """Characters of the parts that are open."""

    def shed(self) -> bool:
        """Let go of the text and the output so far. Return False when some of it is still needed."""


class Encoder(Protocol):
    """Writes neutral events as a client's stream of one format, and folds them into the whole answer as it goes."""

    def encode(self, event: Event) -> bytes:
        """The framed bytes that this event becomes."""

    def result(self) -> Json:
        """The whole answer: what the stream adds up to."""

    def ping(self) -> bytes:
        """A sign of life."""

    @property
    def keeps(self) -> bool:
        """Does it need the answer's text, or events of it, until the end?"""


NOT_AN_ANSWER = "The upstream's response is not an answer in its format"
CITED_LIMIT = 1000
"""Characters of an answer that one citation repeats. Anthropic's own have at most 150."""
MAX_ID = 256
"""Characters of an answer's id and model, which some formats repeat in every event."""


def identity(value: object) -> str:
    """An id or a model's name from an upstream, as text of bounded length; "" when it is neither text nor a number."""
    if isinstance(value, str):
        return value[:MAX_ID]
    return str(value)[:MAX_ID] if isinstance(value, int) and not isinstance(value, bool) else ""


class OpenPart:
    """A part that a decoder has begun, and its text in the pieces in which it came.

    Citations name characters of the text: the pieces are found by their positions, because joining them for each citation would cost the square of
    their number.
    """

    __slots__ = ("_dropped", "_ends", "chunks", "index", "part")

    def __init__(self, index: int, part: Part) -> None:
        self.index = index
        self.part = part
        self.chunks: list[str] = []
        self._ends: list[int] | None = None  # the end of each piece, once positions are asked for
        self._dropped = 0  # characters that were let go

    @property
    def shortened(self) -> bool:
        """The beginning of the text was let go."""
        return self._dropped > 0

    def text(self) -> str:
        """All of the text, or what is left of it."""
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
        """Let go of the text so far. Return False when citations depend on it."""
        if self.part.annotations:
            return False
        self._dropped = self.length()
        self.chunks.clear()
        self._ends = None
        return True


MALFORMED = (LookupError, TypeError, ValueError, AttributeError, RecursionError, ArithmeticError)
"""What reading an object of the wrong shape raises."""
