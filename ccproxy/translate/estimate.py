"""How many tokens a request is, roughly, where the upstream cannot be asked: nobody is billed for a guess.

Four characters of English or code are about a token, a Chinese character is about one, an image about 1,600 (the most that Claude spends on one), a page of
a PDF about 2,000 at some 50 KB. Every message and tool adds a few for its frame. Expect 20 % to either side, and more for PDFs.
"""

from __future__ import annotations

from typing import Any

from ccproxy.translate import jsontext
from ccproxy.translate.dialects import DIALECTS
from ccproxy.translate.formats import Format
from ccproxy.translate.losses import Losses
from ccproxy.translate.neutral import (
    Document,
    Image,
    Opaque,
    Reasoning,
    RequestPart,
    Text,
    ToolCall,
    ToolResult,
    Verbatim,
)

Json = dict[str, Any]

CHARACTERS_PER_TOKEN = 3.8
EXTRA_BYTES_PER_TOKEN = 2.4
"""Bytes beyond one a character: a Chinese character has two, an accent one."""
IMAGE_TOKENS = 1600
PDF_PAGE_TOKENS = 2000
PDF_PAGE_BASE64 = 70_000
MESSAGE_TOKENS = 4
TOOLS_TOKENS = 300
"""What a provider says to the model once when there are tools."""


def estimate_tokens(fmt: Format, body: Json) -> int:
    """The input tokens of a request of this format. Raises `BadRequest` for what is no request."""
    request = DIALECTS[fmt].parse(body, Losses())
    total = float(MESSAGE_TOKENS)
    for turn in request.turns:
        total += MESSAGE_TOKENS + sum(_part(part) for part in turn.parts)
    if request.tools:
        total += TOOLS_TOKENS
    for tool in request.tools:
        total += (
            MESSAGE_TOKENS * 2
            + _text(tool.name)
            + _text(tool.description)
            + (_object(tool.schema) if tool.schema else 0)
        )
    if request.output is not None and request.output.schema is not None:
        total += _object(request.output.schema)
    return max(1, round(total))


def _text(text: str) -> float:
    tokens = len(text) / CHARACTERS_PER_TOKEN
    if text.isascii():
        return tokens
    return tokens + (len(text.encode("utf-8", "surrogatepass")) - len(text)) / EXTRA_BYTES_PER_TOKEN


def _object(value: Any) -> float:
    return _text(jsontext.dump(value))


def _part(part: RequestPart) -> float:
    match part:
        case Text():
            return _text(part.text)
        case Image():
            return IMAGE_TOKENS
        case Document():
            return _document(part)
        case ToolCall():
            return (
                MESSAGE_TOKENS * 2
                + _text(part.name)
                + (_text(part.arguments) if part.arguments is not None else _object(part.input))
            )
        case ToolResult():
            inner = (
                _text(part.content) if isinstance(part.content, str) else sum(_part(piece) for piece in part.content)
            )
            return MESSAGE_TOKENS * 2 + inner
        case Reasoning():
            return _text(part.text)
        case Opaque():
            return _object(part.raw)
        case Verbatim():
            return _object(part.raw)


def _document(document: Document) -> float:
    if document.text is not None:
        return _text(document.text)
    if document.content is not None:
        return sum(_part(part) for part in document.content)
    return PDF_PAGE_TOKENS * max(1, len(document.data) // PDF_PAGE_BASE64)
