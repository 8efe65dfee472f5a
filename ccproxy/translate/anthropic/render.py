"""A neutral request, written for the Anthropic Messages API. https://docs.claude.com/en/api/messages"""

from __future__ import annotations

from typing import Any

from ccproxy.translate import as_text, policy, schema
from ccproxy.translate.anthropic.conversation import Conversation
from ccproxy.translate.checks import bad, quoted
from ccproxy.translate.formats import Format
from ccproxy.translate.losses import Losses
from ccproxy.translate.names import ANTHROPIC_NAME_LIMIT, Names
from ccproxy.translate.neutral import Request, Tool, ToolCall
from ccproxy.translate.policy import Target
from ccproxy.translate.profiles import AnthropicProfile, clamp_effort, effort_of_budget

Json = dict[str, Any]

WEB_SEARCH = "web_search_20250305"
TOOL_SEARCH = "tool_search_tool_bm25_20251119"
_MAX_BREAKPOINTS = 4
_MIN_BUDGET = 1024
_BUDGETS = {
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16_384,
    "xhigh": 32_768,
    "max": 32_768,
    "ultra": 32_768,
}


def render(request: Request, profile: AnthropicProfile, losses: Losses) -> tuple[Json, Names]:
    """The request body, and the tool names for the answer. Raises `BadRequest` for unsupported values."""
    names = Names(ANTHROPIC_NAME_LIMIT)
    budget = schema.Budget()
    tools = _tools(request, names, losses, budget)
    conversation = Conversation(names, losses, mid_system=profile.mid_system)
    conversation.add(request)
    body: Json = {"model": request.model, "max_tokens": _max_tokens(request, profile, losses)}
    if conversation.system:
        body["system"] = conversation.system
    body["messages"] = conversation.messages
    choice = _tool_choice(request, tools, names)
    if tools:
        body["tools"] = [block for _, block in tools]
        if choice is not None:
            body["tool_choice"] = choice
    elif _mentions_tools(request):
        body["tools"] = _mentioned(request, names)
        body["tool_choice"] = {"type": "none"}
    _thinking(request, profile, body, losses)
    _output(request, body, losses, budget)
    _settings(request, profile, body, losses)
    marked = [block for _, block in tools if "cache_control" in block] + conversation.breakpoints
    if marked:
        _limit_breakpoints(marked, losses)
    elif profile.auto_cache_control:  # OpenAI's clients expect automatic caching
        body["cache_control"] = {"type": "ephemeral"}
    if request.stream:
        body["stream"] = True
    return body, names


def _max_tokens(request: Request, profile: AnthropicProfile, losses: Losses) -> int:
    limit = request.max_tokens
    if limit is None:
        return profile.max_tokens
    if profile.limit is not None and limit > profile.limit:
        losses.add(request.max_tokens_path, f"the model's limit is {profile.limit} tokens")
        return profile.limit
    return limit


# --- tools -----------------------------------------------------------------------------------------------------------


def _tools(request: Request, names: Names, losses: Losses, budget: schema.Budget) -> list[tuple[Tool, Json]]:
    """The tools with their blocks."""
    for tool in request.tools:
        if tool.kind == "web_search":
            names.reserve("web_search")
        elif tool.kind == "tool_search":
            names.reserve("tool_search_tool_bm25")
    searches = any(tool.kind == "tool_search" for tool in request.tools)
    blocks: list[tuple[Tool, Json]] = []
    for tool in request.tools:
        block = _tool(tool, names, losses, budget)
        if block is None:
            continue
        if tool.defer:
            if searches:
                block["defer_loading"] = True
            else:
                losses.add(f"{tool.path}.defer_loading", "without a tool search, all tools are offered at once")
        if tool.cache is not None:
            block["cache_control"] = tool.cache
        blocks.append((tool, block))
    return _allowed(request, blocks, names, losses)


def _tool(tool: Tool, names: Names, losses: Losses, budget: schema.Budget) -> Json | None:
    match tool.kind:
        case "function":
            return _function(tool, names.declare(tool), budget)
        case "custom":
            return _block(names.declare(tool), as_text.with_grammar(tool), as_text.INPUT_ONLY)
        case "web_search":
            return _web_search(tool, losses)
        case "tool_search":
            return {"type": TOOL_SEARCH, "name": "tool_search_tool_bm25"}
        case "hosted":
            row = policy.tool_row(Format.OPENAI_RESPONSES, tool.type)
            if row is not None:
                policy.settle(row, Target.ANTHROPIC, tool.path, losses)
            return None


def _block(name: str, description: str, input_schema: Json) -> Json:
    block: Json = {"name": name}
    if description:
        block["description"] = description
    block["input_schema"] = input_schema
    return block


