"""Messages of a Chat Completions request, each read into one turn of the neutral form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ccproxy.translate import attachments
from ccproxy.translate.checks import (
    a_list,
    an_object,
    bad,
    note_unknown,
    optional_list,
    optional_object,
    optional_text,
    pick,
    quoted,
    text,
)
from ccproxy.translate.losses import Losses
from ccproxy.translate.neutral import Content, Document, Image, Opaque, RequestPart, Text, ToolCall, ToolResult, Turn
from ccproxy.translate.openai_chat.reasoning import parse_reasoning

Json = dict[str, Any]

_PLAIN = frozenset(("role", "content", "name"))
_NO_NAMES = "the upstream has no names of speakers"
_ASSISTANT = frozenset(
    (
        "role",
        "content",
        "refusal",
        "tool_calls",
        "function_call",
        "reasoning_details",
        "reasoning_content",
        "reasoning",
        "thinking_blocks",
        "audio",
        "annotations",
        "name",
    )
)
_TOOL = frozenset(("role", "content", "tool_call_id", "name"))
_PART_CACHE = frozenset(("cache_control", "prompt_cache_breakpoint"))
_TEXT_PART = frozenset(("type", "text")) | _PART_CACHE
_IMAGE_PART = frozenset(("type", "image_url")) | _PART_CACHE
_FILE_PART = frozenset(("type", "file")) | _PART_CACHE


def parse_message(message: object, path: str, losses: Losses) -> Turn:
    """One message, by its role."""
    role = an_object(message, path).get("role")
    return pick(_MESSAGES, role, f"{path}.role", "role")(message, path, losses)


def _system(message: Json, path: str, losses: Losses) -> Turn:
    if len(message) > 2:
        _note_plain(message, path, losses)
    return Turn("system", _content(message.get("content"), f"{path}.content", losses), path)


def _user(message: Json, path: str, losses: Losses) -> Turn:
    if len(message) > 2:
        _note_plain(message, path, losses)
    return Turn("user", _content(message.get("content"), f"{path}.content", losses), path)


def _note_plain(message: Json, path: str, losses: Losses) -> None:
    note_unknown(message, _PLAIN, path, losses)
    if message.get("name") is not None:
        losses.add(f"{path}.name", _NO_NAMES)


def _assistant(message: Json, path: str, losses: Losses) -> Turn:
    parts: list[RequestPart] = []
    content = message.get("content")
    if content is not None:
        parts.extend(_content(content, f"{path}.content", losses))
    refusal = message.get("refusal")
    if refusal:
        parts.append(Text(text(refusal, f"{path}.refusal"), f"{path}.refusal"))
    for i, call in enumerate(optional_list(message.get("tool_calls"), f"{path}.tool_calls")):
        parts.append(_tool_call(an_object(call, f"{path}.tool_calls[{i}]"), f"{path}.tool_calls[{i}]", losses))
    if len(message) > 2 or content is None:
        legacy = optional_object(message.get("function_call"), f"{path}.function_call")
        if legacy:
            parts.append(_legacy_call(legacy, f"{path}.function_call"))
        if message.get("audio") is not None:
            raise bad(
                f"{path}.audio", "audio of an earlier answer is not supported by this upstream", "unsupported_content"
            )
        parts = parse_reasoning(message, path, parts)
        if message.get("annotations"):
            losses.add(f"{path}.annotations", "citations of an earlier answer")
        if message.get("name") is not None:
            losses.add(f"{path}.name", _NO_NAMES)
        note_unknown(message, _ASSISTANT, path, losses)
    return Turn("assistant", parts, path)


def _tool(message: Json, path: str, losses: Losses) -> Turn:
    note_unknown(message, _TOOL, path, losses)
    identity = text(message.get("tool_call_id"), f"{path}.tool_call_id")
    return Turn("user", [ToolResult(path, identity, _result(message, path, losses))], path)


def _function(message: Json, path: str, losses: Losses) -> Turn:
    name = text(message.get("name"), f"{path}.name")
    return Turn("user", [ToolResult(path, _legacy_id(name), _result(message, path, losses))], path)


def _result(message: Json, path: str, losses: Losses) -> str | list[Content]:
    content = message.get("content")
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return [
        part
        for part in _content(content, f"{path}.content", losses)
        if isinstance(part, Text | Image | Document | Opaque)
    ]


_MESSAGES: dict[str, Callable[[Json, str, Losses], Turn]] = {
    "system": _system,
    "developer": _system,
    "user": _user,
    "assistant": _assistant,
    "tool": _tool,
    "function": _function,
}


def _tool_call(call: Json, path: str, losses: Losses) -> ToolCall:
    kind = call.get("type", "function")
    if kind not in ("function", "custom"):
        raise bad(f"{path}.type", f"unknown tool call {quoted(kind)}")
    inner = an_object(call.get(kind), f"{path}.{kind}")
    field = "arguments" if kind == "function" else "input"
    if len(inner) > 2:
        note_unknown(inner, frozenset(("name", field)), f"{path}.{kind}", losses)
    if len(call) > 3:
        note_unknown(call, frozenset(("id", "type", kind, "index")), path, losses)
    return ToolCall(
        path,
        text(call.get("id"), f"{path}.id"),
        text(inner.get("name"), f"{path}.{kind}.name"),
        optional_text(inner.get(field), f"{path}.{kind}.{field}"),
        variety="function" if kind == "function" else "custom",
    )


def _legacy_id(name: str) -> str:
    """An id for a `function_call`, which has none: a call and a result with the same name belong together."""
    return f"call_{name}"


def _legacy_call(call: Json, path: str) -> ToolCall:
    name = text(call.get("name"), f"{path}.name")
    return ToolCall(path, _legacy_id(name), name, optional_text(call.get("arguments"), f"{path}.arguments"))


# --- content parts ---------------------------------------------------------------------------------------------------


def _content(content: object, path: str, losses: Losses) -> list[RequestPart]:
    if isinstance(content, str):
        return [Text(content, path)]
    if content is None:
        raise bad(path, "must be a string or an array")
    parts: list[RequestPart] = []
    for i, part in enumerate(a_list(content, path)):
        where = f"{path}[{i}]"
        kind = an_object(part, where).get("type")
        parts.append(pick(_PARTS, kind, f"{where}.type", "content part")(part, where, losses))
    return parts


def parse_cache(part: Json, path: str) -> Json | None:
    """A cache breakpoint: OpenAI's, or Anthropic's as OpenRouter's clients send it."""
    anthropic = optional_object(part.get("cache_control"), f"{path}.cache_control")
    if anthropic:
        return anthropic
    openai = optional_object(part.get("prompt_cache_breakpoint"), f"{path}.prompt_cache_breakpoint")
    if not openai:
        return None
    return {"type": "ephemeral", "ttl": "1h"} if openai.get("ttl") else {"type": "ephemeral"}


