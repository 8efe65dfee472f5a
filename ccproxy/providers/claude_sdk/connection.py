"""One Claude Code process, driven through the SDK's client."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, ResultMessage
from claude_agent_sdk.types import CanUseTool, HookMatcher, Message

from ccproxy.errors import InternalError, Unavailable, UpstreamBroken
from ccproxy.providers.claude_sdk.launch import CLIENT_TOOLS_SERVER, late_settings
from ccproxy.providers.claude_sdk.request import Content, Plan, Turn
from ccproxy.providers.claude_sdk.tools import build_tool_server
from ccproxy.providers.claude_sdk.transport import CliTransport

OLDEST_VERSION = (2, 1, 248)
"""Older ones read files and run commands that a prompt names: they do not know the option that forbids it."""
_TAKEN_WITHIN: Final = 60.0
"""Seconds within which a process must have accepted an earlier turn; it takes milliseconds."""


class Connection:
    """A process that answers one message after another. Not for two tasks at once."""

    def __init__(
        self, transport: CliTransport, *, can_use_tool: CanUseTool | None = None, before_tool: Any = None
    ) -> None:
        self._transport = transport
        self._can_use_tool = can_use_tool
        self._before_tool = before_tool
        self._client: ClaudeSDKClient | None = None
        self._messages: AsyncIterator[Message] | None = None
        self._spent = 0.0
        self.info: dict[str, Any] = {}

    @property
    def alive(self) -> bool:
        """Whether the process can take a message."""
        return self._transport.is_ready()

    @property
    def pid(self) -> int | None:
        return self._transport.pid

    @property
    def last_words(self) -> Sequence[str]:
        """The latest lines that the process wrote to stderr, without secrets."""
        return self._transport.last_words

    async def open(self, plan: Plan | None, *, late: bool = False) -> None:
        """Start the process if need be and shake hands. With `late`, send a spare process the plan that it was started without.

        Raises:
            Unavailable: the program cannot be run, or is too old.

        """
        servers: dict[str, Any] = {}
        if plan is not None and plan.client_tools:
            server = build_tool_server(CLIENT_TOOLS_SERVER, plan.client_tools)
            servers[CLIENT_TOOLS_SERVER] = {"type": "sdk", "name": CLIENT_TOOLS_SERVER, "instance": server}
        options = ClaudeAgentOptions(
            verbatim_prompts=True,
            mcp_servers=servers,
            can_use_tool=self._can_use_tool,
            hooks={"PreToolUse": [HookMatcher(hooks=[self._before_tool])]} if self._before_tool else None,
        )
        self._client = ClaudeSDKClient(options, transport=self._transport)
        await self._client.connect()
        self._messages = self._client.receive_messages()
        self.info = await self._client.get_server_info() or {}
        version = self.info.get("claude_code_version")
        if not _is_new_enough(version):
            oldest = ".".join(map(str, OLDEST_VERSION))
            raise Unavailable(
                f"Claude Code {version or '(no version)'} is too old: {oldest} or later is needed. Run `claude update`"
            )
        if late and plan is not None:
            # Not `set_model`: that asks the upstream whether the model exists, a call that no client made.
            await self._transport.apply_settings({"model": plan.model, **late_settings(plan)})

    async def tell(
        self, turns: Sequence[Turn], model: str, *, is_last: Callable[[dict[str, Any]], bool] | None = None
    ) -> None:
        """Put earlier turns into the conversation, and ask the last. `is_last` gets each raw message as it is read, and returns whether it is the last that the
        process may send.

        User turns are queued and assistant turns are not, so each user turn is waited for before the next is sent.
        """
        messages = [message for turn in turns for message in turn.messages]
        for role, content in messages[:-1]:
            if role == "assistant":
                await self._send(_assistant(content, model))
            else:
                await self._send({**_user(content), "shouldQuery": False})
                await self._result()
        self._transport.is_last = is_last
        await self._send(_user(messages[-1][1]))

    def cost_of(self, total: float | None) -> float | None:
        """The cost of an answer, from the process's total after it: Claude Code adds up."""
        if total is None:
            return None
        cost, self._spent = total - self._spent, total
        return cost

    def messages(self) -> AsyncIterator[Message]:
        """The messages of the process, until the connection ends."""
        if self._messages is None:
            raise InternalError("Claude Code was not connected")
        return self._messages

    async def close(self) -> None:
        """End the process within 0.2 s and leave nothing behind."""
        await self._transport.end()
        if self._client is not None:
            client, self._client = self._client, None
            await client.disconnect()

    async def _send(self, message: dict[str, Any]) -> None:
        async def one() -> AsyncIterator[dict[str, Any]]:
            yield message

        if self._client is None:
            raise InternalError("Claude Code was not connected")
        await self._client.query(one())

    async def _result(self) -> None:
        try:
            async with asyncio.timeout(_TAKEN_WITHIN):
                async for message in self.messages():
                    if isinstance(message, ResultMessage):
                        if message.is_error:
                            reason = (message.result or message.subtype)[:500]
                            raise UpstreamBroken(f"Claude Code did not accept the conversation: {reason}")
                        return
        except TimeoutError:
            raise UpstreamBroken(f"Claude Code did not accept the conversation within {_TAKEN_WITHIN:g} s") from None
        raise UpstreamBroken("Claude Code ended while it received the conversation")


def _user(content: Content) -> dict[str, Any]:
    return {
        "type": "user",
        "message": {"role": "user", "content": content},
        "parent_tool_use_id": None,
        "uuid": str(uuid.uuid4()),
    }


def _assistant(content: Content, model: str) -> dict[str, Any]:
    called = any(block["type"] == "tool_use" for block in content if isinstance(block, dict))
    message = {
        "id": f"msg_{uuid.uuid4().hex[:24]}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": "tool_use" if called else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }
    return {"type": "assistant", "message": message, "parent_tool_use_id": None, "uuid": str(uuid.uuid4())}


def _is_new_enough(version: Any) -> bool:
    numbers = re.match(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})", str(version))
    return numbers is not None and tuple(map(int, numbers.groups())) >= OLDEST_VERSION
