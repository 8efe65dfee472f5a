"""Claude Code's two questions about a tool call, put to the permission broker.

Claude Code asks the callback only about calls that its own rules do not allow. A hook sees every call before that, so that a deny rule of ccproxy's applies to
those as well. Claude Code goes on as if nothing had been said when a hook fails or takes longer than a minute, so the hook itself never does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import Any, Final

from claude_agent_sdk import PermissionResultAllow, PermissionResultDeny, ToolPermissionContext

from ccproxy.permissions.broker import PermissionBroker, Verdict
from ccproxy.permissions.paths import CallContext

logger = logging.getLogger(__name__)

JUDGED_WITHIN: Final = 20.0
"""Seconds within which the rules must have been applied. A file system that hangs can delay them; the call is denied then."""

_MOST_FOLDERS: Final = 1000
_NOT_JUDGED: Final = Verdict(allowed=False, by="rule", message="Denied: ccproxy could not apply its user's rules.")


class ToolPermissions:
    """Decides about the tools of one process. The client's own tools pass: they run at the client."""

    def __init__(
        self,
        broker: PermissionBroker,
        client_tools: Collection[str],
        session_id: str | None,
        context: CallContext,
    ) -> None:
        """`context` has the folder in which the process starts and its home."""
        self._broker = broker
        self._client_tools = client_tools
        self._session_id = session_id
        self._context = context
        self._folders: dict[str, str] = {}  # of calls that the callback may be asked about, by their ids

    async def can_use_tool(
        self, tool: str, arguments: dict[str, Any], context: ToolPermissionContext
    ) -> PermissionResultAllow | PermissionResultDeny:
        if tool in self._client_tools:
            return PermissionResultAllow()
        verdict = await self._broker.ask(
            tool,
            arguments,
            context=self._context_of(context.tool_use_id),
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
        self._note_folder(tool_use_id, call.get("cwd"))
        verdict = await self._judge(tool, arguments, tool_use_id)
        if verdict is None or verdict.allowed:
            return {}
        return {
            "hookSpecificOutput": {
                "hookEventName": "PreToolUse",
                "permissionDecision": "deny",
                "permissionDecisionReason": verdict.message,
            }
        }

    def _note_folder(self, tool_use_id: str | None, folder: object) -> None:
        """Remember the working folder of a call: commands change it, and subagents have their own."""
        if tool_use_id is not None and isinstance(folder, str):
            self._folders[tool_use_id] = folder
            if len(self._folders) > _MOST_FOLDERS:
                del self._folders[next(iter(self._folders))]

    def _context_of(self, tool_use_id: str | None) -> CallContext:
        folder = self._folders.get(tool_use_id or "")
        return self._context if folder is None else CallContext(folder, self._context.home)

    async def _judge(self, tool: str, arguments: dict[str, Any], tool_use_id: str | None) -> Verdict | None:
        try:
            async with asyncio.timeout(JUDGED_WITHIN):
                verdict = await self._broker.judge(tool, arguments, self._context_of(tool_use_id))
        except Exception:
            logger.exception("The permission rules could not be applied to a call of %r: it is denied", tool[:200])
            verdict = _NOT_JUDGED
        if verdict is not None and not verdict.allowed:
            try:
                async with asyncio.timeout(JUDGED_WITHIN):
                    await self._broker.record_refusal(
                        tool, arguments, verdict, session_id=self._session_id, tool_use_id=tool_use_id
                    )
            except Exception:
                logger.exception("A denied call of %r could not be recorded", tool[:200])
        return verdict
