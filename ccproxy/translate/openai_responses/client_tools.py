"""Tools of Responses that have their own item types and that the client runs, as functions for other upstreams.

The schemas follow https://platform.openai.com/docs/api-reference/responses: the `action` or `operation` of the call item are the arguments of the function.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ccproxy.translate.neutral import Variety

Json = dict[str, Any]

_STRING = {"type": "string"}
_STRINGS = {"type": "array", "items": _STRING}
_MILLISECONDS = {"type": "integer", "description": "Time limit in milliseconds."}


class ClientTool(NamedTuple):
    """A tool type: the function for it, the type of the call item, and the member of the item with the arguments."""

    name: str
    description: str
    schema: Json
    item: str
    member: str


CLIENT_TOOLS: dict[str, ClientTool] = {
    "local_shell": ClientTool(
        "local_shell",
        "Run a command on the user's machine.",
        {
            "type": "object",
            "properties": {
                "command": {**_STRINGS, "description": "The program and its arguments."},
                "env": {"type": "object", "additionalProperties": _STRING},
                "working_directory": _STRING,
                "timeout_ms": _MILLISECONDS,
                "user": _STRING,
            },
            "required": ["command"],
        },
        "local_shell_call",
        "action",
    ),
    "shell": ClientTool(
        "shell",
        "Run shell commands, one after the other.",
        {
            "type": "object",
            "properties": {"commands": _STRINGS, "timeout_ms": _MILLISECONDS, "max_output_length": {"type": "integer"}},
            "required": ["commands"],
        },
        "shell_call",
        "action",
    ),
    "apply_patch": ClientTool(
        "apply_patch",
        "Create, update or delete a file. `diff` is in the V4A diff format.",
        {
            "type": "object",
            "properties": {
                "type": {"type": "string", "enum": ["create_file", "update_file", "delete_file"]},
                "path": _STRING,
                "diff": {**_STRING, "description": "For create_file and update_file."},
            },
            "required": ["type", "path"],
        },
        "apply_patch_call",
        "operation",
    ),
    "tool_search": ClientTool(
        "tool_search",
        "Search for more tools. Those that are found can be called from the next turn on.",
        {"type": "object", "properties": {"query": _STRING}, "required": ["query"]},
        "tool_search_call",
        "arguments",
    ),
}

VARIETY_OF_ITEM: dict[str, Variety] = {
    "local_shell_call": "local_shell",
    "shell_call": "shell",
    "apply_patch_call": "apply_patch",
    "tool_search_call": "tool_search",
}


def call_item(variety: Variety, arguments: Json) -> Json:
    """The type and arguments of the call item for a call of one of these functions."""
    tool = CLIENT_TOOLS[variety]
    if variety == "local_shell":
        arguments = {"type": "exec", "env": {}, **arguments}
    item: Json = {"type": tool.item, tool.member: arguments}
    if variety == "tool_search":
        item["execution"] = "client"
    return item
