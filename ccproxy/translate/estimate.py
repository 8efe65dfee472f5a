"""A rough count of tokens, where the upstream cannot be asked. No price is computed from it.

A token is about four characters of English or code, or one Chinese character. An image is about 1,600 tokens, the most that Claude spends on one
(https://docs.claude.com/en/docs/build-with-claude/vision), and a PDF page about 2,000, at some 50 KB per page. Every message and tool adds a few tokens for
its frame. The estimate is within 20 % for text, and less exact for PDFs.
"""

from __future__ import annotations

from typing import Any

from ccproxy.translate import jsontext
from ccproxy.translate.checks import too_deep
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
"""UTF-8 bytes beyond one per character: a Chinese character has two, an accented letter one."""
IMAGE_TOKENS = 1600
PDF_PAGE_TOKENS = 2000
PDF_PAGE_BASE64 = 70_000
MESSAGE_TOKENS = 4
TOOLS_TOKENS = 300
"""The instructions on tool use that a provider adds once when there are tools."""


def estimate_tokens(fmt: Format, body: Json) -> int:
    """Return the input tokens of a request of this format. Raises `BadRequest` when the body is not a request."""
    try:
        return _estimate(fmt, body)
    except jsontext.TooDeep as error:
        raise too_deep(body) from error


def _estimate(fmt: Format, body: Json) -> int:
    request = DIALECTS[fmt].parse(body, Losses())
    total = float(MESSAGE_TOKENS)
    for turn in request.turns:
        total += MESSAGE_TOKENS + sum(_part(part) for part in turn.parts)
    if request.tools:
        total += TOOLS_TOKENS
    for tool in request.tools:
        total += (
            MESSAGE_TOKENS * 2
            + text_tokens(tool.name)
            + text_tokens(tool.description)
            + (_object(tool.schema) if tool.schema else 0)
        )
    if request.output is not None and request.output.schema is not None:
        total += _object(request.output.schema)
    return max(1, round(total))


def text_tokens(text: str) -> float:
    """Return how many tokens a text is, roughly."""
    tokens = len(text) / CHARACTERS_PER_TOKEN
    if text.isascii():
        return tokens
    return tokens + (len(text.encode("utf-8", "surrogatepass")) - len(text)) / EXTRA_BYTES_PER_TOKEN


def _object(value: Any) -> float:
    return text_tokens(jsontext.dump(value))


def _part(part: RequestPart) -> float:
    match part:
        case Text():
            return text_tokens(part.text)
        case Image():
            return IMAGE_TOKENS
        case Document():
            return _document(part)
        case ToolCall():
            return (
                MESSAGE_TOKENS * 2
                + text_tokens(part.name)
                + (text_tokens(part.arguments) if part.arguments is not None else _object(part.input))
            )
        case ToolResult():
            inner = (
                text_tokens(part.content)
                if isinstance(part.content, str)
                else sum(_part(piece) for piece in part.content)
            )
            return MESSAGE_TOKENS * 2 + inner
        case Reasoning():
            return text_tokens(part.text)
        case Opaque():
            return _object(part.raw)
        case Verbatim():
            return _object(part.raw)


def _document(document: Document) -> float:
    if document.text is not None:
        return text_tokens(document.text)
    if document.content is not None:
        return sum(_part(part) for part in document.content)
    return PDF_PAGE_TOKENS * max(1, len(document.data) // PDF_PAGE_BASE64)
