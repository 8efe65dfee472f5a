"""A neutral request, written for the Responses API: OpenAI's public one, or the Codex backend with its allow-list and its two forms.

https://platform.openai.com/docs/api-reference/responses/create; the Codex rules are those of codex-rs `ResponsesApiRequest`.
"""

from __future__ import annotations

import hashlib
from typing import Any

from ccproxy.translate import as_text, codex, policy, schema
from ccproxy.translate.checks import bad
from ccproxy.translate.formats import Format
from ccproxy.translate.jsontext import Garbled, parse
from ccproxy.translate.losses import Losses
from ccproxy.translate.names import OPENAI_NAME_LIMIT, Names, schema_name
from ccproxy.translate.neutral import Request, Text, Tool, Turn
from ccproxy.translate.openai_responses.conversation import Conversation
from ccproxy.translate.profiles import ResponsesProfile, clamp_effort, effort_of_budget

Json = dict[str, Any]

LITE_NAMESPACE = "functions"
REFUSED = "refused by the upstream"
_KEY_LIMIT = 64
_MIN_OUTPUT = 16


def render(
    request: Request, profile: ResponsesProfile, losses: Losses, session_id: str | None = None
) -> tuple[Json, Names, dict[str, str]]:
    """The request body, the tool names for the answer, and headers for the upstream. Raises `BadRequest` for unsupported values."""
    names = Names(OPENAI_NAME_LIMIT)
    budget = schema.Budget()
    tools = _tools(request, names, profile, losses, budget)
    leading = _leading(request.turns)
    namespace = LITE_NAMESPACE if profile.lite and tools else ""
    conversation = Conversation(
        names, losses, profile.target, lite=profile.lite, phases=profile.codex or profile.reasons, namespace=namespace
    )
    body: Json = {"model": request.model}
    choice = _tool_choice(request, tools, names, profile, losses)
    if profile.lite:
        _lite_head(tools if choice != "none" else [], conversation)
        if choice not in (None, "auto"):
            losses.add("tool_choice", "this model accepts only the tool choice auto")
        tools, choice = [], "auto"
    if profile.codex and not profile.lite:
        body["instructions"] = _instructions(request.turns[:leading], losses)
        conversation.add(request.turns[leading:])
    else:
        conversation.add(request.turns)
    if not conversation.items:
        raise bad("messages", "contains nothing that can be sent")
    body["input"] = conversation.items
    if tools:
        body["tools"] = tools
    if choice is not None and (tools or profile.lite):
        body["tool_choice"] = choice
    if profile.codex:
        body["parallel_tool_calls"] = request.parallel is not False and not profile.lite
    elif request.parallel is not None and tools:
        body["parallel_tool_calls"] = request.parallel
    _reasoning(request, profile, body, losses)
    _text(request, body, budget)
    _settings(request, profile, body, losses)
    _include(tools, body)
    body["store"] = False
    body["stream"] = codex.FIXED["stream"] if profile.codex else request.stream
    headers = _session(request, profile, body, session_id)
    return _allow(body, profile, losses), names, headers


def _allow(body: Json, profile: ResponsesProfile, losses: Losses) -> Json:
    """Remove everything that this backend refuses. The last step, so that nothing unknown is sent."""
    if profile.codex:
        body = {key: value for key, value in body.items() if key in codex.ACCEPTED}
    for path in sorted(profile.refused):
        reduced = without(body, path)
        if reduced != body:
            losses.note(path, REFUSED)
        body = reduced
    return body


def without(body: Json, path: str) -> Json:
    """The body without the parameter at a dotted path such as `text.verbosity`."""
    head, _, rest = path.partition(".")
    if head not in body:
        return body
    if not rest:
        return {key: value for key, value in body.items() if key != head}
    inner = body[head]
    return {**body, head: without(inner, rest)} if isinstance(inner, dict) else body


def _leading(turns: list[Turn]) -> int:
    """The number of turns at the beginning that are instructions. If no user turn follows, the last one remains a message."""
    count = next((i for i, turn in enumerate(turns) if turn.role != "system"), len(turns))
    return count - 1 if count and (count == len(turns) or turns[count].role == "assistant") else count


