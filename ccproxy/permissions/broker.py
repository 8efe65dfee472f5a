"""Who may run which tool: rules first, then the mode, then a person.

The broker knows no HTTP and no Claude Code. A provider awaits `ask`; the gateway shows `listing` and `changes` and
passes answers to `decide`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ccproxy.errors import BadRequest, Conflict, RouteNotFound
from ccproxy.permissions.rules import Rule, shorten, suggest_rule

logger = logging.getLogger(__name__)

Mode = Literal["ask", "allow", "deny"]
DecidedBy = Literal["rule", "mode", "person", "timeout", "gone"]

_BACKLOG = 1000  # changes that a subscriber may be behind before it is dropped


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one call. `message` tells the model why it was denied; `updated_input` replaces what it asked
    for.
    """

    allowed: bool
    by: DecidedBy
    message: str = ""
    updated_input: dict[str, Any] | None = None
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision, for the audit. `arguments` is JSON, shortened; `waited` is in seconds."""

    id: str
    at: float
    tool: str
    arguments: str
    allowed: bool
    by: DecidedBy
    rule: str | None
    session_id: str | None
    tool_use_id: str | None
    changed_input: bool
    waited: float

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class _Pending:
    id: str
    tool: str
    arguments: dict[str, Any]
    description: str
    session_id: str | None
    tool_use_id: str | None
    asked_at: float
    expires_at: float
    verdict: asyncio.Future[Verdict] = field(repr=False)

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "tool": self.tool,
            "input": self.arguments,
            "description": self.description,
            "session_id": self.session_id,
            "tool_use_id": self.tool_use_id,
            "asked_at": self.asked_at,
            "expires_at": self.expires_at,
            "rule": suggest_rule(self.tool, self.arguments),
        }


class PermissionBroker:
    """Decides about tool calls. Lives on one event loop."""

    def __init__(
        self,
        mode: Mode = "ask",
        rules: Iterable[Rule] = (),
        *,
        timeout: float = 300.0,
        audit: Callable[[Decided], None] | None = None,
        remember: Callable[[Rule], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`audit` gets every decision. `remember` writes a rule down for the next start; it runs in a thread."""
        self.mode = mode
        self.rules = list(rules)
        self.timeout = timeout
        self._audit = audit
        self._remember = remember
        self._clock = clock
        self._pending: dict[str, _Pending] = {}
        self._done: deque[str] = deque(maxlen=200)
        self._subscribers: set[asyncio.Queue[dict[str, Any] | None]] = set()

    # --- for providers ---

    def judge(self, tool: str, arguments: Mapping[str, Any]) -> Verdict | None:
        """What rules and mode say; `None` if a person is to be asked."""
        for rule in self.rules:
            if rule.matches(tool, arguments):
                if rule.decision == "ask":
                    return None
                allowed = rule.decision == "allow"
                return Verdict(
                    allowed,
                    "rule",
                    "" if allowed else f"Denied by the rule {rule.tool} of ccproxy's user.",
                    rule=rule.tool,
                )
        if self.mode == "ask":
            return None
        allowed = self.mode == "allow"
        return Verdict(allowed, "mode", "" if allowed else "Denied: ccproxy's user allows only what a rule allows.")

    async def ask(
        self,
        tool: str,
        arguments: dict[str, Any],
        *,
        session_id: str | None = None,
        tool_use_id: str | None = None,
        description: str = "",
    ) -> Verdict:
        """Decide about one call, after a person has answered if need be. Nobody answers within `timeout` seconds:
        denied.
        """
        now = self._clock()
        pending = _Pending(
            secrets.token_hex(8),
            tool,
            arguments,
            description,
            session_id,
            tool_use_id,
            now,
            now + self.timeout,
            asyncio.get_running_loop().create_future(),
        )
        verdict = self.judge(tool, arguments)
        if verdict is None:
            verdict = await self._wait(pending)
        self._record(pending, verdict)
        return verdict

    def refused(
        self, tool: str, arguments: dict[str, Any], verdict: Verdict, *, session_id: str | None, tool_use_id: str | None
    ) -> None:
        """Record a call that a provider stopped after `judge`, without `ask`."""
        now = self._clock()
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._record(
            _Pending(secrets.token_hex(8), tool, arguments, "", session_id, tool_use_id, now, now, future), verdict
        )

    # --- for the gateway ---

    def listing(self) -> dict[str, Any]:
        """`GET /permissions`: JSON values."""
        return {
            "mode": self.mode,
            "timeout": self.timeout,
            "rules": [{"tool": rule.tool, "decision": rule.decision} for rule in self.rules],
            "pending": [pending.as_json() for pending in self._pending.values()],
        }

    async def changes(self) -> AsyncIterator[dict[str, Any]]:
        """`GET /permissions/stream`: first the listing as `{"type": "listing", …}`, then `asked`, `decided` and
        `rule` as they happen.

        Ends when the reader falls far behind: it should connect again.
        """
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(_BACKLOG)
        self._subscribers.add(queue)
        try:
            yield {"type": "listing", **self.listing()}
            while (change := await queue.get()) is not None:
                yield change
        finally:
            self._subscribers.discard(queue)

    async def decide(self, identifier: str, body: Any) -> dict[str, Any]:
        """`POST /permissions/{id}` with `{"decision": "allow"|"deny", "updated_input"?: {…}, "message"?: "…",
        "remember"?: true|"RULE"}`.

        `remember` makes it a rule: the one that the listing suggests, or the given one.

        Raises:
            BadRequest: the body is malformed.
            RouteNotFound: there is no such request.
            Conflict: it has been decided already.

        """
        decision, updated, message, remember = _parse_decision(body)
        pending = self._pending.get(identifier)
        if pending is None:
            if identifier in self._done:
                raise Conflict(f"the permission request {identifier} has been decided already")
            raise RouteNotFound(f"there is no permission request {identifier}")
        rule = None
        if remember:
            text = remember if isinstance(remember, str) else suggest_rule(pending.tool, pending.arguments)
            try:
                rule = Rule.parse({"tool": text, "decision": decision})
            except ValueError as error:
                raise BadRequest(f"remember: {error}", param="remember") from error
        self._settle(
            pending,
            Verdict(decision == "allow", "person", message or _denied(decision), updated, rule.tool if rule else None),
        )
        answer: dict[str, Any] = {"id": identifier, "decision": decision}
        if rule is not None:
            answer |= await self._add_rule(rule)
        return answer

    def close(self) -> None:
        """Deny what is pending and end all `changes`."""
        for pending in list(self._pending.values()):
            self._settle(pending, Verdict(allowed=False, by="gone", message="Denied: ccproxy is stopping."))
        for queue in self._subscribers:
            _end(queue)

    # --- inside ---

    async def _wait(self, pending: _Pending) -> Verdict:
        self._pending[pending.id] = pending
        self._tell({"type": "asked", **pending.as_json()})
        try:
            async with asyncio.timeout(self.timeout):
                return await pending.verdict
        except TimeoutError:
            return Verdict(allowed=False, by="timeout", message=f"Denied: nobody answered within {self.timeout:g} s.")
        except asyncio.CancelledError:
            self._record(pending, Verdict(allowed=False, by="gone", message="The client left."))
            raise
        finally:
            self._pending.pop(pending.id, None)
            self._done.append(pending.id)

    def _settle(self, pending: _Pending, verdict: Verdict) -> None:
        self._pending.pop(pending.id, None)
        self._done.append(pending.id)
        if not pending.verdict.done():
            pending.verdict.set_result(verdict)

    async def _add_rule(self, rule: Rule) -> dict[str, Any]:
        """A rule made by a person goes first: it is the latest word. Others that wait for the same are decided with
        it.
        """
        self.rules.insert(0, rule)
        self._tell({"type": "rule", "tool": rule.tool, "decision": rule.decision})
        for pending in list(self._pending.values()):
            if rule.matches(pending.tool, pending.arguments):
                verdict = self.judge(pending.tool, pending.arguments)
                if verdict is not None:
                    self._settle(pending, verdict)
        if self._remember is None:
            return {"rule": rule.tool, "saved": False}
        try:
            await asyncio.to_thread(self._remember, rule)
        except (OSError, ValueError) as error:
            logger.warning("the rule %s holds until ccproxy stops; it could not be saved: %s", rule.tool, error)
            return {"rule": rule.tool, "saved": False, "reason": str(error)}
        return {"rule": rule.tool, "saved": True}

    def _record(self, pending: _Pending, verdict: Verdict) -> None:
        decided = Decided(
            id=pending.id,
            at=self._clock(),
            tool=pending.tool,
            arguments=shorten(pending.arguments),
            allowed=verdict.allowed,
            by=verdict.by,
            rule=verdict.rule,
            session_id=pending.session_id,
            tool_use_id=pending.tool_use_id,
            changed_input=verdict.updated_input is not None,
            waited=max(0.0, self._clock() - pending.asked_at),
        )
        self._tell({"type": "decided", **decided.as_json()})
        if self._audit is not None:
            self._audit(decided)

    def _tell(self, change: dict[str, Any]) -> None:
        for queue in list(self._subscribers):
            try:
                queue.put_nowait(change)
            except asyncio.QueueFull:
                self._subscribers.discard(queue)
                _end(queue)


def _end(queue: asyncio.Queue[dict[str, Any] | None]) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(None)


def _denied(decision: str) -> str:
    return "" if decision == "allow" else "Denied by ccproxy's user."


def _parse_decision(body: Any) -> tuple[Literal["allow", "deny"], dict[str, Any] | None, str, bool | str]:
    if not isinstance(body, dict):
        raise BadRequest('a JSON object is required: {"decision": "allow"} or {"decision": "deny"}')
    decision = body.get("decision")
    if decision not in ("allow", "deny"):
        raise BadRequest('decision: "allow" or "deny" is required', param="decision")
    updated = body.get("updated_input")
    if updated is not None and (decision == "deny" or not isinstance(updated, dict)):
        raise BadRequest(
            "updated_input: an object is required, and only an allowed call has one", param="updated_input"
        )
    message = body.get("message", "")
    if not isinstance(message, str):
        raise BadRequest("message: a string is required", param="message")
    remember = body.get("remember", False)
    if not isinstance(remember, bool | str):
        raise BadRequest("remember: true, false or a rule is required", param="remember")
    return decision, updated, message, remember
