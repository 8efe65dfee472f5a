"""What decoders and encoders of answers share: their shapes, and what an encoder must know of the request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from ccproxy.translate.losses import Losses
from ccproxy.translate.names import Names
from ccproxy.translate.neutral import Event

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
    """Unix time for answers that must bear one when the upstream tells none."""
    losses: Losses = field(default_factory=Losses)
    """What the answer loses on its way."""
    folding: bool = False
    """Only the whole answer is wanted: an encoder may leave out writing the stream."""


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


class Encoder(Protocol):
    """Writes neutral events as a client's stream of one format, and folds them into the whole answer as it goes."""

    def encode(self, event: Event) -> bytes:
        """The framed bytes that this event becomes."""

    def result(self) -> Json:
        """The whole answer: what the stream adds up to."""

    def ping(self) -> bytes:
        """A sign of life."""


MALFORMED = (LookupError, TypeError, ValueError, AttributeError, RecursionError, ArithmeticError)
"""What reading an object of the wrong shape raises."""