def _instructions(turns: list[Turn], losses: Losses) -> str:
    """The leading instructions as one text. The backend requires the key, but accepts an empty text."""
    texts: list[str] = []
    for turn in turns:
        for part in turn.parts:
            if isinstance(part, Text):
                if part.cache is not None:
                    losses.add(f"{part.path}.cache_control", "OpenAI caches prompts automatically")
                if part.text:
                    texts.append(part.text)
    return "\n\n".join(texts)


def _lite_head(tools: list[Json], conversation: Conversation) -> None:
    """Write tools for Responses-Lite: in a namespace in the first input item, instead of `tools`."""
    if tools:
        group = {"type": "namespace", "name": LITE_NAMESPACE, "description": "", "tools": tools}
        conversation.items.append({"type": "additional_tools", "role": "developer", "tools": [group]})


# --- tools -----------------------------------------------------------------------------------------------------------


def _tools(
    request: Request, names: Names, profile: ResponsesProfile, losses: Losses, budget: schema.Budget
) -> list[Json]:
    blocks: list[Json] = []
    for tool in request.tools:
        if tool.defer:
            losses.add(f"{tool.path}.defer_loading", "all tools are offered at once")
        if tool.cache is not None:
            losses.add(f"{tool.path}.cache_control", "OpenAI caches prompts automatically")
        block = _tool(tool, request, names, profile, losses, budget=budget)
        if block is not None:
            blocks.append(block)
    return blocks


def _tool(
    tool: Tool, request: Request, names: Names, profile: ResponsesProfile, losses: Losses, *, budget: schema.Budget
) -> Json | None:
    match tool.kind:
        case "function":
            return _function(tool, request, names.declare(tool), losses, budget)
        case "custom":
            return _custom(tool, names.declare(tool))
        case "web_search":
            if profile.lite:
                raise bad(tool.path, "this model does not support web search", "unsupported_parameter")
            return _web_search(tool, losses)
        case "hosted" | "tool_search":
            row = policy.tool_row(request.fmt, tool.type)
            if row is not None:
                policy.settle(row, profile.target, tool.path, losses)
            return None


def _function(tool: Tool, request: Request, name: str, losses: Losses, budget: schema.Budget) -> Json:
    parameters = tool.schema or schema.EMPTY_OBJECT
    if parameters.get("type") == "object" and "properties" not in parameters:
        parameters = {**parameters, "properties": {}}
    strict = tool.strict is True
    if strict and request.fmt is Format.ANTHROPIC and not schema.is_openai_strict(parameters, tool.schema_path, budget):
        losses.add(f"{tool.path}.strict", "OpenAI's strict mode needs closed objects with required properties")
        strict = False
    block: Json = {"type": "function", "name": name}
    description = as_text.described(tool)
    if description:
        block["description"] = description
    block["parameters"] = parameters
    block["strict"] = strict  # always sent: with the default, true, optional properties would become required
    return block


def _custom(tool: Tool, name: str) -> Json:
    block: Json = {"type": "custom", "name": name}
    if tool.description:
        block["description"] = tool.description
    if tool.grammar is not None:
        block["format"] = tool.grammar
    return block


def _web_search(tool: Tool, losses: Losses) -> Json:
    block: Json = {"type": "web_search"}
    for key, value in tool.options.items():
        match key:
            case "allowed_domains":
                block["filters"] = {"allowed_domains": value}
            case "user_location" | "search_context_size":
                block[key] = value
            case _:
                losses.add(f"{tool.path}.{key}", "OpenAI's web search does not support this setting")
    return block


def _tool_choice(request: Request, tools: list[Json], names: Names, profile: ResponsesProfile, losses: Losses) -> Any:
    choice = request.tool_choice
    if choice is None:
        return "auto" if profile.codex and tools else None
    if choice.mode in ("auto", "none"):
        return choice.mode
    if not tools:
        raise bad(choice.path, "there are no tools to choose from")
    if choice.mode == "required":
        return "required"
    kinds: dict[str, str] = {tool["name"] if "name" in tool else tool["type"]: tool["type"] for tool in tools}
    chosen = [_chosen(name, kinds, names) for name in choice.names]
    if choice.mode == "allowed":
        return {"type": "allowed_tools", "mode": "required" if choice.required else "auto", "tools": chosen}
    if chosen[0]["type"] == "web_search":
        if len(tools) > 1:
            losses.add(
                choice.path, "OpenAI's web search cannot be chosen: the model has to call some tool, but not this one"
            )
        return "required"
    return chosen[0]


