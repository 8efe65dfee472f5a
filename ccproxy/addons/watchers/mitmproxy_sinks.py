"""mitmproxy's own sinks (`-w FILE`, `hardump`, the terminal, its views) get exchanges as `watchers.both_sides` makes them: whole, both legs, redacted.

They would otherwise take a flow before it is over: without the bodies of streams, and with everything that passes through to the client. mitmproxy's
view, which mitmweb and the console show, needs to know of a flow that begins: it gets what may be seen of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from mitmproxy import ctx, flow as mflow, http

from ccproxy.addons.exchange import begin
from ccproxy.addons.watchers.traffic import PROBES, path_of

SINKS: Final = ("save", "savehar", "dumper")
"""mitmproxy's addons by name."""


class StockSinks:
    """Takes the hooks of mitmproxy's sinks for HTTP flows, and calls them once an exchange is over."""

    name = "ccproxy_stock_sinks"

    def __init__(self) -> None:
        self._take: list[Callable[[http.HTTPFlow], None]] = []
        self._view: Any = None
        self._add: Callable[[Sequence[mflow.Flow]], None] = _nowhere
        self._update: Callable[[Sequence[mflow.Flow]], None] = _nowhere

    def running(self) -> None:
        for name in SINKS:
            addon: Any = ctx.master.addons.get(name)
            if addon is not None:
                self._take.append(addon.response)
                for hook in ("request", "response", "error"):
                    if hasattr(addon, hook):
                        setattr(addon, hook, _but_http(getattr(addon, hook)))
        view: Any = ctx.master.addons.get("view")
        if view is not None:  # all its hooks lead to these two
            self._view, self._add, self._update = view, view.add, view.update
            view.add = lambda flows: self._add(self._as_shown(flows))
            view.update = lambda flows: self._update(self._as_shown(flows))

    def _as_shown(self, flows: Iterable[mflow.Flow]) -> list[mflow.Flow]:
        """The flows that the view shows in place of these; none for probes."""
        return [self._flow_shown(flow) for flow in flows if not (isinstance(flow, http.HTTPFlow) and _is_probe(flow))]

    def _flow_shown(self, flow: mflow.Flow) -> mflow.Flow:
        exchange = begin(flow) if isinstance(flow, http.HTTPFlow) else None
        if exchange is None or exchange.preview is None:
            return self._view.get_by_id(flow.id) or flow
        preview = exchange.preview.flow_so_far()
        if not flow.intercepted:
            return preview
        # A flow is held up in order to be changed: from here on the flow itself is shown.
        exchange.preview.withdraw()
        preview.live = False
        self._view.remove([preview])
        self._add([flow])
        return flow

    def show(self, flows: Sequence[http.HTTPFlow]) -> None:
        for take in self._take:
            for flow in flows:
                take(flow)
        self._add(flows)
        self._update(flows)

    def show_progress(self, flow: http.HTTPFlow) -> None:
        self._update([flow])


def _is_probe(flow: http.HTTPFlow) -> bool:
    return flow.live and path_of(flow) in PROBES


def _nowhere(flows: Sequence[mflow.Flow]) -> None:
    del flows


def _but_http(hook: Callable[[Any], None]) -> Callable[[Any], None]:
    def other(flow: mflow.Flow) -> None:
        if not isinstance(flow, http.HTTPFlow):
            hook(flow)

    return other
