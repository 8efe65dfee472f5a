"""Content blocks of Anthropic messages, read into parts of the neutral form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ccproxy.translate import capsule, policy
from ccproxy.translate.checks import (
    a_list,
    an_object,
    bad,
    note_unknown,
    optional_bool,
    optional_object,
    optional_text,
    quoted,
    text,
)
from ccproxy.translate.formats import Format
from ccproxy.translate.losses import Losses
from ccproxy.translate.neutral import (
    Content,
    Document,
    Image,
    Opaque,
    Reasoning,
    RequestPart,
    Text,
    ToolCall,
    ToolResult,
)

Json = dict[str, Any]

_TEXT = frozenset(("type", "text", "cache_control"))
_SOURCE = frozenset(("type", "media_type", "data", "url", "file_id", "content"))
_IMAGE = frozenset(("type", "source", "cache_control"))
_DOCUMENT = frozenset(("type", "source", "title", "context", "cache_control"))
_SEARCH_RESULT = frozenset(("type", "source", "title", "content", "cache_control"))
_TOOL_USE = frozenset(("type", "id", "name", "input", "cache_control", "caller"))
_TOOL_RESULT = frozenset(("type", "tool_use_id", "content", "is_error", "cache_control"))


def parse_content(content: object, path: str, losses: Losses) -> list[RequestPart]:
    """The parts of a message, of `system` or of a tool result: a string, or an array of blocks."""
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
        return Text(value, path, parse_cache(block, path))
    return Text(value, path)


def parse_cache(block: Json, path: str) -> Json | None:
    """The cache breakpoint on a block or tool."""
    return optional_object(block.get("cache_control"), f"{path}.cache_control") or None


def _image(block: Json, path: str, losses: Losses) -> Image:
    note_unknown(block, _IMAGE, path, losses)
    source = an_object(block.get("source"), f"{path}.source")
    kind = source.get("type")
    note_unknown(source, _SOURCE, f"{path}.source", losses)
    image = Image(path, cache=parse_cache(block, path))
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
            "only the provider that stores the file knows its id: send the data instead",
            "unsupported_content",
        )
    return bad(f"{path}.source.type", f"unknown source {quoted(kind)}")


def _document(block: Json, path: str, losses: Losses) -> Document:
    note_unknown(block, _DOCUMENT, path, losses)
    source = an_object(block.get("source"), f"{path}.source")
    kind = source.get("type")
    note_unknown(source, _SOURCE, f"{path}.source", losses)
    document = Document(
        path,
        title=optional_text(block.get("title"), f"{path}.title"),
        context=optional_text(block.get("context"), f"{path}.context"),
        cache=parse_cache(block, path),
    )
    if kind == "base64":
        document.media_type = text(source.get("media_type"), f"{path}.source.media_type")
        document.data = text(source.get("data"), f"{path}.source.data")
    elif kind == "url":
        document.url = text(source.get("url"), f"{path}.source.url")
    elif kind == "text":
        document.media_type = optional_text(source.get("media_type"), f"{path}.source.media_type")
        document.text = text(source.get("data"), f"{path}.source.data")
    elif kind == "content":
        document.content = _plain_parts(source.get("content"), f"{path}.source.content", losses)
    else:
        raise _bad_source(kind, path)
    return document


def _plain_parts(content: object, path: str, losses: Losses) -> list[Text | Image]:
    """The content of a document: text and images only."""
    parts: list[Text | Image] = []
    for part in parse_content(content, path, losses):
        if not isinstance(part, Text | Image):
            raise bad(path, "only text and images are allowed here")
        parts.append(part)
    return parts


def _search_result(block: Json, path: str, losses: Losses) -> Document:
    note_unknown(block, _SEARCH_RESULT, path, losses)
    return Document(
        path,
        title=optional_text(block.get("title"), f"{path}.title"),
        source=optional_text(block.get("source"), f"{path}.source"),
        content=_plain_parts(block.get("content"), f"{path}.content", losses),
        cache=parse_cache(block, path),
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
            losses.add(f"{path}.caller", "programmatic tool calling works only at Anthropic")
    arguments = block.get("input")
    if not isinstance(arguments, dict):
        raise bad(f"{path}.input", "must be an object")
    identity, name = block.get("id"), block.get("name")
    if not isinstance(identity, str) or not isinstance(name, str):
        raise bad(f"{path}.{'name' if isinstance(identity, str) else 'id'}", "must be a string")
    cache = parse_cache(block, path) if "cache_control" in block else None
    return ToolCall(path, identity, name, input=arguments, cache=cache)


def _tool_result(block: Json, path: str, losses: Losses) -> ToolResult:
    note_unknown(block, _TOOL_RESULT, path, losses)
    content = block.get("content")
    parts: str | list[Content]
    if content is None:
        parts = ""
    elif isinstance(content, str):
        parts = content
    else:
        parts = []
        for part in parse_content(content, f"{path}.content", losses):
            if not isinstance(part, Text | Image | Document | Opaque):
                raise bad(
                    f"{path}.content", "a tool result may contain only text, images, documents and search results"
                )
            parts.append(part)
    return ToolResult(
        path,
        text(block.get("tool_use_id"), f"{path}.tool_use_id"),
        parts,
        optional_bool(block.get("is_error"), f"{path}.is_error") or False,
        cache=parse_cache(block, path),
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
