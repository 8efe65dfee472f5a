"""Hooks that fail closed.

mitmproxy's addons fail open: a hook that raises is logged, and the unmodified request goes to the upstream. A hook decorated with
`fail_closed` answers the client with an error instead.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from mitmproxy import http

from ccproxy.addons import exchange
from ccproxy.addons.transport.responses import error_response
from ccproxy.errors import ExchangeError, InternalError

logger = logging.getLogger(__name__)

Addon = TypeVar("Addon")
Hook = Callable[[Addon, http.HTTPFlow], Awaitable[None] | None]
"""The awaitable that a hook returns is awaited; None means that there is nothing to wait for."""


def fail_closed(hook: Hook[Addon]) -> Hook[Addon]:
    """A hook that raises answers the client with that error; nothing goes upstream."""

    def refuse(flow: http.HTTPFlow, error: Exception) -> None:
        if not isinstance(error, ExchangeError):
            logger.error("the gateway failed in %s", hook.__name__, exc_info=error)
            error = InternalError("ccproxy failed to handle this request; its log says more")
        current = exchange.begin(flow)
        current.progress.from_upstream = False
        answer = error_response(current.format, error, flow.id)
        if flow.response is not None and flow.response.stream:
            answer.stream = False
        flow.response = answer

    async def rest(flow: http.HTTPFlow, waiting: Awaitable[None]) -> None:
        try:
            await waiting
        except Exception as error:  # noqa: BLE001 - the one place where anything at all must become an answer
            refuse(flow, error)

    @functools.wraps(hook)
    def guarded(self: Addon, flow: http.HTTPFlow) -> Awaitable[None] | None:
        try:
            waiting = hook(self, flow)
        except Exception as error:  # noqa: BLE001 - see above
            refuse(flow, error)
            return None
        return None if waiting is None else rest(flow, waiting)

    return guarded
