"""A Chat Completions request, read into the neutral form. https://platform.openai.com/docs/api-reference/chat/create"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
)
from ccproxy.translate.formats import Format
from ccproxy.translate.losses import Losses
from ccproxy.translate.neutral import (
    OutputFormat,
    Request,
    Tool,
    ToolChoice,
)
from ccproxy.translate.openai_chat.messages import parse_cache, parse_message

Json = dict[str, Any]


def parse(body: Json, losses: Losses) -> Request:
    """Read a request. Raises `BadRequest` with the JSON path of an invalid value."""
    request = Request(Format.OPENAI_CHAT, body, text(body.get("model"), "model"))
    messages = a_list(body.get("messages"), "messages")
    if not messages:
        raise bad("messages", "at least one message is required")
    for i, message in enumerate(messages):
        request.turns.append(parse_message(message, f"messages[{i}]", losses))
    _tools(request, losses)
    _settings(request, losses)
    return request


# --- tools -----------------------------------------------------------------------------------------------------------


def _tools(request: Request, losses: Losses) -> None:
    body = request.raw
    for i, tool in enumerate(optional_list(body.get("tools"), "tools")):
        path = f"tools[{i}]"
        kind = an_object(tool, path).get("type", "function")
        request.tools.append(pick(_TOOLS, kind, f"{path}.type", "tool type")(tool, path, losses))
    for i, function in enumerate(optional_list(body.get("functions"), "functions")):
        request.tools.append(_function_tool(an_object(function, f"functions[{i}]"), f"functions[{i}]", losses))
    options = body.get("web_search_options")
    if options is not None:
        request.tools.append(_web_search(optional_object(options, "web_search_options"), losses))
    request.tool_choice = _choice(body, losses)
    request.parallel = optional_bool(body.get("parallel_tool_calls"), "parallel_tool_calls")


def _function_tool(function: Json, path: str, losses: Losses, cache: Json | None = None) -> Tool:
    note_unknown(function, frozenset(("name", "description", "parameters", "strict")), path, losses)
    return Tool(
        "function",
        text(function.get("name"), f"{path}.name"),
        path,
        optional_text(function.get("description"), f"{path}.description"),
        optional_object(function.get("parameters"), f"{path}.parameters") or None,
        optional_bool(function.get("strict"), f"{path}.strict"),
        cache=cache,
    )


def _function_type(tool: Json, path: str, losses: Losses) -> Tool:
    note_unknown(tool, frozenset(("type", "function", "cache_control")), path, losses)
    return _function_tool(
        an_object(tool.get("function"), f"{path}.function"), f"{path}.function", losses, parse_cache(tool, path)
    )


def _custom_type(tool: Json, path: str, losses: Losses) -> Tool:
    note_unknown(tool, frozenset(("type", "custom")), path, losses)
    path = f"{path}.custom"
    custom = an_object(tool.get("custom"), path)
    note_unknown(custom, frozenset(("name", "description", "format")), path, losses)
    grammar = optional_object(custom.get("format"), f"{path}.format")
    inner = grammar.get("grammar")
    if grammar.get("type") == "grammar" and isinstance(inner, dict):  # nested in Chat, but not in Responses
        note_unknown(inner, frozenset(("definition", "syntax")), f"{path}.format.grammar", losses)
        note_unknown(grammar, frozenset(("type", "grammar")), f"{path}.format", losses)
        grammar = {"type": "grammar", **inner}
    else:
        note_unknown(grammar, frozenset(("type", "definition", "syntax")), f"{path}.format", losses)
    description = optional_text(custom.get("description"), f"{path}.description")
    return Tool(
        "custom", text(custom.get("name"), f"{path}.name"), path, description, variety="custom", grammar=grammar or None
    )


_TOOLS: dict[str, Callable[[Json, str, Losses], Tool]] = {"function": _function_type, "custom": _custom_type}


def _web_search(options: Json, losses: Losses) -> Tool:
    path = "web_search_options"
    settings: Json = {}
    location = optional_object(options.get("user_location"), f"{path}.user_location")
    if location:
        settings["user_location"] = {
            "type": "approximate",
            **optional_object(location.get("approximate"), f"{path}.user_location.approximate"),
        }
    if options.get("search_context_size") is not None:
        settings["search_context_size"] = options["search_context_size"]
    note_unknown(options, frozenset(("user_location", "search_context_size")), path, losses)
    return Tool("web_search", "web_search", path, options=settings)


def _choice(body: Json, losses: Losses) -> ToolChoice | None:
    value, path = body.get("tool_choice"), "tool_choice"
    if value is None:
        value, path = body.get("function_call"), "function_call"
    if value is None:
        return None
    if isinstance(value, str):
        return pick(_PLAIN_CHOICES, value, path, "tool choice")(path)
    choice = an_object(value, path)
    if path == "function_call":
        return ToolChoice("tool", [text(choice.get("name"), "function_call.name")], path=path)
    kind = choice.get("type", "function")
    if kind == "allowed_tools":
        return _allowed(choice, losses)
    if kind in ("function", "custom"):
        inner = an_object(choice.get(kind), f"{path}.{kind}")
        return ToolChoice("tool", [text(inner.get("name"), f"{path}.{kind}.name")])
    return pick(_PLAIN_CHOICES, kind, f"{path}.type", "tool choice")(path)


def _allowed(choice: Json, _losses: Losses) -> ToolChoice:
    path = "tool_choice.allowed_tools"
    allowed = an_object(choice.get("allowed_tools"), path)
    names = []
    for i, tool in enumerate(a_list(allowed.get("tools"), f"{path}.tools")):
        where = f"{path}.tools[{i}]"
        kind = an_object(tool, where).get("type", "function")
        inner = tool.get(kind) if isinstance(kind, str) else None
        names.append(text(an_object(inner, where).get("name"), f"{where}.name"))
    return ToolChoice("allowed", names, allowed.get("mode") == "required")


_PLAIN_CHOICES: dict[str, Callable[[str], ToolChoice]] = {
    "auto": lambda path: ToolChoice("auto", path=path),
    "none": lambda path: ToolChoice("none", path=path),
    "required": lambda path: ToolChoice("required", path=path),
    "any": lambda path: ToolChoice("required", path=path),
}

# --- settings --------------------------------------------------------------------------------------------------------


def _settings(request: Request, losses: Losses) -> None:
    body = request.raw
    request.max_tokens = optional_int(body.get("max_completion_tokens"), "max_completion_tokens")
    request.max_tokens_path = "max_completion_tokens"
    if request.max_tokens is None:
        request.max_tokens = optional_int(body.get("max_tokens"), "max_tokens")
        request.max_tokens_path = "max_tokens"
    stop = body.get("stop")
    stops = [stop] if isinstance(stop, str) else optional_list(stop, "stop")
    request.stops = [text(item, f"stop[{i}]") for i, item in enumerate(stops)]
    request.stops_path = "stop"
    request.temperature = optional_number(body.get("temperature"), "temperature")
    request.top_p = optional_number(body.get("top_p"), "top_p")
    request.top_k = optional_int(body.get("top_k"), "top_k")
    request.stream = optional_bool(body.get("stream"), "stream") or False
    options = optional_object(body.get("stream_options"), "stream_options")
    request.include_usage = bool(options.get("include_usage"))
    note_unknown(options, frozenset(("include_usage", "include_obfuscation")), "stream_options", losses)
    request.verbosity = optional_text(body.get("verbosity"), "verbosity")
    user = optional_text(body.get("user"), "user")
    request.user = optional_text(body.get("safety_identifier"), "safety_identifier") or user
    request.service_tier = optional_text(body.get("service_tier"), "service_tier")
    request.cache_key = optional_text(body.get("prompt_cache_key"), "prompt_cache_key")
    request.output = _output(optional_object(body.get("response_format"), "response_format"), losses)
    _thinking(request, losses)


def _output(output: Json, losses: Losses) -> OutputFormat | None:
    note_unknown(output, frozenset(("type", "json_schema")), "response_format", losses)
    match output.get("type"):
        case None | "text":
            return None
        case "json_object":
            return OutputFormat("response_format")
        case "json_schema":
            path = "response_format.json_schema"
            definition = an_object(output.get("json_schema"), path)
            note_unknown(definition, frozenset(("name", "schema", "description", "strict")), path, losses)
            return OutputFormat(
                path,
                an_object(definition.get("schema"), f"{path}.schema"),
                optional_text(definition.get("name"), f"{path}.name"),
                optional_text(definition.get("description"), f"{path}.description"),
                optional_bool(definition.get("strict"), f"{path}.strict"),
            )
        case other:
            raise bad("response_format.type", f"unknown response format {quoted(other)}")


def _thinking(request: Request, losses: Losses) -> None:
    """Read settings for thinking: OpenAI's `reasoning_effort`, OpenRouter's `reasoning`, or Anthropic's `thinking` as other servers accept it."""
    body, settings = request.raw, request.thinking
    settings.effort, settings.path = optional_text(body.get("reasoning_effort"), "reasoning_effort"), "reasoning_effort"
    router = optional_object(body.get("reasoning"), "reasoning")
    if router:
        settings.path = "reasoning"
        settings.effort = settings.effort or optional_text(router.get("effort"), "reasoning.effort")
        settings.budget = optional_int(router.get("max_tokens"), "reasoning.max_tokens")
        enabled = optional_bool(router.get("enabled"), "reasoning.enabled")
        settings.kind = (
            "off" if enabled is False else "on" if settings.budget is not None else "adaptive" if enabled else ""
        )
        if router.get("exclude"):
            settings.visible = False
        note_unknown(router, frozenset(("effort", "max_tokens", "enabled", "exclude")), "reasoning", losses)
    thinking = optional_object(body.get("thinking"), "thinking")
    if thinking:
        settings.path = "thinking"
        kinds = {"enabled": "on", "adaptive": "adaptive", "disabled": "off"}
        kind = kinds.get(text(thinking.get("type"), "thinking.type"))
        if kind is None:
            raise bad("thinking.type", f"unknown kind of thinking {quoted(thinking['type'])}")
        settings.kind = kind  # type: ignore[assignment]  # the values of the table above
        settings.budget = optional_int(thinking.get("budget_tokens"), "thinking.budget_tokens")
        note_unknown(thinking, frozenset(("type", "budget_tokens")), "thinking", losses)
    if settings.visible is None and (settings.effort not in ("", "none") or settings.kind in ("on", "adaptive")):
        settings.visible = True
