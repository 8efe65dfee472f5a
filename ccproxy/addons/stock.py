"""mitmproxy's own sinks (`-w FILE`, `hardump`, the terminal, its views) get exchanges as `addons.legs` makes them: whole, both legs, redacted.

They would otherwise take a flow before it is over: without the bodies of streams, and with whatever passes through to the client.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from mitmproxy import ctx, flow as mflow, http

SINKS: Final = ("save", "savehar", "dumper")
"""mitmproxy's addons by name. Its view also wants to know of a flow that begins: that stays as it is."""


class StockSinks:
    """Takes the hooks of mitmproxy's sinks for HTTP flows, and calls them once an exchange is over."""

    name = "ccproxy_stock_sinks"

    def __init__(self) -> None:
        self._take: list[Callable[[http.HTTPFlow], None]] = []

    def running(self) -> None:
        for name in SINKS:
            addon: Any = ctx.master.addons.get(name)
            if addon is not None:
                self._take.append(addon.response)
                for hook in ("request", "response", "error"):
                    if hasattr(addon, hook):
                        setattr(addon, hook, _but_http(getattr(addon, hook)))

    def show(self, flows: Sequence[http.HTTPFlow]) -> None:
        for take in self._take:
            for flow in flows:
                take(flow)
        view: Any = ctx.master.addons.get("view")
        if view is not None:
            view.add(flows)
            view.update(flows)


def _but_http(hook: Callable[[Any], None]) -> Callable[[Any], None]:
    def other(flow: mflow.Flow) -> None:
        if not isinstance(flow, http.HTTPFlow):
            hook(flow)

    return other
