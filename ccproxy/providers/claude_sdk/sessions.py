"""Conversations that keep their process: `/claude/{session_id}/…`.

A session's process has the conversation in it, so that a request which extends it sends the new turn alone.
Everything else about a session can be built again from the next request, which holds the whole conversation.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

from ccproxy.errors import Conflict
from ccproxy.providers.claude_sdk.request import Plan, Turn, assistant_key

if TYPE_CHECKING:
    from ccproxy.providers.claude_sdk.connection import Connection


class Session:
    """One conversation. `connection` is there while its process lives; `said` are the keys of the turns that the
    process knows.
    """

    def __init__(self, identifier: str) -> None:
        self.id = identifier
        self.lock = asyncio.Lock()
        self.users = 0
        self.connection: Connection | None = None
        self.plan_key = ""
        self.said: list[str] = []
        self.last_used = 0.0

    @property
    def idle(self) -> bool:
        """Nobody uses it, and it holds a process."""
        return self.users == 0 and self.connection is not None

    def new_turns(self, plan: Plan) -> tuple[Turn, ...] | None:
        """The turns that the process does not know yet; `None` if the plan is not an extension of its conversation."""
        if self.connection is None or not self.connection.alive:
            return None
        known = len(self.said)
        if self.plan_key != plan.key or known >= len(plan.turns) or plan.turns[known].role != "user":
            return None
        return plan.turns[known:] if [turn.key for turn in plan.turns[:known]] == self.said else None

    def remember(self, plan: Plan, texts: list[str]) -> None:
        """The process has said `texts` after the plan's turns."""
        self.plan_key = plan.key
        self.said = [*(turn.key for turn in plan.turns), assistant_key(texts)]


class Sessions:
    """All sessions by id, the least recently used first. Holds only those in use and those with a living process."""

    def __init__(
        self, ttl: float, busy: Literal["wait", "reject"], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ttl = ttl
        self._busy = busy
        self._clock = clock
        self._sessions: dict[str, Session] = {}

    @asynccontextmanager
    async def use(self, identifier: str) -> AsyncIterator[Session]:
        """The session, for one request at a time.

        Raises:
            Conflict: another request uses it and `session_busy = "reject"`.

        """
        session = self._sessions.setdefault(identifier, Session(identifier))
        if session.users and self._busy == "reject":
            raise Conflict(
                f'the session {identifier} answers another request (providers.claude_sdk.session_busy = "reject")'
            )
        session.users += 1
        try:
            async with session.lock:
                yield session
        finally:
            session.users -= 1
            session.last_used = self._clock()
            self._sessions.pop(identifier, None)
            if session.users or session.connection is not None:
                self._sessions[identifier] = session  # at the end: most recently used

    def take_idle(self) -> Connection | None:
        """The process of the session that was idle longest, taken out of it."""
        longest = next((session for session in self._sessions.values() if session.idle), None)
        return self._take(longest) if longest is not None else None

    def take_expired(self) -> list[Connection]:
        """The processes of the sessions that were idle for too long, taken out of them."""
        oldest = self._clock() - self._ttl
        expired = [session for session in self._sessions.values() if session.idle and session.last_used <= oldest]
        return [connection for connection in map(self._take, expired) if connection is not None]

    def next_expiry(self) -> float | None:
        """In how many seconds the next idle session is to be ended."""
        waits = [session.last_used + self._ttl - self._clock() for session in self._sessions.values() if session.idle]
        return max(0.0, min(waits)) if waits else None

    def status(self) -> list[dict[str, Any]]:
        now = self._clock()
        return [
            {
                "id": session.id,
                "busy": session.users > 0,
                "waiting": max(0, session.users - 1),
                "pid": session.connection.pid if session.connection else None,
                "turns": len(session.said),
                "idle_seconds": round(now - session.last_used, 1) if session.idle else 0,
            }
            for session in self._sessions.values()
        ]

    def _take(self, session: Session) -> Connection | None:
        del self._sessions[session.id]
        connection, session.connection = session.connection, None
        return connection
