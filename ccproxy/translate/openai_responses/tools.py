"""Tools and tool choice of a Responses request, read into the neutral form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ccproxy.translate import policy
from ccproxy.translate.checks import (
    a_list,
    an_object,
    bad,
    note_unknown,
    optional_bool,
    optional_list,
    optional_object,
    optional_text,
    pick,
    quoted,
    text,
)
from ccproxy.translate.formats import Format
from ccproxy.translate.losses import Losses
from ccproxy.translate.neutral import Tool, ToolChoice, Variety
from ccproxy.translate.openai_responses.client_tools import CLIENT_TOOLS

Json = dict[str, Any]

_FUNCTION = frozenset(("type", "name", "description", "parameters", "strict", "defer_loading"))
_WEB_SEARCH = frozenset(
    ("type", "filters", "user_location", "search_context_size", "external_web_access", "search_content_types")
)

_MAX_REPEATED = 1_000_000
"""Characters that a namespace's name and description may add to the descriptions of its tools."""
_MAX_NAMESPACES = 4
"""Levels of nested namespaces."""


def parse_tools(value: object, path: str, losses: Losses, levels: int = _MAX_NAMESPACES) -> list[Tool]:
    """The tools of a list, and those in its namespaces."""
    tools: list[Tool] = []
    for i, tool in enumerate(optional_list(value, path)):
        where = f"{path}[{i}]"
        kind = text(an_object(tool, where).get("type"), f"{where}.type")
        if kind == "namespace":
            tools.extend(_namespace(tool, where, losses, levels))
        else:
            tools.append(_tool(tool, kind, where, losses))
    return tools


def _namespace(group: Json, path: str, losses: Losses, levels: int) -> list[Tool]:
    if levels == 0:
        raise bad(path, f"namespaces may be nested at most {_MAX_NAMESPACES} levels deep")
    name = text(group.get("name"), f"{path}.name")
    note_unknown(group, frozenset(("type", "name", "description", "tools")), path, losses)
    tools = parse_tools(a_list(group.get("tools"), f"{path}.tools"), f"{path}.tools", losses, levels - 1)
    about = optional_text(group.get("description"), f"{path}.description")
    if (len(name) + len(about)) * len(tools) > _MAX_REPEATED:
        raise bad(
            path, f"its name and description, repeated for each of its tools, have more than {_MAX_REPEATED} characters"
        )
    for tool in tools:
        tool.namespace = name
        if about:
            tool.description = f"{tool.description}\n\n{name}: {about}" if tool.description else f"{name}: {about}"
    return tools


def _tool(tool: Json, kind: str, path: str, losses: Losses) -> Tool:
    if kind == "function":
        return _function(tool, path, losses)
    if kind == "custom":
        return _custom(tool, path, losses)
    if kind == "tool_search" and tool.get("execution") != "client":
        return Tool("tool_search", "tool_search", path)
    if kind in CLIENT_TOOLS:
        return _client_tool(tool, kind, path, losses)
    if kind.startswith("web_search"):
        return _web_search(tool, path, losses)
    if policy.tool_row(Format.OPENAI_RESPONSES, kind) is None:
        raise bad(f"{path}.type", f"unknown tool type {quoted(kind)}")
    return Tool("hosted", optional_text(tool.get("name"), f"{path}.name"), path, type=kind)


def _function(tool: Json, path: str, losses: Losses) -> Tool:
    note_unknown(tool, _FUNCTION, path, losses)
    return Tool(
        "function",
        text(tool.get("name"), f"{path}.name"),
        path,
        optional_text(tool.get("description"), f"{path}.description"),
        optional_object(tool.get("parameters"), f"{path}.parameters") or None,
        optional_bool(tool.get("strict"), f"{path}.strict"),
        defer=optional_bool(tool.get("defer_loading"), f"{path}.defer_loading") or False,
    )


