"""`/claude`: the user's own Claude Code as a provider, through the Claude Agent SDK.

config → request (a Messages request as a `Plan`) → launch (a `Plan` as a command line) → transport, connection (a
process) → answer_events (its messages as events) → stream. `processes` and `pool` count the processes, `sessions` keeps some,
`provider` walks a request through all of it. `tool_permissions` asks about an agent's tools, `callers` keeps them from answering. The SDK
is imported with the first request.
"""

from __future__ import annotations

from ccproxy.providers.claude_sdk.callers import asked_by_tool
from ccproxy.providers.claude_sdk.config import ClaudeSdkConfig
from ccproxy.providers.claude_sdk.provider import ClaudeSdkProvider

__all__ = ["ClaudeSdkConfig", "ClaudeSdkProvider", "asked_by_tool"]