def _text_part(part: Json, path: str, losses: Losses) -> Text:
    if len(part) > 2:
        note_unknown(part, _TEXT_PART, path, losses)
    return Text(text(part.get("text"), f"{path}.text"), path, parse_cache(part, path))


def _refusal_part(part: Json, path: str, losses: Losses) -> Text:
    note_unknown(part, frozenset(("type", "refusal")), path, losses)
    return Text(text(part.get("refusal"), f"{path}.refusal"), path)


def _image_part(part: Json, path: str, losses: Losses) -> Image:
    note_unknown(part, _IMAGE_PART, path, losses)
    source = an_object(part.get("image_url"), f"{path}.image_url")
    note_unknown(source, frozenset(("url", "detail")), f"{path}.image_url", losses)
    image = attachments.image(text(source.get("url"), f"{path}.image_url.url"), path)
    image.detail, image.detail_path = (
        optional_text(source.get("detail"), f"{path}.image_url.detail"),
        f"{path}.image_url.detail",
    )
    image.cache = parse_cache(part, path)
    return image


def _file_part(part: Json, path: str, losses: Losses) -> Document | Image:
    note_unknown(part, _FILE_PART, path, losses)
    source = an_object(part.get("file"), f"{path}.file")
    note_unknown(source, frozenset(("file_data", "file_id", "filename")), f"{path}.file", losses)
    if source.get("file_id") is not None and source.get("file_data") is None:
        raise bad(
            f"{path}.file.file_id",
            "only the provider that stores the file knows its id: send the data instead",
            "unsupported_content",
        )
    name = optional_text(source.get("filename"), f"{path}.file.filename")
    attachment = attachments.file(text(source.get("file_data"), f"{path}.file.file_data"), name, path)
    attachment.cache = parse_cache(part, path)
    return attachment


def _audio_part(_part: Json, path: str, _losses: Losses) -> Text:
    raise bad(path, "audio input is not supported by this upstream", "unsupported_content")


_PARTS: dict[str, Callable[[Json, str, Losses], Text | Image | Document]] = {
    "text": _text_part,
    "refusal": _refusal_part,
    "image_url": _image_part,
    "file": _file_part,
    "input_audio": _audio_part,
}
