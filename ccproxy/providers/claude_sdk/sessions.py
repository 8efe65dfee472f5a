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

from ccproxy.errors import Conflict, TooManyRequests
from ccproxy.providers.claude_sdk.pool import RETRY_AFTER
from ccproxy.providers.claude_sdk.request import Plan, Turn, assistant_key, digest

if TYPE_CHECKING:
    from ccproxy.providers.claude_sdk.connection import Connection


class Session:
    """One conversation. `connection` is there while its process lives; `turns` and `said` are the number and the digest of the turns that the process knows."""

    def __init__(self, identifier: str) -> None:
        self.id = identifier
        self.lock = asyncio.Lock()
        self.users = 0
        self.connection: Connection | None = None
        self.plan_key = ""
        self.turns = 0
        self.said = ""
        self.last_used = 0.0

    @property
    def idle(self) -> bool:
        """True if no exchange uses the session, but it holds a process."""
        return self.users == 0 and self.connection is not None

    def new_turns(self, plan: Plan) -> tuple[Turn, ...] | None:
        """The turns that the process has not seen; None if the plan is not an extension of its conversation."""
        if self.connection is None or not self.connection.alive:
            return None
        first = self.turns
        if self.plan_key != plan.key or first >= len(plan.turns) or plan.turns[first].role != "user":
            return None
        return plan.turns[first:] if digest([turn.key for turn in plan.turns[:first]]) == self.said else None

    def remember(self, plan: Plan, texts: list[str]) -> None:
        """Note that the process has answered the plan's turns with `texts`."""
        self.plan_key = plan.key
        self.turns = len(plan.turns) + 1
        self.said = digest([*(turn.key for turn in plan.turns), assistant_key(texts)])


class Sessions:
    """All sessions by id, the least recently used first. Holds only those in use and those with a living process."""

    def __init__(
        self,
        ttl: float,
        busy: Literal["wait", "reject"],
        queue: int = 16,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`queue` is how many requests may wait for their sessions, of all sessions together."""
        self._ttl = ttl
        self._busy = busy
        self._queue = queue
        self._waiting = 0
        self._clock = clock
        self._sessions: dict[str, Session] = {}

    @asynccontextmanager
    async def use(self, identifier: str) -> AsyncIterator[Session]:
        """The session, for one request at a time.

        Raises:
            Conflict: another request uses it and `session_busy = "reject"`.
            TooManyRequests: too many requests wait for their sessions.

        """
        session = self._sessions.setdefault(identifier, Session(identifier))
        if session.users and self._busy == "reject":
            raise Conflict(
                f'the session {identifier} answers another request (providers.claude_sdk.session_busy = "reject")'
            )
        if session.users and self._waiting >= self._queue:
            raise TooManyRequests(
                f"{self._queue} requests wait for their sessions (providers.claude_sdk.queue)",
                headers={"retry-after": str(RETRY_AFTER)},
            )
        session.users += 1
        try:
            await self._acquire(session)
            try:
                yield session
            finally:
                session.lock.release()
        finally:
            session.users -= 1
            session.last_used = self._clock()
            self._sessions.pop(identifier, None)
            if session.users or session.connection is not None:
                self._sessions[identifier] = session  # at the end: most recently used

    async def _acquire(self, session: Session) -> None:
        self._waiting += 1
        try:
            await session.lock.acquire()
        finally:
            self._waiting -= 1

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
                "turns": session.turns,
                "idle_seconds": round(now - session.last_used, 1) if session.idle else 0,
            }
            for session in self._sessions.values()
        ]

    def _take(self, session: Session) -> Connection | None:
        del self._sessions[session.id]
        connection, session.connection = session.connection, None
        return connection
