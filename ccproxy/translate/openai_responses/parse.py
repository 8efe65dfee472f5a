"""A Responses request, read into the neutral form. https://platform.openai.com/docs/api-reference/responses/create"""

from __future__ import annotations

from typing import Any

from ccproxy.translate.checks import (
    an_object,
    bad,
    note_unknown,
    optional_bool,
    optional_int,
    optional_number,
    optional_object,
    optional_text,
    quoted,
    text,
    texts,
    too_deep,
)
from ccproxy.translate.formats import Format
from ccproxy.translate.jsontext import is_deep
from ccproxy.translate.losses import Losses
from ccproxy.translate.neutral import OutputFormat, Request, Text, Turn
from ccproxy.translate.openai_responses.items import parse_input
from ccproxy.translate.openai_responses.skeleton import ECHOED
from ccproxy.translate.openai_responses.tools import parse_choice, parse_tools

Json = dict[str, Any]


def parse(body: Json, losses: Losses) -> Request:
    """Read a request. Raises `BadRequest` with the JSON path of an invalid value."""
    request = Request(Format.OPENAI_RESPONSES, body, text(body.get("model"), "model"))
    echoed = [value for value in map(body.get, ECHOED) if value]
    if echoed and is_deep(echoed):
        raise too_deep(body)
    instructions = optional_text(body.get("instructions"), "instructions")
    if instructions:
        request.turns.append(Turn("system", [Text(instructions, "instructions")], "instructions"))
    request.tools.extend(parse_tools(body.get("tools"), "tools", losses))
    parse_input(request, losses)
    if all(turn.role == "system" for turn in request.turns) and not body.get("input"):
        raise bad("input", "must contain at least one item")
    request.tool_choice = parse_choice(body.get("tool_choice"))
    request.parallel = optional_bool(body.get("parallel_tool_calls"), "parallel_tool_calls")
    _settings(request, losses)
    return request


def _settings(request: Request, losses: Losses) -> None:
    body = request.raw
    request.max_tokens = optional_int(body.get("max_output_tokens"), "max_output_tokens")
    request.max_tokens_path = "max_output_tokens"
    request.temperature = optional_number(body.get("temperature"), "temperature")
    request.top_p = optional_number(body.get("top_p"), "top_p")
    request.stream = optional_bool(body.get("stream"), "stream") or False
    user = optional_text(body.get("user"), "user")
    request.user = optional_text(body.get("safety_identifier"), "safety_identifier") or user
    request.service_tier = optional_text(body.get("service_tier"), "service_tier")
    request.cache_key = optional_text(body.get("prompt_cache_key"), "prompt_cache_key")
    request.include = frozenset(texts(body.get("include"), "include"))
    request.include_usage = True
    text_settings = optional_object(body.get("text"), "text")
    request.verbosity = optional_text(text_settings.get("verbosity"), "text.verbosity")
    request.output = _output(optional_object(text_settings.get("format"), "text.format"), losses)
    note_unknown(text_settings, frozenset(("format", "verbosity")), "text", losses)
    _thinking(request, losses)


def _output(output: Json, losses: Losses) -> OutputFormat | None:
    note_unknown(output, frozenset(("type", "schema", "name", "description", "strict")), "text.format", losses)
    match output.get("type"):
        case None | "text":
            return None
        case "json_object":
            return OutputFormat("text.format")
        case "json_schema":
            return OutputFormat(
                "text.format",
                an_object(output.get("schema"), "text.format.schema"),
                optional_text(output.get("name"), "text.format.name"),
                optional_text(output.get("description"), "text.format.description"),
                optional_bool(output.get("strict"), "text.format.strict"),
            )
        case other:
            raise bad("text.format.type", f"unknown text format {quoted(other)}")


def _thinking(request: Request, losses: Losses) -> None:
    reasoning = optional_object(request.raw.get("reasoning"), "reasoning")
    settings = request.thinking
    settings.path = "reasoning"
    settings.effort = optional_text(reasoning.get("effort"), "reasoning.effort")
    summary = optional_text(reasoning.get("summary"), "reasoning.summary")
    summary = summary or optional_text(reasoning.get("generate_summary"), "reasoning.generate_summary")
    settings.visible = True if summary else None
    note_unknown(reasoning, frozenset(("effort", "summary", "generate_summary")), "reasoning", losses)
