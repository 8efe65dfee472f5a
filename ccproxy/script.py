"""ccproxy as a script of a stock mitmproxy: mitmdump -s "$(ccproxy addon-path)". Configuration as for `ccproxy serve`."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from mitmproxy import ctx
from mitmproxy.connection import Client
from mitmproxy.proxy.mode_specs import ProxyMode, ReverseMode

from ccproxy.addons.watchers.log_redaction import LogRedaction
from ccproxy.addons.watchers.mitmproxy_sinks import StockSinks
from ccproxy.mitmproxy_patches import set_client_timeout
from ccproxy.server.listening import listen_modes
from ccproxy.server.masters import gateway_options, optional_options
from ccproxy.server.wiring import addons_for, both_sides_for, redaction_for
from ccproxy.settings import load as read_settings  # a `load` in this module would be a hook of mitmproxy's

_loaded = read_settings()
_settings = _loaded.settings


class Options:
    """Sets mitmproxy's options that the gateway depends on, and where to listen unless the command line says so."""

    name = "ccproxy_options"

    def __init__(self) -> None:
        self._listening: asyncio.Task[Any] | None = None

    def load(self, loader: Any) -> None:
        del loader
        own = gateway_options(_settings)
        own.pop("confdir")  # the user's own mitmproxy has its own folder
        ctx.options.update(**own)
        ctx.options.update_known(**optional_options())
        set_client_timeout(_settings.server.idle_timeout)
        for warning in _loaded.warnings:
            logging.getLogger("ccproxy").warning("%s", warning)
        if ctx.options.mode == ["regular"]:
            modes = listen_modes(_settings)
            ctx.options.update(mode=modes)
            # Scripts are loaded while mitmproxy begins to listen where it does by default; a change of the option comes too late for that.
            proxyserver: Any = ctx.master.addons.get("proxyserver")
            update = proxyserver.servers.update([ProxyMode.parse(mode) for mode in modes])
            self._listening = asyncio.get_running_loop().create_task(update)

    def client_connected(self, client: Client) -> None:
        """Refuse connections to the default listener while it is being replaced: it would be an open forward proxy."""
        if self._listening is not None and not isinstance(client.proxy_mode, ReverseMode):
            client.error = "ccproxy is a reverse proxy: point the client's base URL at it"


_sinks = StockSinks()
addons = [
    LogRedaction(redaction_for(_settings)),
    Options(),
    *addons_for(_settings, observers=both_sides_for(_settings, "", [_sinks])),
    _sinks,
]
