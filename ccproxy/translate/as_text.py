"""Content as plain text, for formats that have no better words for it. Every rule is deterministic and stands here once."""

from __future__ import annotations

from typing import Any

from ccproxy.translate.jsontext import dump
from ccproxy.translate.neutral import Document, Opaque, Text, Tool

Json = dict[str, Any]


def document_head(document: Document) -> str:
    """The line that says what a document is."""
    label = "Search result" if document.source else "Document"
    head = f"[{label}: {document.title}]" if document.title else f"[{label}]"
    if document.source:
        head += f"\nSource: {document.source}"
    if document.context:
        head += f"\nContext: {document.context}"
    return head


def document_text(document: Document) -> str:
    """A document of plain text, under a line that says what it is."""
    body = document.text
    if body is None:
        body = "\n".join(part.text for part in document.content or () if isinstance(part, Text))
    return f"{document_head(document)}\n\n{body}"


def error_text(text: str) -> str:
    """A failed tool's result where the format has no flag for it."""
    return text if text.lstrip()[:5].lower() == "error" else f"Error: {text}"


def mark_error(parts: list[Json], kind: str) -> None:
    """The same for a result in parts: the first text says it."""
    for part in parts:
        if part.get("type") == kind:
            part["text"] = error_text(part["text"])
            return
    parts.insert(0, {"type": kind, "text": "Error:"})


def opaque_text(part: Opaque) -> str:
    """What can be said in words of a part that only one format knows."""
    if part.type == "tool_reference":
        return f"Tool available: {part.raw.get('tool_name', '')}"
    if part.type == "compaction":
        content = part.raw.get("content")
        return content if isinstance(content, str) else ""
    return ""


def described(tool: Tool) -> str:
    """A tool's description with its input examples, for formats that have no place for them."""
    if not tool.examples:
        return tool.description
    lines = "\n".join(dump(example) for example in tool.examples)
    return f"{tool.description}\n\nExamples of input:\n{lines}" if tool.description else f"Examples of input:\n{lines}"


INPUT_ONLY: Json = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "The whole input of the tool, as plain text."}},
    "required": ["input"],
}
"""The schema of a function that stands for a tool of free text."""


def with_grammar(tool: Tool) -> str:
    """The description of a free-text tool with its grammar, for formats that do not know grammars."""
    grammar = tool.grammar or {}
    definition = grammar.get("definition")
    if not isinstance(definition, str):
        return tool.description
    text = f"The input must match this {grammar.get('syntax', '')} grammar:\n{definition}"
    return f"{tool.description}\n\n{text}" if tool.description else text
