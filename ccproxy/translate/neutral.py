"""The neutral form between the three wire formats: a conversation with its tools, and the events of an answer.

What a format says exactly stays exact: reasoning keeps the object that its provider minted, parts that only one format knows stay `Opaque` with their
`raw` object, and every part knows the JSON `path` where it stood, so that a refusal can name it.

An answer is a sequence of events, whole answers included: a whole message is the fold of its events. Parts are numbered by the decoder and may interleave
(a Responses upstream may stream two calls at once); encoders whose format is sequential put them in a row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ccproxy.errors import ExchangeError
from ccproxy.translate.formats import Format
from ccproxy.translate.stops import StopClass
from ccproxy.translate.usage import Usage

Json = dict[str, Any]

# --- a request -------------------------------------------------------------------------------------------------------

Role = Literal["system", "user", "assistant"]


@dataclass(slots=True)
class Text:
    """Visible text. `cache` is a cache breakpoint in Anthropic's shape, `{"type": "ephemeral", "ttl": …}`."""

    text: str
    path: str
    cache: Json | None = None


@dataclass(slots=True)
class Image:
    """An image: base64 `data` of `media_type`, or a `url`."""

    path: str
    media_type: str = ""
    data: str = ""
    url: str = ""
    detail: str = ""  # OpenAI's resolution hint: low, high, auto
    detail_path: str = ""
    cache: Json | None = None


@dataclass(slots=True)
class Document:
    """A document: base64 `data` of `media_type` (a PDF), plain `text`, a `url`, or `content` parts."""

    path: str
    media_type: str = ""
    data: str = ""
    text: str | None = None
    url: str = ""
    content: list[Text | Image] | None = None
    title: str = ""
    context: str = ""
    source: str = ""  # a search result's origin
    cache: Json | None = None


Variety = Literal["function", "custom", "local_shell", "shell", "apply_patch", "tool_search"]
"""How the client's format says a call: `custom` takes free text; the last four are item types of Responses, and functions everywhere else."""


@dataclass(slots=True)
class ToolCall:
    """The model asked for a tool.

    `arguments` is the text as the model wrote it (JSON, or a custom tool's free text), `input` the parsed object; a parser sets the one its format has.
    """

    path: str
    id: str
    name: str
    arguments: str | None = None
    input: Any = None
    variety: Variety = "function"
    namespace: str = ""
    cache: Json | None = None


@dataclass(slots=True)
class ToolResult:
    """What the client's tool gave back for call `id`."""

    path: str
    id: str
    content: str | list[Content]
    is_error: bool = False
    variety: Variety = "function"
    cache: Json | None = None


@dataclass(slots=True)
class Reasoning:
    """What the model thought: the `raw` object in the format `fmt` of the provider that minted it.

    `fmt` is None when no provider will take it back: only `text` is left of it then.
    """

    path: str
    fmt: Format | None
    raw: Json | None
    text: str = ""


@dataclass(slots=True)
class Opaque:
    """A part that only its own format knows, such as a server tool's result. `policy` says what becomes of it elsewhere."""

    path: str
    fmt: Format
    type: str
    raw: Json


@dataclass(slots=True)
class Verbatim:
    """A whole assistant turn as the upstream wrote it: Anthropic blocks, Responses items, or one Chat message."""

    fmt: Format
    raw: list[Json]


Content = Text | Image | Document | Opaque
RequestPart = Content | ToolCall | ToolResult | Reasoning | Verbatim


@dataclass(slots=True)
class Turn:
    """One message (or one Responses item); formats that merge or split them do so when they render."""

    role: Role
    parts: list[RequestPart]
    path: str


@dataclass(slots=True)
class Tool:
    """A tool on offer.

    `kind`: "function" has a `schema`; "custom" takes free text in an optional `grammar`; "web_search" runs at the provider with `options` in Anthropic's
    names; "tool_search" at the provider finds deferred tools; "hosted" is any other tool of one provider, by its `type`.
    """

    kind: Literal["function", "custom", "web_search", "tool_search", "hosted"]
    name: str
    path: str
    description: str = ""
    schema: Json | None = None
    strict: bool | None = None
    variety: Variety = "function"
    namespace: str = ""
    grammar: Json | None = None
    options: Json = field(default_factory=dict)
    type: str = ""
    defer: bool = False
    examples: list[Any] | None = None
    cache: Json | None = None
    schema_name: str = "parameters"  # the member of the tool that holds `schema`

    @property
    def schema_path(self) -> str:
        """The JSON path of `schema`."""
        return f"{self.path}.{self.schema_name}"


