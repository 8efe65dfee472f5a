"""Who may run which tool: rules first, then the mode, then a person.

The broker knows neither HTTP nor Claude Code. A provider awaits `ask`; the gateway shows `listing` and `changes` and passes decisions to `decide`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

from ccproxy.errors import BadRequest, Conflict, RouteNotFound
from ccproxy.permissions.changes import ChangeFeed
from ccproxy.permissions.paths import UNKNOWN, CallContext
from ccproxy.permissions.rules import Rule, suggest_rule

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")
Mode = Literal["ask", "allow", "deny"]
DecidedBy = Literal["rule", "mode", "person", "timeout", "gone", "limit"]

MOST_PENDING: Final = 256
"""Requests that may wait for a person at once; more are denied."""
MOST_PENDING_BYTES: Final = 16 * 2**20
"""The same in bytes of their arguments as JSON."""
MOST_RULES: Final = 10_000
"""Rules that may hold at once; a decision that would add one more is refused."""
_DESCRIPTION_CHARACTERS: Final = 2000
_SMALL: Final = 10_000  # characters of arguments that are read on the event loop
_RECENT: Final = 200  # requests of which it is known that they have been decided
_AUDITED_CHARACTERS: Final = 2000  # of a call's arguments, in the audit and in changes


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision about one call. `message` tells the model why it was denied; `updated_input` replaces the call's arguments."""

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


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that a model wants to make."""

    tool: str
    arguments: dict[str, Any]
    context: CallContext = UNKNOWN
    session_id: str | None = None
    tool_use_id: str | None = None
    description: str = ""


@dataclass(slots=True)
class _Request:
    """A call for which a decision is wanted."""

    call: ToolCall
    text: str = field(repr=False)
    """The arguments as JSON."""
    suggestion: str
    """The rule that would cover this call alone."""
    asked_at: float
    expires_at: float
    verdict: asyncio.Future[Verdict] = field(repr=False)
    id: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def size(self) -> int:
        """Bytes, about: most of them are in the arguments."""
        return len(self.text) + 1000

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "tool": self.call.tool,
            "input": json.loads(self.text),
            "description": self.call.description,
            "session_id": self.call.session_id,
            "tool_use_id": self.call.tool_use_id,
            "asked_at": self.asked_at,
            "expires_at": self.expires_at,
            "rule": self.suggestion,
        }


class PermissionBroker:
    """Decides about tool calls. Lives on one event loop; rules are matched, and files read and written, in threads."""

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
        """`audit` gets every decision, `remember` writes a rule down for the next start; both run in threads."""
        self.mode = mode
        self.rules = list(rules)
        self.timeout = timeout
        self._audit = audit
        self._remember = remember
        self._clock = clock
        self._pending: dict[str, _Request] = {}
        self._pending_bytes = 0
        self._done: deque[str] = deque(maxlen=_RECENT)
        self._feed = ChangeFeed()
        self._saving = asyncio.Lock()
        self._audits: set[asyncio.Task[None]] = set()
        self._closed = False

    # --- for providers ---

    async def judge(self, tool: str, arguments: dict[str, Any], context: CallContext = UNKNOWN) -> Verdict | None:
        """The verdict of rules and mode; None if a person is to be asked."""
        return await self._off_loop(_judge, self.rules, self.mode, ToolCall(tool, arguments, context))

    async def ask(
        self,
        tool: str,
        arguments: dict[str, Any],
        *,
        context: CallContext = UNKNOWN,
        session_id: str | None = None,
        tool_use_id: str | None = None,
        description: str = "",
    ) -> Verdict:
        """Decide about one call, after a person has answered if need be. Without an answer within `timeout` seconds it is denied."""
        description = _writable(description[:_DESCRIPTION_CHARACTERS])
        call = ToolCall(_writable(tool), arguments, context, session_id, tool_use_id, description)
        verdict, text, suggestion = await self._off_loop(_examine, self.rules, self.mode, call)
        request = self._new_request(call, text, suggestion)
        if verdict is None:
            verdict = await self._wait(request)
        await self._record(request, verdict)
        return verdict

    async def record_refusal(
        self, tool: str, arguments: dict[str, Any], verdict: Verdict, *, session_id: str | None, tool_use_id: str | None
    ) -> None:
        """Record a call that a provider stopped after `judge`, without `ask`."""
        call = ToolCall(tool, arguments, session_id=session_id, tool_use_id=tool_use_id)
        await self._record(self._new_request(call, await asyncio.to_thread(_as_json, arguments), ""), verdict)

    # --- for the gateway ---

    def listing(self) -> dict[str, Any]:
        """`GET /permissions`: JSON values."""
        return {
            "mode": self.mode,
            "timeout": self.timeout,
            "rules": [{"tool": rule.tool, "decision": rule.decision} for rule in self.rules],
            "pending": [request.as_json() for request in self._pending.values()],
        }

    def changes(self) -> AsyncIterator[dict[str, Any]]:
        """`GET /permissions/stream`: first the listing as `{"type": "listing", …}`, then `asked`, `decided` and `rule` as they happen.

        Ends when the reader falls far behind (it should connect again) and when the broker closes.

        Raises:
            TooManyRequests: there are too many readers.

        """
        return self._feed.read(lambda: {"type": "listing", **self.listing()})

    async def decide(self, identifier: str, body: Any) -> dict[str, Any]:
        """`POST /permissions/{id}` with `{"decision": "allow"|"deny", "updated_input"?: {…}, "message"?: "…", "remember"?: true|"RULE"}`.

        `remember` makes it a rule: the one that the listing suggests, or the one given.

        Raises:
            BadRequest: the body is malformed.
            RouteNotFound: there is no such request.
            Conflict: it has been decided already.

        """
        decision, updated, message, remember = _parse_decision(body)
        request = self._request(identifier)
        rule = None
        if remember:
            rule = await self._new_rule(remember if isinstance(remember, str) else request.suggestion, decision)
            request = self._request(identifier)  # a thread read the rule: meanwhile another client may have decided
        self._settle(
            request,
            Verdict(decision == "allow", "person", message or _denied(decision), updated, rule.tool if rule else None),
        )
        answer: dict[str, Any] = {"id": identifier, "decision": decision}
        if rule is not None:
            answer |= await self._add_rule(rule)
        return answer

    def close(self) -> None:
        """Deny what is pending, now and later, and end all `changes`."""
        self._closed = True
        for request in list(self._pending.values()):
            self._settle(request, _STOPPING)
        self._feed.close()

    async def aclose(self) -> None:
        """`close`, and wait until all decisions are recorded."""
        self.close()
        while self._audits:
            await asyncio.wait(self._audits)

    # --- inside ---

    async def _off_loop(
        self, work: Callable[..., _Result], rules: list[Rule], mode: Mode, call: ToolCall, *more: Any
    ) -> _Result:
        """`work(rules, mode, call, …)`, in a thread if it reads files or takes long."""
        small = sum(len(value) for value in call.arguments.values() if isinstance(value, str)) < _SMALL
        if small and not any(rule.reads_files for rule in rules):
            return work(rules, mode, call, *more)
        return await asyncio.to_thread(work, tuple(rules), mode, call, *more)

    def _new_request(self, call: ToolCall, text: str, suggestion: str) -> _Request:
        now = self._clock()
        return _Request(call, text, suggestion, now, now + self.timeout, asyncio.get_running_loop().create_future())

    def _request(self, identifier: str) -> _Request:
        request = self._pending.get(identifier)
        if request is not None:
            return request
        if identifier in self._done:
            raise Conflict(f"the permission request {identifier} has been decided already")
        raise RouteNotFound(f"there is no permission request {identifier[:100]!r}")

    async def _wait(self, request: _Request) -> Verdict:
        if self._closed:
            return _STOPPING
        if len(self._pending) >= MOST_PENDING or self._pending_bytes + request.size > MOST_PENDING_BYTES:
            return Verdict(
                allowed=False, by="limit", message="Denied: too many other calls wait for a decision of ccproxy's user."
            )
        self._pending[request.id] = request
        self._pending_bytes += request.size
        if self._feed.is_read:
            self._feed.publish({"type": "asked", **request.as_json()}, request.size)
        try:
            async with asyncio.timeout(self.timeout):
                return await request.verdict
        except TimeoutError:
            return Verdict(allowed=False, by="timeout", message=f"Denied: no decision within {self.timeout:g} s.")
        except asyncio.CancelledError:
            await self._record(request, Verdict(allowed=False, by="gone", message="The client left."))
            raise
        finally:
            self._forget(request)

    def _settle(self, request: _Request, verdict: Verdict) -> None:
        self._forget(request)
        if not request.verdict.done():
            request.verdict.set_result(verdict)

    def _forget(self, request: _Request) -> None:
        if self._pending.pop(request.id, None) is not None:
            self._pending_bytes -= request.size
            self._done.append(request.id)

    async def _new_rule(self, text: str, decision: Literal["allow", "deny"]) -> Rule:
        if not text:
            raise BadRequest("remember: no rule covers this call alone; write the rule itself", param="remember")
        if len(self.rules) >= MOST_RULES:
            raise BadRequest(f"remember: there are {MOST_RULES} rules already (permissions.rules)", param="remember")
        try:
            return await asyncio.to_thread(Rule.parse, {"tool": text, "decision": decision})
        except ValueError as error:
            raise BadRequest(f"remember: {error}", param="remember") from error

    async def _add_rule(self, rule: Rule) -> dict[str, Any]:
        """A rule made by a person goes first: it is the latest word. Other requests that it covers are decided with it."""
        self.rules = [rule, *(older for older in self.rules if older != rule)]
        self._feed.publish({"type": "rule", "tool": rule.tool, "decision": rule.decision}, len(rule.tool) + 100)
        for request in list(self._pending.values()):
            verdict = await self._off_loop(_judge_if_covered, self.rules, self.mode, request.call, rule)
            if verdict is not None and request.id in self._pending:
                self._settle(request, verdict)
        if self._remember is None:
            return {"rule": rule.tool, "saved": False}
        try:
            async with self._saving:  # one after the other: each changes the whole file
                await asyncio.to_thread(self._remember, rule)
        except (OSError, ValueError) as error:
            logger.warning("The rule %r applies until ccproxy stops; it could not be saved: %s", rule.tool, error)
            return {"rule": rule.tool, "saved": False, "reason": str(error)}
        return {"rule": rule.tool, "saved": True}

    async def _record(self, request: _Request, verdict: Verdict) -> None:
        """Publish a decision and write it to the audit; it is written when this returns, since no decision should pass unrecorded."""
        call = request.call
        decided = Decided(
            id=request.id,
            at=self._clock(),
            tool=call.tool,
            arguments=_shorten(request.text),
            allowed=verdict.allowed,
            by=verdict.by,
            rule=verdict.rule,
            session_id=call.session_id,
            tool_use_id=call.tool_use_id,
            changed_input=verdict.updated_input is not None,
            waited=max(0.0, self._clock() - request.asked_at),
        )
        self._feed.publish({"type": "decided", **decided.as_json()}, len(decided.arguments) + 1000)
        if self._audit is not None:
            writing = asyncio.get_running_loop().create_task(self._write(decided), name="permission audit")
            self._audits.add(writing)
            writing.add_done_callback(self._audits.discard)
            await asyncio.shield(writing)

    async def _write(self, decided: Decided) -> None:
        if self._audit is not None:
            await asyncio.to_thread(self._audit, decided)


_STOPPING: Final = Verdict(allowed=False, by="gone", message="Denied: ccproxy is stopping.")


def _judge(rules: Iterable[Rule], mode: Mode, call: ToolCall) -> Verdict | None:
    for rule in rules:
        if rule.matches(call.tool, call.arguments, call.context):
            if rule.decision == "ask":
                return None
            allowed = rule.decision == "allow"
            reason = "" if allowed else f"Denied by the rule {rule.tool} of ccproxy's user."
            return Verdict(allowed, "rule", reason, rule=rule.tool)
    if mode == "ask":
        return None
    allowed = mode == "allow"
    return Verdict(allowed, "mode", "" if allowed else "Denied: ccproxy's user allows only what a rule allows.")


def _judge_if_covered(rules: Iterable[Rule], mode: Mode, call: ToolCall, rule: Rule) -> Verdict | None:
    return _judge(rules, mode, call) if rule.matches(call.tool, call.arguments, call.context) else None


def _examine(rules: Iterable[Rule], mode: Mode, call: ToolCall) -> tuple[Verdict | None, str, str]:
    """What rules and mode say of a call, its arguments as JSON, and a rule that would cover it alone."""
    verdict = _judge(rules, mode, call)
    return (
        verdict,
        _as_json(call.arguments),
        suggest_rule(call.tool, call.arguments, call.context) if verdict is None else "",
    )


def _as_json(arguments: Mapping[str, Any]) -> str:
    """JSON that can be written as UTF-8, whatever the model said."""
    return _writable(json.dumps(arguments, ensure_ascii=False, default=str))


def _writable(text: str) -> str:
    """The text without halves of surrogate pairs, which UTF-8 cannot hold."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _shorten(text: str) -> str:
    return text if len(text) <= _AUDITED_CHARACTERS else text[: _AUDITED_CHARACTERS - 1] + "…"


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
    try:
        json.dumps(updated, allow_nan=False)
    except (ValueError, RecursionError):
        raise BadRequest("updated_input: finite numbers and fewer levels are required", param="updated_input") from None
    message = body.get("message", "")
    if not isinstance(message, str):
        raise BadRequest("message: a string is required", param="message")
    remember = body.get("remember", False)
    if not isinstance(remember, bool | str):
        raise BadRequest("remember: true, false or a rule is required", param="remember")
    return decision, updated, message, remember
