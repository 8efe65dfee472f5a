"""The provider `/claude`: requests in, answers out, processes in between."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccproxy.errors import ExchangeError, InternalError, UpstreamBroken
from ccproxy.permissions.broker import PermissionBroker
from ccproxy.providers.claude_sdk.config import ClaudeSdkConfig
from ccproxy.providers.claude_sdk.processes import Processes
from ccproxy.providers.claude_sdk.request import Plan, Turn, check_conversation, plan_request, session_label
from ccproxy.providers.claude_sdk.sessions import Session, Sessions
from ccproxy.providers.claude_sdk.stream import ClaudeStream, Sink
from ccproxy.providers.local import LocalRequest
from ccproxy.translate.estimate import estimate_tokens
from ccproxy.translate.formats import Format

if TYPE_CHECKING:
    from ccproxy.providers.claude_sdk.answer_events import AgentAnswer, PlainAnswer
    from ccproxy.providers.claude_sdk.connection import Connection

logger = logging.getLogger(__name__)

_SETTLE_WITHIN = 5.0  # seconds from the last event of an answer until the process is ready for the next turn
_MODELS_HOLD = 3600.0  # seconds


class ClaudeSdkProvider:
    """Implements `ccproxy.providers.local.LocalProvider` with the Claude Agent SDK. Everything runs on one event
    loop.
    """

    def __init__(
        self,
        config: ClaudeSdkConfig,
        *,
        broker: PermissionBroker | None = None,
        environment: Mapping[str, str] | None = None,
        private: Path | None = None,
    ) -> None:
        """Nothing is imported, started or written before the first request.

        `broker` decides about tools in agent mode; without one, calls that need permission are denied. `environment`
        is what children inherit from (by default this process's), `private` is where an empty working folder may be
        made (by default ccproxy's cache folder).
        """
        self._config = config
        self._sessions = Sessions(config.session_ttl, config.session_busy, config.queue)
        self._broker = broker or PermissionBroker("ask", timeout=0)
        self._processes = Processes(
            config,
            self._broker,
            dict(os.environ if environment is None else environment),
            private,
            self._sessions.take_idle,
        )
        self._models: tuple[float, list[dict[str, Any]]] | None = None
        self._listing = asyncio.Lock()
        self._expiry: asyncio.TimerHandle | None = None

    def stream(self, request: LocalRequest) -> ClaudeStream:
        work = functools.partial(self._work, request)
        return ClaudeStream(work, functools.partial(self._processes.spawn, name="claude answer"))

    async def count_tokens(self, request: LocalRequest) -> dict[str, Any]:
        await asyncio.to_thread(check_conversation, request.body)
        return {"input_tokens": await asyncio.to_thread(estimate_tokens, Format.ANTHROPIC, request.body)}

    async def models(self) -> list[dict[str, Any]]:
        """The models that Claude Code offers with the user's login.

        Raises:
            ExchangeError: no process could be started to ask.

        """
        async with self._listing:
            if self._models is None or time.monotonic() - self._models[0] > _MODELS_HOLD:
                if not self._processes.info:
                    await self._processes.close(await self._processes.connect(None, None, one_answer=True))
                self._models = (time.monotonic(), _model_objects(self._processes.info.get("models") or []))
            return self._models[1]

    def status(self) -> dict[str, Any]:
        return {"mode": self._config.mode, **self._processes.status(), "sessions": self._sessions.status()}

    async def aclose(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        while (connection := self._sessions.take_idle()) is not None:
            _closing = self._processes.begin_close(connection)
        await self._processes.aclose()
        await self._broker.aclose()

    # --- one request ---

    async def _work(self, request: LocalRequest, sink: Sink) -> None:
        try:
            plan = await asyncio.to_thread(plan_request, request, self._config.mode)
            sink.losses = plan.losses
            if request.session_id is None:
                await self._answer(plan, sink, session_label(request.headers))
            else:
                async with self._sessions.use(request.session_id) as session:
                    await self._answer_in_session(session, plan, sink)
        except ExchangeError as error:
            sink.fail(error)
        except Exception:
            logger.exception("ccproxy failed while Claude Code answered")
            sink.fail(InternalError("ccproxy failed while Claude Code answered. See its log for details"))
        finally:
            self._watch_the_clock()

    async def _answer(self, plan: Plan, sink: Sink, label: str | None) -> None:
        connection = await self._processes.connect(plan, label, one_answer=True)
        try:
            await self._exchange(connection, plan, plan.turns, sink, keep=False)
        finally:
            await self._processes.close(connection)

    async def _answer_in_session(self, session: Session, plan: Plan, sink: Sink) -> None:
        turns = session.new_turns(plan)
        if turns is not None:
            try:
                await self._go_on(session, plan, turns, sink)
                return
            except UpstreamBroken as error:
                if sink.begun:
                    raise
                logger.info("session %s is built again, its process broke: %s", session.id, error)
        await self._end_process_of(session)
        session.connection = await self._processes.connect(plan, session.id, one_answer=False)
        await self._go_on(session, plan, plan.turns, sink)

    async def _go_on(self, session: Session, plan: Plan, turns: Sequence[Turn], sink: Sink) -> None:
        """Answer with the session's own process. It stays if it can take another turn and no request waits for its place."""
        connection = session.connection
        if connection is None:
            raise InternalError("a session without a process cannot answer")
        texts: list[str] | None = None
        try:
            texts = await self._exchange(connection, plan, turns, sink, keep=True)
        finally:
            if texts is None or self._processes.is_short:
                await self._end_process_of(session)
            else:
                session.remember(plan, texts)

    async def _end_process_of(self, session: Session) -> None:
        connection, session.connection = session.connection, None
        if connection is not None:
            await self._processes.close(connection)

    async def _exchange(
        self, connection: Connection, plan: Plan, turns: Sequence[Turn], sink: Sink, *, keep: bool
    ) -> list[str] | None:
        """Send the process the turns and pass its answer on. Returns the answer's texts if the process can continue from there, else None.

        Raises:
            ExchangeError: the answer failed.

        """
        answer = self._new_answer(plan, keep=keep)
        try:
            await connection.tell(turns, plan.model, is_last=answer.is_last)
            async for message in connection.messages():
                for event in answer.feed(message):
                    await sink.put(event)
                if answer.finished:
                    break
        except ExchangeError:
            raise
        except Exception as error:
            from ccproxy.providers.claude_sdk.failures import process_error

            logger.warning(
                "Claude Code (process %s) broke: %s. Its last words: %s",
                connection.pid,
                error,
                list(connection.last_words),
            )
            raise process_error(error, connection.last_words) from error
        if not answer.finished:
            raise UpstreamBroken("Claude Code ended before its answer was complete")
        sink.cost_usd = connection.cost_of(answer.total_usd)
        sink.end()
        keep = keep and answer.reusable
        if keep and not answer.settled:
            keep = await self._settle(connection, answer)
            sink.cost_usd = connection.cost_of(answer.total_usd)
        return answer.texts if keep else None

    async def _settle(self, connection: Connection, answer: PlainAnswer | AgentAnswer) -> bool:
        """Read the process's turn to its end; the client has its answer."""
        try:
            async with asyncio.timeout(_SETTLE_WITHIN):
                async for message in connection.messages():
                    for _ in answer.feed(message):
                        return False
                    if answer.settled:
                        return True
        except Exception as error:  # noqa: BLE001 - the answer is out and was whole; the process is just not kept
            logger.info("Claude Code (process %s) did not settle: %r", connection.pid, error)
        return False

    def _new_answer(self, plan: Plan, *, keep: bool) -> PlainAnswer | AgentAnswer:
        from ccproxy.providers.claude_sdk.answer_events import AgentAnswer, PlainAnswer

        if self._config.mode == "plain":
            return PlainAnswer(keep=keep)
        return AgentAnswer(self._config.show_tools, {tool["name"] for tool in plan.client_tools})

    # --- idle processes ---

    def _watch_the_clock(self) -> None:
        """End whatever was idle for `session_ttl`, now and when the next is due."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if self._processes.closed:
            return
        for connection in self._sessions.take_expired():
            _closing = self._processes.begin_close(connection)
        oldest = time.monotonic() - self._config.session_ttl
        self._processes.drop_old_spares(oldest)
        waits = [
            wait for wait in (self._sessions.next_expiry(), self._processes.next_expiry(oldest)) if wait is not None
        ]
        if waits:
            self._expiry = asyncio.get_running_loop().call_later(min(waits) + 0.01, self._watch_the_clock)


def _model_objects(listed: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Anthropic model objects from the SDK's list, which has aliases and a default among them: each model once, by
    its full name.
    """
    objects: dict[str, dict[str, Any]] = {}
    for model in listed:
        name = model.get("resolvedModel") or model.get("value")
        if not isinstance(name, str) or not name:
            continue
        # The default is listed first, under a name that says only that.
        display = str(model.get("displayName") or name)
        if name in objects and objects[name]["_alias"] != "default":
            continue
        objects[name] = {
            "type": "model",
            "id": name,
            "display_name": display,
            "created_at": "1970-01-01T00:00:00Z",
            "_alias": model.get("value"),
        }
    return [{key: value for key, value in model.items() if key != "_alias"} for model in objects.values()]
