"""A neutral request, written for a Chat Completions server. https://platform.openai.com/docs/api-reference/chat/create"""

from __future__ import annotations

from typing import Any

from ccproxy.translate import as_text, policy, schema
from ccproxy.translate.checks import bad
from ccproxy.translate.formats import Format
from ccproxy.translate.losses import Losses
from ccproxy.translate.names import OPENAI_NAME_LIMIT, Names, schema_name
from ccproxy.translate.neutral import Request, Tool
from ccproxy.translate.openai_chat.conversation import Conversation
from ccproxy.translate.policy import Target
from ccproxy.translate.profiles import ChatProfile, effort_of_budget

Json = dict[str, Any]

_MAX_STOPS = 4
_KNOWN_EFFORTS = frozenset(("none", "minimal", "low", "medium", "high", "xhigh", "max"))


def render(request: Request, profile: ChatProfile, losses: Losses) -> tuple[Json, Names]:
    """The request body, and the tool names for the answer. Raises `BadRequest` for unsupported values."""
    names = Names(OPENAI_NAME_LIMIT)
    body: Json = {"model": request.model}
    budget = schema.Budget()
    tools = _tools(request, names, profile, body, losses, budget=budget)
    conversation = Conversation(names, losses, custom_tools=profile.custom_tools)
    conversation.add(request.turns)
    if not conversation.messages:
        raise bad("messages", "contains nothing that can be sent")
    body["messages"] = conversation.messages
    if tools:
        body["tools"] = tools
    choice = _tool_choice(request, tools, names)
    if choice is not None:
        body["tool_choice"] = choice
    if request.parallel is not None and tools:
        body["parallel_tool_calls"] = request.parallel
    _thinking(request, body)
    _output(request, body, budget)
    _settings(request, profile, body, losses)
    if request.stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    return body, names


# --- tools -----------------------------------------------------------------------------------------------------------


def _tools(
    request: Request, names: Names, profile: ChatProfile, body: Json, losses: Losses, *, budget: schema.Budget
) -> list[Json]:
    blocks: list[Json] = []
    for tool in request.tools:
        if tool.defer:
            losses.add(f"{tool.path}.defer_loading", "all tools are offered at once")
        if tool.cache is not None:
            losses.add(f"{tool.path}.cache_control", "OpenAI caches prompts automatically")
        match tool.kind:
            case "function":
                blocks.append(_function(tool, request, names.declare(tool), losses, budget))
            case "custom" if profile.custom_tools:
                blocks.append(_custom(tool, names.declare(tool)))
            case "custom":
                blocks.append(_plain(names.declare(tool), as_text.with_grammar(tool), as_text.INPUT_ONLY))
            case "web_search":
                body["web_search_options"] = _web_search(tool, losses)
            case "hosted" | "tool_search":
                row = policy.tool_row(request.fmt, tool.type)
                if row is not None:
                    policy.settle(row, Target.CHAT, tool.path, losses)
    return blocks


def _plain(name: str, description: str, parameters: Json) -> Json:
    function: Json = {"name": name}
    if description:
        function["description"] = description
    function["parameters"] = parameters
    return {"type": "function", "function": function}


def _function(tool: Tool, request: Request, name: str, losses: Losses, budget: schema.Budget) -> Json:
    block = _plain(name, as_text.described(tool), tool.schema or schema.EMPTY_OBJECT)
    if tool.strict:
        if request.fmt is Format.ANTHROPIC and not schema.is_openai_strict(tool.schema, tool.schema_path, budget):
            losses.add(f"{tool.path}.strict", "OpenAI's strict mode needs closed objects with required properties")
        else:
            block["function"]["strict"] = True
    return block


def _custom(tool: Tool, name: str) -> Json:
    custom: Json = {"name": name}
    if tool.description:
        custom["description"] = tool.description
    grammar = tool.grammar
    if grammar is not None and grammar.get("type") == "grammar":  # nested in Chat, but not in Responses
        inner = {key: grammar[key] for key in ("definition", "syntax") if key in grammar}
        custom["format"] = {"type": "grammar", "grammar": inner}
    elif grammar is not None:
        custom["format"] = grammar
    return {"type": "custom", "custom": custom}


def _web_search(tool: Tool, losses: Losses) -> Json:
    options: Json = {}
    for key, value in tool.options.items():
        match key:
            case "user_location":
                place = (
                    {name: part for name, part in value.items() if name != "type"} if isinstance(value, dict) else {}
                )
                options[key] = {"type": "approximate", "approximate": place}
            case "search_context_size":
                options[key] = value
            case _:
                losses.add(f"{tool.path}.{key}", "Chat's web search does not support this setting")
    return options


def _tool_choice(request: Request, tools: list[Json], names: Names) -> Any:
    choice = request.tool_choice
    if choice is None or (not tools and choice.mode in ("auto", "none", "allowed")):
        return None
    if choice.mode in ("auto", "none"):
        return choice.mode
    if not tools:
        raise bad(choice.path, "there are no tools to choose from")
    if choice.mode == "required":
        return "required"
    kinds = {tool[tool["type"]]["name"]: tool["type"] for tool in tools}
    chosen = []
    for name in choice.names:
        upstream_name = names.upstream(name)
        kind = kinds.get(upstream_name, "function")
        chosen.append({"type": kind, kind: {"name": upstream_name}})
    if choice.mode == "allowed":
        mode = "required" if choice.required else "auto"
        return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": chosen}}
    return chosen[0]


# --- settings --------------------------------------------------------------------------------------------------------


def _thinking(request: Request, body: Json) -> None:
    settings = request.thinking
    effort = settings.effort
    if not effort and settings.kind in ("off", "between_tools"):
        effort = "none"
    elif not effort and settings.budget is not None:
        effort = effort_of_budget(settings.budget)
    if effort in _KNOWN_EFFORTS:
        body["reasoning_effort"] = effort


def _output(request: Request, body: Json, budget: schema.Budget) -> None:
    output = request.output
    if output is None:
        return
    if output.schema is None:
        body["response_format"] = {"type": "json_object"}
        return
    strict = output.strict
    if strict is None and request.fmt is Format.ANTHROPIC:
        strict = schema.is_openai_strict(output.schema, f"{output.path}.schema", budget)
    name = schema_name(output.name)
    definition: Json = {"name": name, "schema": output.schema}
    if output.description:
        definition["description"] = output.description
    if strict is not None:
        definition["strict"] = strict
    body["response_format"] = {"type": "json_schema", "json_schema": definition}


def _settings(request: Request, profile: ChatProfile, body: Json, losses: Losses) -> None:
    if request.max_tokens is not None:
        body[profile.limit_field] = request.max_tokens
    if request.stops:
        body["stop"] = request.stops[:_MAX_STOPS]
        if len(request.stops) > _MAX_STOPS:
            losses.add(request.stops_path, f"Chat accepts {_MAX_STOPS} stop sequences")
    for field in ("temperature", "top_p", "verbosity", "user"):
        value = getattr(request, field)
        if value is not None and value != "":
            body[field] = value
    if request.cache_key:
        body["prompt_cache_key"] = request.cache_key
    if request.service_tier not in ("", "auto"):
        body["service_tier"] = "priority" if request.service_tier == "ultrafast" else request.service_tier
