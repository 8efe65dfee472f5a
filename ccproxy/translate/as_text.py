"""Content as plain text, for formats without an equivalent. All rules are deterministic."""

from __future__ import annotations

from typing import Any

from ccproxy.translate.jsontext import dump
from ccproxy.translate.neutral import Document, Opaque, Text, Tool

Json = dict[str, Any]


def document_head(document: Document) -> str:
    """The line that introduces a document."""
    label = "Search result" if document.source else "Document"
    head = f"[{label}: {document.title}]" if document.title else f"[{label}]"
    if document.source:
        head += f"\nSource: {document.source}"
    if document.context:
        head += f"\nContext: {document.context}"
    return head


def document_text(document: Document) -> str:
    """A document of plain text after the line that introduces it."""
    body = document.text
    if body is None:
        body = "\n".join(part.text for part in document.content or () if isinstance(part, Text))
    return f"{document_head(document)}\n\n{body}"


def error_text(text: str) -> str:
    """The result of a failed tool, for formats without a flag for errors."""
    return text if text.lstrip()[:5].lower() == "error" else f"Error: {text}"


def mark_error(parts: list[Json], kind: str) -> None:
    """Mark a result in parts as an error, in its first text."""
    for part in parts:
        if part.get("type") == kind:
            part["text"] = error_text(part["text"])
            return
    parts.insert(0, {"type": kind, "text": "Error:"})


def opaque_text(part: Opaque) -> str:
    """The text that stands for a part that only one format has; "" if there is none."""
    if part.type == "tool_reference":
        return f"Tool available: {part.raw.get('tool_name', '')}"
    if part.type == "compaction":
        content = part.raw.get("content")
        return content if isinstance(content, str) else ""
    return ""


def described(tool: Tool) -> str:
    """A tool's description with its input examples, for formats without a field for them."""
    if not tool.examples:
        return tool.description
    lines = "\n".join(dump(example) for example in tool.examples)
    return f"{tool.description}\n\nExamples of input:\n{lines}" if tool.description else f"Examples of input:\n{lines}"


INPUT_ONLY: Json = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "The whole input of the tool, as plain text."}},
    "required": ["input"],
}
"""The schema of a function that replaces a free-text tool."""


def with_grammar(tool: Tool) -> str:
    """The description of a free-text tool with its grammar, for formats without grammars."""
    grammar = tool.grammar or {}
    definition = grammar.get("definition")
    if not isinstance(definition, str):
        return tool.description
    text = f"The input must match this {grammar.get('syntax', '')} grammar:\n{definition}"
    return f"{tool.description}\n\n{text}" if tool.description else text
