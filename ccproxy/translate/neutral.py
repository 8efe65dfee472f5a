"""The neutral form between the three wire formats: a conversation, its tools, and the events of an answer.

Every value carries its provenance where it matters: `fmt` names the wire format it was read from and `raw` is the object as it stood there, so that an
encoder of that same format writes the original and nothing is rebuilt from a lowest common denominator.

An answer is a sequence of events, whole answers included: a whole message is the fold of its events. Parts are numbered by the decoder and may interleave
(a Responses upstream may stream two calls at once); encoders whose format is sequential put them in a row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ccproxy.errors import ExchangeError
from ccproxy.translate.formats import Format

Json = dict[str, Any]

StopReason = Literal[
    "end",  # the model had nothing more to say
    "tool_use",  # it waits for tool results
    "length",  # the output limit
    "context",  # the context window is full
    "stop_sequence",
    "refusal",  # the model or a filter declined
    "pause",  # a long server-side turn, to be continued by sending it back
    "other",  # a reason that no other format knows; `Finish.raw` has its name
]


@dataclass(slots=True)
class Usage:
    """Tokens of one exchange; counts are disjoint as far as the upstream tells.

    `input` excludes both cache counts (as Anthropic counts; OpenAI's totals include them). `output` includes `reasoning`.
    """

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    cache_write_5m: int | None = None
    cache_write_1h: int | None = None
    web_searches: int = 0
    service_tier: str | None = None
    raw: Json | None = None
    fmt: Format | None = None

    @property
    def total_input(self) -> int:
        """Everything the model read, cached or not."""
        return self.input + self.cache_read + self.cache_write


# ---------------------------------------------------------------------------------------------------------------------------------------------------
# Events of an answer


PartKind = Literal["text", "refusal", "reasoning", "tool_call", "server_tool", "opaque"]


@dataclass(slots=True)
class Part:
    """A part of an answer, as far as it is known: at its start the names, at its end all of it.

    `text` is the visible text of text, refusal and reasoning parts, and the arguments of a tool call as they were written (JSON text of a function call,
    free text of a custom one). `kind` says which fields mean something.
    """

    kind: PartKind
    text: str = ""
    id: str = ""  # a call's id, which its result will name
    name: str = ""  # the tool's name as the upstream knows it
    variety: str = (
        ""  # of a tool call: "" function, "custom"; of a server tool: "web_search" …; of an opaque part: its type
    )
    namespace: str = ""
    encrypted: str = ""  # of reasoning: Anthropic's signature or redacted data, OpenAI's encrypted content
    redacted: bool = False  # reasoning without any visible text
    phase: str = ""  # of text from a Responses upstream: commentary, final_answer
    annotations: list[Json] = field(default_factory=list)
    fmt: Format | None = None
    raw: Json | None = None


@dataclass(slots=True)
class Start:
    """The answer begins. `usage` is what is known of it now, mostly the input."""

    id: str = ""
    model: str = ""
    usage: Usage | None = None
    created: int | None = None
    raw: Json | None = None


@dataclass(slots=True)
class PartStart:
    """Part number `index` opens."""

    index: int
    part: Part


@dataclass(slots=True)
class Delta:
    """More text of an open part; what it is the text of follows from the part's kind. `section` counts the summary parts of reasoning."""

    index: int
    text: str
    section: int = 0


@dataclass(slots=True)
class Annotate:
    """A citation of the text part so far: {"type": "url", "url", "title", "cited_text", "start", "end", "raw", "fmt"}; offsets count characters."""

    index: int
    annotation: Json


@dataclass(slots=True)
class PartEnd:
    """Part number `index` is whole. `part` holds all of it, text included."""

    index: int
    part: Part


@dataclass(slots=True)
class UsageUpdate:
    """The usage so far; each replaces the one before."""

    usage: Usage


@dataclass(slots=True)
class Finish:
    """A proper end. Nothing follows."""

    reason: StopReason
    stop_sequence: str | None = None
    explanation: str = ""
    raw: Any = None


@dataclass(slots=True)
class Error:
    """The answer failed. Nothing follows."""

    error: ExchangeError


@dataclass(slots=True)
class Ping:
    """A sign of life."""


Event = Start | PartStart | Delta | Annotate | PartEnd | UsageUpdate | Finish | Error | Ping