def _custom(tool: Json, path: str, losses: Losses) -> Tool:
    note_unknown(tool, frozenset(("type", "name", "description", "format", "defer_loading")), path, losses)
    grammar = optional_object(tool.get("format"), f"{path}.format")
    note_unknown(grammar, frozenset(("type", "syntax", "definition")), f"{path}.format", losses)
    return Tool(
        "custom",
        text(tool.get("name"), f"{path}.name"),
        path,
        optional_text(tool.get("description"), f"{path}.description"),
        variety="custom",
        grammar=grammar or None,
        defer=optional_bool(tool.get("defer_loading"), f"{path}.defer_loading") or False,
    )


def _client_tool(tool: Json, kind: str, path: str, losses: Losses) -> Tool:
    environment = optional_object(tool.get("environment"), f"{path}.environment")
    if environment.get("type") not in (None, "local"):
        raise bad(f"{path}.environment", "containers work only at OpenAI", "unsupported_parameter")
    note_unknown(tool, frozenset(("type", "environment", "execution", "description", "parameters")), path, losses)
    definition = CLIENT_TOOLS[kind]
    variety: Variety = kind  # type: ignore[assignment]  # the keys of CLIENT_TOOLS are varieties
    description = optional_text(tool.get("description"), f"{path}.description") or definition.description
    schema = optional_object(tool.get("parameters"), f"{path}.parameters") or definition.schema
    return Tool("function", definition.name, path, description, schema, variety=variety)


def _web_search(tool: Json, path: str, losses: Losses) -> Tool:
    note_unknown(tool, _WEB_SEARCH, path, losses)
    options: Json = {}
    filters = optional_object(tool.get("filters"), f"{path}.filters")
    note_unknown(filters, frozenset(("allowed_domains",)), f"{path}.filters", losses)
    if filters.get("allowed_domains"):
        options["allowed_domains"] = filters["allowed_domains"]
    location = optional_object(tool.get("user_location"), f"{path}.user_location")
    place = {key: value for key, value in location.items() if value is not None and key != "type"}
    if place:
        options["user_location"] = {"type": "approximate", **place}
    if tool.get("search_context_size") is not None:
        options["search_context_size"] = tool["search_context_size"]
    if tool.get("external_web_access") is False:
        losses.add(f"{path}.external_web_access", "searching only the cache works only at OpenAI")
    return Tool("web_search", "web_search", path, options=options)


# --- tool choice -----------------------------------------------------------------------------------------------------


def parse_choice(value: object) -> ToolChoice | None:
    """Read `tool_choice`."""
    if value is None:
        return None
    if isinstance(value, str):
        return pick(_PLAIN, value, "tool_choice", "tool choice")()
    choice = an_object(value, "tool_choice")
    kind = text(choice.get("type"), "tool_choice.type")
    if kind in ("function", "custom"):
        return ToolChoice("tool", [text(choice.get("name"), "tool_choice.name")])
    if kind == "allowed_tools":
        tools = a_list(choice.get("tools"), "tool_choice.tools")
        names = [
            _chosen(an_object(tool, f"tool_choice.tools[{i}]"), f"tool_choice.tools[{i}]")
            for i, tool in enumerate(tools)
        ]
        return ToolChoice("allowed", names, choice.get("mode") == "required")
    return ToolChoice("tool", [_chosen(choice, "tool_choice")])


def _chosen(tool: Json, path: str) -> str:
    """The name of the tool in a choice, which has a name or a type."""
    kind = text(tool.get("type"), f"{path}.type")
    if kind in ("function", "custom"):
        return text(tool.get("name"), f"{path}.name")
    if kind in CLIENT_TOOLS:
        return CLIENT_TOOLS[kind].name
    if kind.startswith("web_search"):
        return "web_search"
    raise bad(f"{path}.type", f"the tool {quoted(kind)} works only at OpenAI", "unsupported_parameter")


_PLAIN: dict[str, Callable[[], ToolChoice]] = {
    "auto": lambda: ToolChoice("auto"),
    "none": lambda: ToolChoice("none"),
    "required": lambda: ToolChoice("required"),
}
