"""ccproxy as a script of a stock mitmproxy: mitmdump -s "$(ccproxy addon-path)". Configuration as for `ccproxy serve`."""

from __future__ import annotations

import asyncio
from typing import Any

from mitmproxy import ctx

from ccproxy import settings
from ccproxy.addons.log_redaction import LogRedaction
from ccproxy.addons.stock import StockSinks
from ccproxy.server import addons_for, gateway_options, legs_for, listen_modes, redaction_for

_settings = settings.load().settings  # mitmproxy would take a `load` in this module for a hook


class Options:
    """Sets mitmproxy's options that the gateway depends on, and where to listen unless the command line says so."""

    name = "ccproxy_options"

    def load(self, loader: Any) -> None:
        del loader
        own = gateway_options(_settings)
        own.pop("confdir")  # the user's own mitmproxy has its own folder
        ctx.options.update(**own)
        if ctx.options.mode == ["regular"]:
            ctx.options.update(mode=listen_modes(_settings))

    def running(self) -> None:
        """Scripts are loaded when mitmproxy listens already, and it looks at `mode` again only when it is told to."""
        proxyserver: Any = ctx.master.addons.get("proxyserver")
        self._moving = asyncio.get_running_loop().create_task(proxyserver.setup_servers())


_sinks = StockSinks()
addons = [
    LogRedaction(redaction_for(_settings)),
    Options(),
    *addons_for(_settings, watchers=legs_for(_settings, "", [_sinks])),
    _sinks,
]