def _chosen(name: str, kinds: dict[str, str], names: Names) -> Json:
    upstream_name = names.upstream(name)
    kind = kinds.get(upstream_name, "function")
    return {"type": kind} if kind == "web_search" else {"type": kind, "name": upstream_name}


# --- settings --------------------------------------------------------------------------------------------------------


def _reasoning(request: Request, profile: ResponsesProfile, body: Json, losses: Losses) -> None:
    settings = request.thinking
    effort = settings.effort
    if settings.kind in ("off", "between_tools") and not effort:
        effort = "none"
    elif not effort and settings.budget is not None:
        effort = effort_of_budget(settings.budget)
    if not profile.reasons:
        if effort not in ("", "none"):
            losses.add(settings.path, "this model does not support reasoning")
        return
    reasoning: Json = {}
    if effort:
        reasoning["effort"] = clamp_effort(effort, profile.efforts) or effort
    if settings.visible and (profile.codex or request.fmt is Format.ANTHROPIC):
        reasoning["summary"] = "auto"
    if profile.lite:
        reasoning["context"] = "all_turns"
    if reasoning:
        body["reasoning"] = reasoning


def _text(request: Request, body: Json, budget: schema.Budget) -> None:
    block: Json = {}
    output = request.output
    if output is not None and output.schema is None:
        block["format"] = {"type": "json_object"}
    elif output is not None:
        strict = output.strict
        if strict is None:
            strict = request.fmt is Format.ANTHROPIC and schema.is_openai_strict(
                output.schema, f"{output.path}.schema", budget
            )
        name = schema_name(output.name)
        block["format"] = {"type": "json_schema", "name": name, "schema": output.schema, "strict": strict}
        if output.description:
            block["format"]["description"] = output.description
    if request.verbosity:
        block["verbosity"] = request.verbosity
    if block:
        body["text"] = block


def _settings(request: Request, profile: ResponsesProfile, body: Json, losses: Losses) -> None:
    if not profile.codex:
        if request.max_tokens is not None:
            body["max_output_tokens"] = max(_MIN_OUTPUT, request.max_tokens)
        for field in ("temperature", "top_p"):
            value = getattr(request, field)
            if value is not None and profile.reasons:
                losses.add(field, "reasoning models do not accept sampling parameters")
            elif value is not None:
                body[field] = value
        if request.user:
            body["safety_identifier"] = request.user if len(request.user) <= _KEY_LIMIT else _digest(request.user)
    match request.service_tier:
        case "" | "auto":
            pass
        case "priority" | "fast":
            body["service_tier"] = "priority"
        case tier if profile.codex:
            losses.add("service_tier", f"the Codex backend knows no tier {tier}")
        case tier:
            body["service_tier"] = tier


def _include(tools: list[Json], body: Json) -> None:
    include = [codex.ENCRYPTED_REASONING]
    if any(tool["type"] == "web_search" for tool in tools):
        include.append("web_search_call.action.sources")
    body["include"] = include


def _session(request: Request, profile: ResponsesProfile, body: Json, session_id: str | None) -> dict[str, str]:
    """Set one key for all requests of a conversation, by which the backend finds the cached prompt. Return the headers."""
    key = session_id or request.cache_key or _claude_session(request.user)
    if not key and profile.codex:
        key = _digest(request.model + "\0" + _opening(request))
    if key:
        body["prompt_cache_key"] = key if len(key) <= _KEY_LIMIT else _digest(key)
    if not profile.codex:
        return {}
    key = body["prompt_cache_key"]
    headers = {"session-id": key if key.isascii() and key.isprintable() else _digest(key)}
    if profile.lite:
        headers[codex.LITE_HEADER] = "true"
    return headers


def _claude_session(user: str) -> str:
    """The id of Claude Code's session in `metadata.user_id`: in JSON, or after `_session_`."""
    if user.startswith("{"):
        try:
            value = parse(user)
        except Garbled:
            return ""
        session = value.get("session_id") if isinstance(value, dict) else None
        return session if isinstance(session, str) else ""
    return user.rpartition("_session_")[2] if "_session_" in user else ""


def _opening(request: Request) -> str:
    """The instructions and the first user turn, which stay the same while a conversation grows."""
    texts: list[str] = []
    for turn in request.turns:
        texts.extend(part.text for part in turn.parts if isinstance(part, Text))
        if turn.role == "user":
            break
    return "\0".join(texts)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