def _function(tool: Tool, name: str, budget: schema.Budget) -> Json:
    if tool.strict and tool.variety == "function":
        parameters = schema.for_anthropic(tool.schema or schema.EMPTY_OBJECT, tool.schema_path, budget)
        block = _block(name, tool.description, parameters)
        block["strict"] = True
        return block
    return _block(name, tool.description, schema.tool_input(tool.schema, tool.schema_path, budget))


def _web_search(tool: Tool, losses: Losses) -> Json:
    block: Json = {"type": WEB_SEARCH, "name": "web_search"}
    for key, value in tool.options.items():
        if key == "search_context_size":
            if value != "medium":
                losses.add(f"{tool.path}.search_context_size", "Anthropic decides how much it reads")
        else:
            block[key] = value
    return block


def _allowed(request: Request, tools: list[tuple[Tool, Json]], names: Names, losses: Losses) -> list[tuple[Tool, Json]]:
    """Apply `allowed_tools`: Anthropic has no equivalent, so other tools are left out, which changes the prefix of the prompt."""
    choice = request.tool_choice
    if choice is None or choice.mode != "allowed" or (choice.required and len(choice.names) == 1):
        return tools
    losses.add(choice.path, "tools that are not allowed are left out, which changes the cached prefix")
    allowed = {names.upstream(name) for name in choice.names} | set(choice.names)
    return [(tool, block) for tool, block in tools if block["name"] in allowed or tool.name in allowed]


def _tool_choice(request: Request, tools: list[tuple[Tool, Json]], names: Names) -> Json | None:
    choice = request.tool_choice
    block: Json | None = None
    if choice is not None:
        match choice.mode:
            case "auto":
                block = {"type": "auto"}
            case "none":
                block = {"type": "none"}
            case "required":
                block = {"type": "any"}
            case "tool":
                block = {"type": "tool", "name": _choose(choice.names[0], tools, names)}
            case "allowed" if choice.required and len(choice.names) == 1:
                block = {"type": "tool", "name": _choose(choice.names[0], tools, names)}
            case "allowed":
                block = {"type": "any" if choice.required else "auto"}
        if not tools and choice.mode in ("required", "tool"):
            raise bad(choice.path, "there are no tools to choose from")
    if request.parallel is False:
        block = block or {"type": "auto"}
        if block["type"] != "none":
            block["disable_parallel_tool_use"] = True
    return block


def _choose(name: str, tools: list[tuple[Tool, Json]], names: Names) -> str:
    """The upstream's name of a chosen tool. A tool in a namespace may be chosen by its own name."""
    for tool, block in tools:
        if tool.name == name:
            upstream_name: str = block["name"]
            return upstream_name
    return names.upstream(name)


def _mentions_tools(request: Request) -> bool:
    return any(isinstance(part, ToolCall) for turn in request.turns if turn.role == "assistant" for part in turn.parts)


def _mentioned(request: Request, names: Names) -> list[Json]:
    """Declarations of the tools in the conversation: Anthropic requires them, although they may not be called."""
    seen: dict[str, Json] = {}
    for turn in request.turns:
        for part in turn.parts:
            if isinstance(part, ToolCall):
                name = names.upstream(part.name, part.namespace)
                seen.setdefault(name, {"name": name, "input_schema": schema.EMPTY_OBJECT})
    return list(seen.values())


# --- thinking --------------------------------------------------------------------------------------------------------


def _thinking(request: Request, profile: AnthropicProfile, body: Json, losses: Losses) -> None:
    settings = request.thinking
    if settings.kind == "off" or settings.effort == "none":
        if "disabled" in profile.thinking:
            body["thinking"] = {"type": "disabled"}
        elif profile.thinking == {"adaptive"} and not profile.forced_choice:
            losses.add(settings.path, "this model always thinks")
    elif settings.effort or settings.kind or settings.visible:
        if settings.budget is not None and "enabled" in profile.thinking:
            _manual(request, settings.budget, body, losses)
        elif "adaptive" in profile.thinking:
            _adaptive(request, profile, body)
        elif "enabled" in profile.thinking:
            if settings.effort or settings.kind:
                _manual(request, settings.budget or _BUDGETS.get(settings.effort, 8192), body, losses)
        else:
            losses.add(settings.path, "this model does not support thinking")
    if body.get("thinking", {}).get("type") == "enabled":
        _check_manual(request, body, losses)
    choice = body.get("tool_choice", {}).get("type")
    if choice in ("any", "tool") and not profile.forced_choice:
        raise bad("tool_choice", "this model does not accept a forced tool choice: use auto", "unsupported_parameter")


