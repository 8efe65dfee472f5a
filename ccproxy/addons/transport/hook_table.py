"""mitmproxy's AddonManager with a table of hooks.

mitmproxy looks for the hooks of every addon at every event. Nearly all of the ten or so events of an exchange concern one or two addons. With eight addons,
calling the right ones from a table saves a quarter of a small exchange's time. This works only if the chain does not change while it runs, as scripts do.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from mitmproxy import exceptions, flow

from ccproxy.addons.transport.mitmproxy_internals import AddonManager, Hook, UpdateHook, safecall

logger = logging.getLogger(__name__)

_UPDATE = UpdateHook([])


class FixedChain(AddonManager):
    """An AddonManager for a chain that is complete before the first event."""

    def __init__(self, master: Any) -> None:
        super().__init__(master)  # type: ignore[no-untyped-call]
        self._calls: dict[str, tuple[Callable[..., Any], ...]] = {}
        self._begun: dict[Hook, tuple[Awaitable[Any], tuple[Callable[..., Any], ...]]] = {}
        """Events whose hooks were called up to one that waits: what it waits for, and the hooks after it."""

    def register(self, addon: Any) -> Any:
        self._calls.clear()
        return super().register(addon)  # type: ignore[no-untyped-call]

    def remove(self, addon: Any) -> None:
        self._calls.clear()
        super().remove(addon)  # type: ignore[no-untyped-call]

    def interested(self, event: Hook) -> tuple[Callable[..., Any], ...]:
        """The hooks of all addons for this event, in the order of the chain."""
        calls = self._calls.get(event.name)
        if calls is None:
            calls = tuple(func for addon in self.chain for _, func in self._iter_hooks(addon, event))
            self._calls[event.name] = calls
        return calls

    def call_now(self, event: Hook) -> bool:
        """Run an event's hooks here and now. False if one has to wait: `handle_lifecycle` then continues from there."""
        if self.interested(_UPDATE):
            return False
        arguments = event.args()
        calls = self.interested(event)
        for position, func in enumerate(calls, 1):
            try:
                result = func(*arguments)
            except exceptions.AddonHalt:
                break
            except (
                exceptions.OptionsError,
                RecursionError,
            ):  # out of stack, a hook may not have run at all: go no further
                raise
            except Exception as error:
                logger.exception("Addon error: %s", error)  # noqa: TRY401 - mitmproxy's own wording
                continue
            if result is not None and inspect.isawaitable(result):
                self._begun[event] = (result, calls[position:])
                return False
        return True

    async def trigger_event(self, event: Hook) -> None:
        waiting, calls = self._begun.pop(event, (None, self.interested(event)))
        try:
            if waiting is not None:
                with safecall():
                    await waiting
            for func in calls:
                with safecall():
                    result = func(*event.args())
                    if result is not None and inspect.isawaitable(result):
                        await result
        except exceptions.AddonHalt:
            return

    async def handle_lifecycle(self, event: Hook) -> None:
        await self.trigger_event(event)
        message = event.args()[0]
        if isinstance(message, flow.Flow) and self.interested(update := UpdateHook([message])):
            await self.trigger_event(update)
