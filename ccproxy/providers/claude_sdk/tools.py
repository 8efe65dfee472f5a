"""The client's own tools, offered to Claude Code by an MCP server inside this process.

Claude Code calls them; the calls are never answered here. They reach the client as `tool_use` blocks, the process ends, and the client's next request has
the results. Both major versions of `mcp` are supported: 1 registers handlers by decorators, 2 by arguments of the constructor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import mcp.types
from mcp.server import Server

_IS_MCP_2 = not hasattr(Server, "list_tools")


def build_tool_server(name: str, tools: Sequence[dict[str, Any]]) -> Any:
    """A server that lists `tools` (Messages API definitions, schemas untouched) and never answers a call."""
    listed = [_tool(tool) for tool in tools]
    server_class: Any = Server

    if _IS_MCP_2:

        async def list_tools_2(_context: Any, _params: Any) -> Any:
            return mcp.types.ListToolsResult(tools=listed)

        async def call_tool_2(_context: Any, _params: Any) -> Any:
            await asyncio.Event().wait()

        return server_class(name, on_list_tools=list_tools_2, on_call_tool=call_tool_2)

    server = server_class(name)

    async def list_tools_1() -> list[Any]:
        return listed

    async def call_tool_1(_name: str, _arguments: dict[str, Any]) -> Any:
        await asyncio.Event().wait()

    server.list_tools()(list_tools_1)
    server.call_tool(validate_input=False)(call_tool_1)
    return server


def _tool(tool: dict[str, Any]) -> Any:
    return mcp.types.Tool.model_validate(
        {
            "name": tool["name"],
            "description": tool.get("description", ""),
            "inputSchema": tool["input_schema"],
            "annotations": {"readOnlyHint": True},  # calls of one message are made at the same time
            "_meta": {"anthropic/alwaysLoad": True},  # and never hidden behind a tool search
        }
    )