def _adaptive(request: Request, profile: AnthropicProfile, body: Json) -> None:
    settings = request.thinking
    body["thinking"] = {"type": "adaptive", "display": "summarized"} if settings.visible else {"type": "adaptive"}
    effort = settings.effort or (effort_of_budget(settings.budget) if settings.budget is not None else "")
    effort = clamp_effort(effort, profile.efforts) if effort else ""
    if effort:
        body["output_config"] = {"effort": effort}


def _manual(request: Request, budget: int, body: Json, losses: Losses) -> None:
    """Enable thinking with a budget below `max_tokens`, which leaves room for an answer."""
    limit: int = body["max_tokens"]
    if limit <= _MIN_BUDGET:
        losses.add(
            request.thinking.path,
            f"thinking needs more than {_MIN_BUDGET} tokens, and {request.max_tokens_path} allows {limit}",
        )
        return
    body["thinking"] = {"type": "enabled", "budget_tokens": max(_MIN_BUDGET, min(budget, limit - _MIN_BUDGET))}


def _check_manual(request: Request, body: Json, losses: Losses) -> None:
    """Disable thinking with a budget if a tool is forced, or if the thinking of a tool loop is missing."""
    if body.get("tool_choice", {}).get("type") in ("any", "tool"):
        losses.add(
            request.thinking.path,
            "thinking with a budget cannot be combined with a forced tool choice: it is off for this request",
        )
        del body["thinking"]
        return
    messages: list[Json] = body["messages"]
    if len(messages) < 2 or messages[-1]["role"] != "user" or messages[-2]["role"] != "assistant":
        return
    if messages[-1]["content"][0].get("type") != "tool_result":
        return
    if messages[-2]["content"][0].get("type") not in ("thinking", "redacted_thinking"):
        losses.add(
            request.thinking.path, "the thinking before this tool result is missing: thinking is off for this request"
        )
        del body["thinking"]


# --- settings --------------------------------------------------------------------------------------------------------


def _output(request: Request, body: Json, losses: Losses, budget: schema.Budget) -> None:
    output = request.output
    if output is None:
        return
    if output.schema is None:
        losses.add(output.path, "Anthropic needs a schema to constrain the answer to JSON")
        return
    if output.description:
        losses.add(f"{output.path}.description", "Anthropic accepts only the schema")
    config = body.setdefault("output_config", {})
    constraint = schema.for_anthropic(output.schema, f"{output.path}.schema", budget)
    config["format"] = {"type": "json_schema", "schema": constraint}


def _settings(request: Request, profile: AnthropicProfile, body: Json, losses: Losses) -> None:
    if request.verbosity and request.fmt is Format.OPENAI_RESPONSES:  # in Chat it is a separate field, see the policy
        losses.add("text.verbosity", "not supported")
    stops = [stop for stop in request.stops if stop.strip()]
    if len(stops) != len(request.stops):
        losses.add(request.stops_path, "Anthropic does not accept blank stop sequences")
    if stops:
        body["stop_sequences"] = stops
    _sampling(request, profile, body, losses)
    if request.user:
        body["metadata"] = {"user_id": request.user}
    match request.service_tier:
        case "" | "auto":
            pass
        case "default":
            body["service_tier"] = "standard_only"
        case "priority" | "fast" | "ultrafast" if profile.fast:
            body["speed"] = "fast"
        case tier:
            losses.add(
                "service_tier",
                f"{quoted(tier)}: faster answers cost more and have to be enabled in the configuration"
                if tier != "flex"
                else "Anthropic has no such tier",
            )


def _sampling(request: Request, profile: AnthropicProfile, body: Json, losses: Losses) -> None:
    thinks = body.get("thinking", {}).get("type") in ("enabled", "adaptive")
    parameters = {"temperature": request.temperature, "top_p": request.top_p, "top_k": request.top_k}
    for field, value in parameters.items():
        if value is None:
            continue
        if not profile.takes_sampling:
            losses.add(field, "this version or model does not accept sampling parameters")
        elif thinks and not (field == "temperature" and value == 1):
            losses.add(field, "sampling parameters cannot be combined with thinking")
        elif field == "temperature":
            if value > 1:
                losses.add(field, "Anthropic's maximum is 1")
            body[field] = min(value, 1)
        elif field == "top_p" and "temperature" in body:
            losses.add(field, "Anthropic accepts temperature or top_p, but not both")
        else:
            body[field] = value


def _limit_breakpoints(marked: list[Json], losses: Losses) -> None:
    """Remove breakpoints beyond the four that Anthropic accepts. The last ones cover the most, and remain."""
    for block in marked[: max(0, len(marked) - _MAX_BREAKPOINTS)]:
        del block["cache_control"]
    if len(marked) > _MAX_BREAKPOINTS:
        losses.add("cache_control", f"at most {_MAX_BREAKPOINTS} cache breakpoints are possible: the last ones remain")
