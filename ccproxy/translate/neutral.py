"""The neutral form between the three wire formats: a conversation with its tools, and the events of an answer.

Nothing exact is lost: reasoning contains the provider's own object, parts that only one format has are `Opaque` with their `raw` object, and every part
has its JSON `path` for error messages.

An answer is a sequence of events, also if it is whole. The decoder numbers the parts, and they may interleave: a Responses upstream may stream two calls at
the same time. Encoders of sequential formats put them in order.
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
    source: str = ""  # of a search result
    cache: Json | None = None


Variety = Literal["function", "custom", "local_shell", "shell", "apply_patch", "tool_search"]
"""The kind of a call in the client's format: `custom` has free text; the last four are item types of Responses, and functions elsewhere."""


@dataclass(slots=True)
class ToolCall:
    """A call of a tool.

    `arguments` is the model's own text (JSON, or the free text of a custom tool), and `input` the parsed object. A parser sets the one that its format has.
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
    """The result of the call `id`."""

    path: str
    id: str
    content: str | list[Content]
    is_error: bool = False
    variety: Variety = "function"
    cache: Json | None = None


@dataclass(slots=True)
class Reasoning:
    """Thinking of the model: the `raw` object in the format `fmt` of the provider that created it.

    If no provider accepts the object any more, `fmt` is None and only `text` remains.
    """

    path: str
    fmt: Format | None
    raw: Json | None
    text: str = ""


@dataclass(slots=True)
class Opaque:
    """A part that only its own format has, such as the result of a server tool. `policy` has the action for other formats."""

    path: str
    fmt: Format
    type: str
    raw: Json


@dataclass(slots=True)
class Verbatim:
    """An assistant turn in the upstream's own objects: Anthropic blocks, Responses items, or one Chat message."""

    fmt: Format
    raw: list[Json]


Content = Text | Image | Document | Opaque
RequestPart = Content | ToolCall | ToolResult | Reasoning | Verbatim


@dataclass(slots=True)
class Turn:
    """One message, or one Responses item. Renderers merge or split turns for their format."""

    role: Role
    parts: list[RequestPart]
    path: str


@dataclass(slots=True)
class Tool:
    """A tool that the model may call.

    `kind`: "function" has a `schema`; "custom" accepts free text with an optional `grammar`; "web_search" runs at the provider with `options` in Anthropic's
    names; "tool_search" finds deferred tools at the provider; "hosted" is any other tool of one provider, with its `type`.
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
    schema_name: str = "parameters"  # the member of the tool that contains `schema`

    @property
    def schema_path(self) -> str:
        """The JSON path of `schema`."""
        return f"{self.path}.{self.schema_name}"


@dataclass(slots=True)
class ToolChoice:
    """With `tool`, `names` has one name; with `allowed`, only `names` may be called, and with `required` one must be."""

    mode: Literal["auto", "required", "none", "tool", "allowed"]
    names: list[str] = field(default_factory=list)  # the client's names, with a namespace as `ns.name`
    required: bool = False
    path: str = "tool_choice"


@dataclass(slots=True)
class Thinking:
    """Settings for thinking: `effort` by name, `budget` in tokens. `kind` is "" if the client neither enables nor disables it."""

    kind: Literal["", "on", "off", "adaptive", "between_tools"] = ""
    effort: str = ""
    budget: int | None = None
    visible: bool | None = None
    path: str = ""


@dataclass(slots=True)
class OutputFormat:
    """Structured output: a JSON schema, or any JSON object if `schema` is None."""

    path: str
    schema: Json | None = None
    name: str = ""
    description: str = ""
    strict: bool | None = None


@dataclass(slots=True)
class Request:
    """A parsed request. `raw` is the client's body."""

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
    cached: bool = False  # there is at least one breakpoint
    stream: bool = False
    include_usage: bool = False
    include: frozenset[str] = frozenset()


# --- an answer -------------------------------------------------------------------------------------------------------

PartKind = Literal["text", "refusal", "reasoning", "tool_call", "server_tool", "opaque"]


@dataclass(slots=True)
class Part:
    """A part of an answer: in `PartStart` what is known by then, in `PartEnd` all of it.

    `text` is the sum of the deltas: the visible text of text, refusal and reasoning parts, or the arguments of a call as the model wrote them.
    """

    kind: PartKind
    text: str = ""
    id: str = ""  # of a call: the id that its result refers to
    name: str = ""  # of a call: the tool's name at the upstream; of a server tool: web_search, …
    variety: Variety = "function"
    namespace: str = ""
    encrypted: str = ""  # of reasoning: Anthropic's signature or redacted data, OpenAI's encrypted content
    annotations: list[Annotation] = field(default_factory=list)
    fmt: Format | None = None
    raw: Json | None = None  # the whole object in the upstream's format, at the end only


@dataclass(slots=True)
class Annotation:
    """A citation. `start` and `end` are positions in the part's text, or -1 if the upstream does not send them."""

    url: str
    title: str = ""
    cited_text: str = ""
    start: int = -1
    end: int = -1
    raw: Json | None = None
    fmt: Format | None = None


@dataclass(slots=True)
class Start:
    """The answer begins. `usage` is the usage so far, mostly of the input; `created` is Unix time, or 0 if unknown."""

    id: str = ""
    model: str = ""
    usage: Usage | None = None
    created: int = 0


@dataclass(slots=True)
class PartStart:
    """Part number `index` begins."""

    index: int
    part: Part


@dataclass(slots=True)
class Delta:
    """More text of a part."""

    index: int
    text: str


@dataclass(slots=True)
class Annotate:
    """A citation of a text part."""

    index: int
    annotation: Annotation


@dataclass(slots=True)
class PartEnd:
    """Part number `index` is complete, and `part` is all of it."""

    index: int
    part: Part


@dataclass(slots=True)
class UsageUpdate:
    """The usage so far, which replaces earlier ones."""

    usage: Usage


@dataclass(slots=True)
class Finish:
    """The answer is complete. Nothing follows."""

    reason: StopClass
    stop_sequence: str | None = None
    explanation: str = ""
    category: str = ""
    raw: str = ""  # the upstream's own reason


@dataclass(slots=True)
class Error:
    """The answer failed. Nothing follows."""

    error: ExchangeError


@dataclass(slots=True)
class Ping:
    """An event that keeps the connection alive."""


Event = Start | PartStart | Delta | Annotate | PartEnd | UsageUpdate | Finish | Error | Ping