@dataclass(slots=True)
class ToolChoice:
    """`tool` names one in `names`; `allowed` restricts to `names`, and `required` says whether one must be called."""

    mode: Literal["auto", "required", "none", "tool", "allowed"]
    names: list[str] = field(default_factory=list)  # as the client knows them, with namespace `ns.name`
    required: bool = False
    path: str = "tool_choice"


@dataclass(slots=True)
class Thinking:
    """How hard to think. `budget` in tokens and `effort` by name; `kind` "" when the client said neither on nor off."""

    kind: Literal["", "on", "off", "adaptive", "between_tools"] = ""
    effort: str = ""
    budget: int | None = None
    visible: bool | None = None
    path: str = ""


@dataclass(slots=True)
class OutputFormat:
    """Structured output: a JSON schema, or only the promise of some JSON object (`schema` is None)."""

    path: str
    schema: Json | None = None
    name: str = ""
    description: str = ""
    strict: bool | None = None


@dataclass(slots=True)
class Request:
    """A parsed request. `raw` is the body as it came."""

    fmt: Format
    raw: Json
    model: str
    turns: list[Turn] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)
    tool_choice: ToolChoice | None = None
    parallel: bool | None = None
    max_tokens: int | None = None
    max_tokens_path: str = "max_tokens"
    thinking: Thinking = field(default_factory=Thinking)
    output: OutputFormat | None = None
    verbosity: str = ""
    stops: list[str] = field(default_factory=list)
    stops_path: str = ""
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    user: str = ""
    service_tier: str = ""  # auto, default, flex, priority
    cache_key: str = ""
    cache: Json | None = None  # a breakpoint for the whole request
    cached: bool = False  # the client set at least one breakpoint
    stream: bool = False
    include_usage: bool = False
    include: frozenset[str] = frozenset()


# --- an answer -------------------------------------------------------------------------------------------------------

PartKind = Literal["text", "refusal", "reasoning", "tool_call", "server_tool", "opaque"]


@dataclass(slots=True)
class Part:
    """A part of an answer: at its start what is known of it, at its end all of it.

    `text` is what the deltas add up to: the visible text of text, refusal and reasoning parts, a call's arguments as they were written.
    """

    kind: PartKind
    text: str = ""
    id: str = ""  # of a call: the id that its result will name
    name: str = ""  # of a call: the tool's name as the upstream knows it; of a server tool: web_search, …
    variety: Variety = "function"
    namespace: str = ""
    encrypted: str = ""  # of reasoning: Anthropic's signature or redacted data, OpenAI's encrypted content
    annotations: list[Annotation] = field(default_factory=list)
    fmt: Format | None = None
    raw: Json | None = None  # the whole object in the upstream's format, at the end only


@dataclass(slots=True)
class Annotation:
    """A citation. `start` and `end` count characters in the part's text; -1 when the upstream does not tell."""

    url: str
    title: str = ""
    cited_text: str = ""
    start: int = -1
    end: int = -1
    raw: Json | None = None
    fmt: Format | None = None


@dataclass(slots=True)
class Start:
    """The answer begins. `usage` is what is known of it now, mostly the input; `created` is Unix time, 0 when untold."""

    id: str = ""
    model: str = ""
    usage: Usage | None = None
    created: int = 0


@dataclass(slots=True)
class PartStart:
    """Part number `index` opens."""

    index: int
    part: Part


@dataclass(slots=True)
class Delta:
    """More text of an open part."""

    index: int
    text: str


@dataclass(slots=True)
class Annotate:
    """A citation of an open text part."""

    index: int
    annotation: Annotation


@dataclass(slots=True)
class PartEnd:
    """Part number `index` is whole, and `part` is all of it."""

    index: int
    part: Part


@dataclass(slots=True)
class UsageUpdate:
    """The usage so far; each replaces the one before."""

    usage: Usage


@dataclass(slots=True)
class Finish:
    """A proper end. Nothing follows."""

    reason: StopClass
    stop_sequence: str | None = None
    explanation: str = ""
    category: str = ""
    raw: str = ""  # the upstream's own name of the reason


@dataclass(slots=True)
class Error:
    """The answer failed. Nothing follows."""

    error: ExchangeError


@dataclass(slots=True)
class Ping:
    """A sign of life."""


Event = Start | PartStart | Delta | Annotate | PartEnd | UsageUpdate | Finish | Error | Ping
