"""An Anthropic Messages request, read into the neutral form. https://docs.claude.com/en/api/messages"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ccproxy.translate import policy
from ccproxy.translate.anthropic.blocks import parse_cache, parse_content
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
    OutputFormat,
    Request,
    Role,
    Text,
    Tool,
    ToolChoice,
    Turn,
)

Json = dict[str, Any]

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}

_BILLING_LINE = "x-anthropic-billing-header:"
_MESSAGE = frozenset(("role", "content"))
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
    """Read a request. Raises `BadRequest` with the JSON path of an invalid value."""
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
        parts = parse_content(system, "system", losses)
        first = parts[0] if parts else None
        if isinstance(first, Text) and first.text.startswith(_BILLING_LINE):
            losses.add(first.path, "Claude Code's billing line is only for Anthropic")
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
        request.turns.append(Turn(role, parse_content(message.get("content"), f"{path}.content", losses), path))


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
        cache=parse_cache(tool, path),
        schema_name="input_schema",
    )


def _typed_tool(tool: Json, kind: str, path: str, losses: Losses) -> Tool:
    """A tool that Anthropic defines, by its type with a date."""
    name = optional_text(tool.get("name"), f"{path}.name")
    definition = published(kind)
    if definition is not None:
        members = frozenset(
            ("type", "name", "cache_control", "strict", "input_examples", "defer_loading", "allowed_callers")
        )
        note_unknown(tool, members, path, losses)
        examples = optional_list(tool.get("input_examples"), f"{path}.input_examples") or None
        return Tool(
            "function", name, path, definition[0], definition[1], examples=examples, cache=parse_cache(tool, path)
        )
    if kind.startswith("web_search_"):
        options = {key: tool[key] for key in _WEB_SEARCH_OPTIONS if tool.get(key) is not None}
        note_unknown(tool, frozenset(("type", "name", "cache_control", *_WEB_SEARCH_OPTIONS)), path, losses)
        return Tool("web_search", name or "web_search", path, options=options, cache=parse_cache(tool, path))
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
        raise bad("container.skills", "skills work only at Anthropic", "unsupported_parameter")
    _thinking_settings(request, losses)
    _output_settings(request, losses)


def _thinking_settings(request: Request, losses: Losses) -> None:
    thinking = optional_object(request.raw.get("thinking"), "thinking")
    if not thinking:
        return
    settings = request.thinking
    settings.path = "thinking"
    match thinking.get("type"):
        case "enabled":
            settings.kind = "on"
            settings.budget = optional_int(thinking.get("budget_tokens"), "thinking.budget_tokens")
        case "adaptive":
            settings.kind = "adaptive"
        case "disabled":
            settings.kind = "off"
        case "between_tools":
            settings.kind = "between_tools"
        case other:
            raise bad("thinking.type", f"unknown kind of thinking {quoted(other)}")
    display = optional_text(thinking.get("display"), "thinking.display")
    settings.visible = settings.kind in ("on", "adaptive") and display != "omitted"
    note_unknown(thinking, frozenset(("type", "budget_tokens", "display")), "thinking", losses)


def _output_settings(request: Request, losses: Losses) -> None:
    config = optional_object(request.raw.get("output_config"), "output_config")
    request.thinking.effort = optional_text(config.get("effort"), "output_config.effort")
    note_unknown(config, frozenset(("effort", "format")), "output_config", losses)
    for holder, path in (
        (config.get("format"), "output_config.format"),
        (request.raw.get("output_format"), "output_format"),
    ):
        output = optional_object(holder, path)
        if output:
            if output.get("type") != "json_schema":
                raise bad(f"{path}.type", f"unknown output format {quoted(output.get('type'))}")
            schema = an_object(output.get("schema"), f"{path}.schema")
            note_unknown(output, frozenset(("type", "schema")), path, losses)
            request.output = OutputFormat(path, schema, optional_text(schema.get("title"), f"{path}.schema.title"))
            return
