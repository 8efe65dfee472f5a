"""An Anthropic Messages request, read into the neutral form. https://docs.claude.com/en/api/messages"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ccproxy.translate import capsule, policy
from ccproxy.translate.anthropic.client_tools import published
from ccproxy.translate.checks import (
    a_list,
    an_object,
    bad,
    note_unknown,
    optional_bool,
    optional_int,
    optional_list,
    optional_number,
    optional_object,
    optional_text,
    pick,
    quoted,
    text,
    texts,
)
from ccproxy.translate.formats import Format
from ccproxy.translate.losses import Losses
from ccproxy.translate.neutral import (
    Content,
    Document,
    Image,
    Opaque,
    OutputFormat,
    Reasoning,
    Request,
    RequestPart,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)

Json = dict[str, Any]

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}

_BILLING_LINE = "x-anthropic-billing-header:"
_MESSAGE = frozenset(("role", "content"))
_TEXT = frozenset(("type", "text", "cache_control"))
_SOURCE = frozenset(("type", "media_type", "data", "url", "file_id", "content"))
_IMAGE = frozenset(("type", "source", "cache_control"))
_DOCUMENT = frozenset(("type", "source", "title", "context", "cache_control"))
_SEARCH_RESULT = frozenset(("type", "source", "title", "content", "cache_control"))
_TOOL_USE = frozenset(("type", "id", "name", "input", "cache_control", "caller"))
_TOOL_RESULT = frozenset(("type", "tool_use_id", "content", "is_error", "cache_control"))
_TOOL = frozenset(
    (
        "type",
        "name",
        "description",
        "input_schema",
        "strict",
        "cache_control",
        "input_examples",
        "defer_loading",
        "allowed_callers",
    )
)
_WEB_SEARCH_OPTIONS = ("allowed_domains", "blocked_domains", "user_location", "max_uses")


def parse(body: Json, losses: Losses) -> Request:
    """Read a request. Raises `BadRequest` with the JSON path of what cannot be read."""
    request = Request(Format.ANTHROPIC, body, text(body.get("model"), "model"))
    _conversation(request, losses)
    _tools(request, losses)
    _settings(request, losses)
    return request


# --- the conversation ------------------------------------------------------------------------------------------------


def _conversation(request: Request, losses: Losses) -> None:
    body = request.raw
    system = body.get("system")
    if system:
        parts = _content(system, "system", losses)
        first = parts[0] if parts else None
        if isinstance(first, Text) and first.text.startswith(_BILLING_LINE):
            losses.add(first.path, "Claude Code's billing line is for Anthropic")
            del parts[0]
        request.turns.append(Turn("system", parts, "system"))
    messages = a_list(body.get("messages"), "messages")
    if not messages:
        raise bad("messages", "at least one message is required")
    for i, message in enumerate(messages):
        path = f"messages[{i}]"
        an_object(message, path)
        role = _ROLES.get(text(message.get("role"), f"{path}.role"))
        if role is None:
            raise bad(f"{path}.role", "must be user, assistant or system")
        if len(message) > 2:
            note_unknown(message, _MESSAGE, path, losses)
        request.turns.append(Turn(role, _content(message.get("content"), f"{path}.content", losses), path))


def _content(content: object, path: str, losses: Losses) -> list[RequestPart]:
    if isinstance(content, str):
        return [Text(content, path)]
    blocks = _BLOCKS
    parts: list[RequestPart] = []
    for i, block in enumerate(a_list(content, path)):
        where = f"{path}[{i}]"
        kind = an_object(block, where).get("type")
        reader = blocks.get(kind) if isinstance(kind, str) else None
        parts.append(reader(block, where, losses) if reader is not None else _other(block, kind, where))
    return parts


def _other(block: Json, kind: object, path: str) -> Opaque:
    if isinstance(kind, str) and kind in policy.CONTENT[Format.ANTHROPIC]:
        return Opaque(path, Format.ANTHROPIC, kind, block)
    raise bad(f"{path}.type", f"unknown content block {quoted(kind)}")


def _text(block: Json, path: str, losses: Losses) -> Text:
    value = block.get("text")
    if not isinstance(value, str):
        raise bad(f"{path}.text", "must be a string")
    if len(block) > 2:
        note_unknown(block, _TEXT, path, losses)
        return Text(value, path, _cache(block, path))
    return Text(value, path)


def _cache(block: Json, path: str) -> Json | None:
    return optional_object(block.get("cache_control"), f"{path}.cache_control") or None


def _image(block: Json, path: str, losses: Losses) -> Image:
    note_unknown(block, _IMAGE, path, losses)
    source = an_object(block.get("source"), f"{path}.source")
    kind = source.get("type")
    note_unknown(source, _SOURCE, f"{path}.source", losses)
    image = Image(path, cache=_cache(block, path))
    if kind == "base64":
        image.media_type = text(source.get("media_type"), f"{path}.source.media_type")
        image.data = text(source.get("data"), f"{path}.source.data")
    elif kind == "url":
        image.url = text(source.get("url"), f"{path}.source.url")
    else:
        raise _bad_source(kind, path)
    return image


def _bad_source(kind: object, path: str) -> Exception:
    if kind == "file":
        return bad(
            f"{path}.source.file_id",
            "a file id is known to the provider that stores the file only: send the data",
            "unsupported_content",
        )
    return bad(f"{path}.source.type", f"unknown source {quoted(kind)}")


def _document(block: Json, path: str, losses: Losses) -> Document:
    note_unknown(block, _DOCUMENT, path, losses)
    source = an_object(block.get("source"), f"{path}.source")
    kind = source.get("type")
    note_unknown(source, _SOURCE, f"{path}.source", losses)
    found = Document(
        path,
        title=optional_text(block.get("title"), f"{path}.title"),
        context=optional_text(block.get("context"), f"{path}.context"),
        cache=_cache(block, path),
    )
    if kind == "base64":
        found.media_type = text(source.get("media_type"), f"{path}.source.media_type")
        found.data = text(source.get("data"), f"{path}.source.data")
    elif kind == "url":
        found.url = text(source.get("url"), f"{path}.source.url")
    elif kind == "text":
        found.media_type = optional_text(source.get("media_type"), f"{path}.source.media_type")
        found.text = text(source.get("data"), f"{path}.source.data")
    elif kind == "content":
        found.content = _plain_parts(source.get("content"), f"{path}.source.content", losses)
    else:
        raise _bad_source(kind, path)
    return found


def _plain_parts(content: object, path: str, losses: Losses) -> list[Text | Image]:
    """The content of a document: text and images only."""
    parts: list[Text | Image] = []
    for part in _content(content, path, losses):
        if not isinstance(part, Text | Image):
            raise bad(path, "only text and images may stand here")
        parts.append(part)
    return parts


def _search_result(block: Json, path: str, losses: Losses) -> Document:
    note_unknown(block, _SEARCH_RESULT, path, losses)
    return Document(
        path,
        title=optional_text(block.get("title"), f"{path}.title"),
        source=optional_text(block.get("source"), f"{path}.source"),
        content=_plain_parts(block.get("content"), f"{path}.content", losses),
        cache=_cache(block, path),
    )


def _thinking(block: Json, path: str, _losses: Losses) -> Reasoning:
    signature = optional_text(block.get("signature"), f"{path}.signature")
    return _reasoning(block, path, signature, optional_text(block.get("thinking"), f"{path}.thinking"))


def _redacted(block: Json, path: str, _losses: Losses) -> Reasoning:
    return _reasoning(block, path, text(block.get("data"), f"{path}.data"), "")


def _reasoning(block: Json, path: str, seal: str, visible: str) -> Reasoning:
    if not capsule.is_sealed(seal):
        return Reasoning(path, Format.ANTHROPIC, block, visible)
    opened = capsule.unseal(seal)
    if opened is None or opened.fmt is None:
        return Reasoning(path, None, None, visible)
    return Reasoning(path, opened.fmt, opened.raw, visible)


def _tool_use(block: Json, path: str, losses: Losses) -> ToolCall:
    if len(block) > 4:
        note_unknown(block, _TOOL_USE, path, losses)
        caller = block.get("caller")
        if isinstance(caller, dict) and caller.get("type") != "direct":
            losses.add(f"{path}.caller", "programmatic tool calling runs at Anthropic only")
    given = block.get("input")
    if not isinstance(given, dict):
        raise bad(f"{path}.input", "must be an object")
    identity, name = block.get("id"), block.get("name")
    if not isinstance(identity, str) or not isinstance(name, str):
        raise bad(f"{path}.{'name' if isinstance(identity, str) else 'id'}", "must be a string")
    cache = _cache(block, path) if "cache_control" in block else None
    return ToolCall(path, identity, name, input=given, cache=cache)


def _tool_result(block: Json, path: str, losses: Losses) -> ToolResult:
    note_unknown(block, _TOOL_RESULT, path, losses)
    content = block.get("content")
    found: str | list[Content]
    if content is None:
        found = ""
    elif isinstance(content, str):
        found = content
    else:
        found = []
        for part in _content(content, f"{path}.content", losses):
            if not isinstance(part, Text | Image | Document | Opaque):
                raise bad(f"{path}.content", "a tool result holds text, images, documents and search results only")
            found.append(part)
    return ToolResult(
        path,
        text(block.get("tool_use_id"), f"{path}.tool_use_id"),
        found,
        optional_bool(block.get("is_error"), f"{path}.is_error") or False,
        cache=_cache(block, path),
    )


_BLOCKS: dict[str, Callable[[Json, str, Losses], RequestPart]] = {
    "text": _text,
    "image": _image,
    "document": _document,
    "search_result": _search_result,
    "thinking": _thinking,
    "redacted_thinking": _redacted,
    "tool_use": _tool_use,
    "tool_result": _tool_result,
}

# --- tools -----------------------------------------------------------------------------------------------------------


def _tools(request: Request, losses: Losses) -> None:
    for i, tool in enumerate(optional_list(request.raw.get("tools"), "tools")):
        path = f"tools[{i}]"
        kind = an_object(tool, path).get("type")
        if kind is None or kind == "custom":
            request.tools.append(_custom_tool(tool, path, losses))
        else:
            request.tools.append(_typed_tool(tool, text(kind, f"{path}.type"), path, losses))
    choice = optional_object(request.raw.get("tool_choice"), "tool_choice")
    if choice:
        request.tool_choice = pick(_CHOICES, choice.get("type"), "tool_choice.type", "tool choice")(choice)
        if optional_bool(choice.get("disable_parallel_tool_use"), "tool_choice.disable_parallel_tool_use"):
            request.parallel = False
        note_unknown(choice, frozenset(("type", "name", "disable_parallel_tool_use")), "tool_choice", losses)


_CHOICES: dict[str, Callable[[Json], ToolChoice]] = {
    "auto": lambda _choice: ToolChoice("auto"),
    "any": lambda _choice: ToolChoice("required"),
    "none": lambda _choice: ToolChoice("none"),
    "tool": lambda choice: ToolChoice("tool", [text(choice.get("name"), "tool_choice.name")]),
}


def _custom_tool(tool: Json, path: str, losses: Losses) -> Tool:
    note_unknown(tool, _TOOL, path, losses)
    return Tool(
        "function",
        text(tool.get("name"), f"{path}.name"),
        path,
        optional_text(tool.get("description"), f"{path}.description"),
        an_object(tool.get("input_schema"), f"{path}.input_schema"),
        optional_bool(tool.get("strict"), f"{path}.strict"),
        defer=optional_bool(tool.get("defer_loading"), f"{path}.defer_loading") or False,
        examples=optional_list(tool.get("input_examples"), f"{path}.input_examples") or None,
        cache=_cache(tool, path),
        schema_name="input_schema",
    )


def _typed_tool(tool: Json, kind: str, path: str, losses: Losses) -> Tool:
    """A tool that Anthropic defines, by its dated type."""
    name = optional_text(tool.get("name"), f"{path}.name")
    found = published(kind)
    if found is not None:
        known = frozenset(
            ("type", "name", "cache_control", "strict", "input_examples", "defer_loading", "allowed_callers")
        )
        note_unknown(tool, known, path, losses)
        examples = optional_list(tool.get("input_examples"), f"{path}.input_examples") or None
        return Tool("function", name, path, found[0], found[1], examples=examples, cache=_cache(tool, path))
    if kind.startswith("web_search_"):
        options = {key: tool[key] for key in _WEB_SEARCH_OPTIONS if tool.get(key) is not None}
        note_unknown(tool, frozenset(("type", "name", "cache_control", *_WEB_SEARCH_OPTIONS)), path, losses)
        return Tool("web_search", name or "web_search", path, options=options, cache=_cache(tool, path))
    if policy.tool_row(Format.ANTHROPIC, kind) is None:
        raise bad(f"{path}.type", f"unknown tool type {quoted(kind)}")
    return Tool("hosted", name, path, type=kind)


# --- settings --------------------------------------------------------------------------------------------------------


def _settings(request: Request, losses: Losses) -> None:
    body = request.raw
    request.max_tokens = optional_int(body.get("max_tokens"), "max_tokens")
    request.stops = texts(body.get("stop_sequences"), "stop_sequences")
    request.stops_path = "stop_sequences"
    request.temperature = optional_number(body.get("temperature"), "temperature")
    request.top_p = optional_number(body.get("top_p"), "top_p")
    request.top_k = optional_int(body.get("top_k"), "top_k")
    request.stream = optional_bool(body.get("stream"), "stream") or False
    metadata = optional_object(body.get("metadata"), "metadata")
    request.user = optional_text(metadata.get("user_id"), "metadata.user_id")
    note_unknown(metadata, frozenset(("user_id",)), "metadata", losses)
    if body.get("service_tier") == "standard_only":
        request.service_tier = "default"
    if body.get("speed") == "fast":
        request.service_tier = "priority"
    container = body.get("container")
    if isinstance(container, dict) and container.get("skills"):
        raise bad("container.skills", "skills run at Anthropic only", "unsupported_parameter")
    _thinking_settings(request, losses)
    _output_settings(request, losses)


def _thinking_settings(request: Request, losses: Losses) -> None:
    thinking = optional_object(request.raw.get("thinking"), "thinking")
    if not thinking:
        return
    found = request.thinking
    found.path = "thinking"
    match thinking.get("type"):
        case "enabled":
            found.kind = "on"
            found.budget = optional_int(thinking.get("budget_tokens"), "thinking.budget_tokens")
        case "adaptive":
            found.kind = "adaptive"
        case "disabled":
            found.kind = "off"
        case "between_tools":
            found.kind = "between_tools"
        case other:
            raise bad("thinking.type", f"unknown kind of thinking {quoted(other)}")
    display = optional_text(thinking.get("display"), "thinking.display")
    found.visible = found.kind in ("on", "adaptive") and display != "omitted"
    note_unknown(thinking, frozenset(("type", "budget_tokens", "display")), "thinking", losses)


def _output_settings(request: Request, losses: Losses) -> None:
    config = optional_object(request.raw.get("output_config"), "output_config")
    request.thinking.effort = optional_text(config.get("effort"), "output_config.effort")
    note_unknown(config, frozenset(("effort", "format")), "output_config", losses)
    for holder, path in (
        (config.get("format"), "output_config.format"),
        (request.raw.get("output_format"), "output_format"),
    ):
        wanted = optional_object(holder, path)
        if wanted:
            if wanted.get("type") != "json_schema":
                raise bad(f"{path}.type", f"unknown output format {quoted(wanted.get('type'))}")
            schema = an_object(wanted.get("schema"), f"{path}.schema")
            note_unknown(wanted, frozenset(("type", "schema")), path, losses)
            request.output = OutputFormat(path, schema, optional_text(schema.get("title"), f"{path}.schema.title"))
            return
