"""Claude Code's two questions about a tool call, put to the permission broker.

Claude Code asks the callback only about calls that its own rules do not allow. A hook sees every call before it, so
that a deny rule of ccproxy's holds for those as well.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from claude_agent_sdk import PermissionResultAllow, PermissionResultDeny, ToolPermissionContext

from ccproxy.permissions.broker import PermissionBroker


class Gate:
    """Decides about the tools of one process. The client's own tools pass: they run at the client."""

    def __init__(self, broker: PermissionBroker, client_tools: Collection[str], session_id: str | None) -> None:
        self._broker = broker
        self._client_tools = client_tools
        self._session_id = session_id

    async def can_use_tool(
        self, tool: str, arguments: dict[str, Any], context: ToolPermissionContext
    ) -> PermissionResultAllow | PermissionResultDeny:
        if tool in self._client_tools:
            return PermissionResultAllow()
        verdict = await self._broker.ask(
            tool,
            arguments,
            session_id=self._session_id,
            tool_use_id=context.tool_use_id,
            description=context.description or context.title or "",
        )
        if verdict.allowed:
            return PermissionResultAllow(updated_input=verdict.updated_input)
        return PermissionResultDeny(message=verdict.message)

    async def before_tool(self, call: Any, tool_use_id: str | None, _context: Any) -> dict[str, Any]:
        tool, arguments = str(call.get("tool_name")), call.get("tool_input") or {}
        if tool in self._client_tools:
            return {}
        verdict = self._broker.judge(tool, arguments)
        if verdict is None or verdict.allowed:
            return {}
        self._broker.refused(tool, arguments, verdict, session_id=self._session_id, tool_use_id=tool_use_id)
        return {
            "hookSpecificOutput": {
                "hookEventName": "PreToolUse",
                "permissionDecision": "deny",
                "permissionDecisionReason": verdict.message,
            }
        }
