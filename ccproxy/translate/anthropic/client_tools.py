"""Tools that Anthropic defines and the client runs, as functions for other upstreams.

Schemas as published: https://docs.claude.com/en/docs/agents-and-tools/tool-use (bash, text editor, memory).
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_STRING = {"type": "string"}
_INTEGER = {"type": "integer"}
_RANGE = {
    "type": "array",
    "items": {"type": "integer"},
    "description": "First and last line; -1 is the end of the file.",
}


def _object(properties: Json, *required: str) -> Json:
    return {"type": "object", "properties": properties, "required": list(required)}


_BASH = _object(
    {
        "command": {
            "type": "string",
            "description": "The bash command to run. Required unless the tool is being restarted.",
        },
        "restart": {"type": "boolean", "description": "True restarts the tool; else leave it out."},
    }
)

_EDIT = {
    "path": {"type": "string", "description": "Absolute path to a file or folder."},
    "file_text": {"type": "string", "description": "For `create`: the content of the file."},
    "old_str": {
        "type": "string",
        "description": "For `str_replace`: the text to replace, which must occur exactly once.",
    },
    "new_str": {"type": "string", "description": "For `str_replace`: the new text."},
    "insert_line": {
        "type": "integer",
        "description": "For `insert`: the line after which to insert; 0 is the beginning.",
    },
    "insert_text": {"type": "string", "description": "For `insert`: the text."},
    "view_range": _RANGE,
}


def _editor(*commands: str) -> Json:
    return _object({"command": {"type": "string", "enum": list(commands)}, **_EDIT}, "command", "path")


_MEMORY = _object(
    {
        "command": {"type": "string", "enum": ["view", "create", "str_replace", "insert", "delete", "rename"]},
        **_EDIT,
        "path": {"type": "string", "description": "A path under /memories."},
        "old_path": {"type": "string", "description": "For `rename`: the path as it is."},
        "new_path": {"type": "string", "description": "For `rename`: the path to be."},
    },
    "command",
)

_RUN = "Run commands in a bash shell that keeps its state between calls."
_FILES = "View, create and edit files."
_NOTES = "Read and write the memory folder /memories, which outlives this conversation."

_TOOLS: dict[str, tuple[str, Json]] = {
    "bash_": (_RUN, _BASH),
    "text_editor_20241022": (_FILES, _editor("view", "create", "str_replace", "insert", "undo_edit")),
    "text_editor_20250124": (_FILES, _editor("view", "create", "str_replace", "insert", "undo_edit")),
    "text_editor_": (_FILES, _editor("view", "create", "str_replace", "insert")),
    "memory_": (_NOTES, _MEMORY),
}


def published(kind: str) -> tuple[str, Json] | None:
    """The description and input schema of a tool type such as `bash_20250124`; None for tools that the client does not run."""
    return next((tool for prefix, tool in _TOOLS.items() if kind.startswith(prefix)), None)
