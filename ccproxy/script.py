"""ccproxy as a script of a stock mitmproxy: mitmdump -s "$(ccproxy addon-path)". Configuration as for `ccproxy serve`."""

from __future__ import annotations

from typing import Any

from mitmproxy import ctx

from ccproxy.addons import contentview
from ccproxy.addons.log_redaction import LogRedaction
from ccproxy.server import addons_for, gateway_options, listen_modes, redaction_for
from ccproxy.settings import load

_settings = load().settings


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


contentview.register()
addons = [LogRedaction(redaction_for(_settings)), Options(), *addons_for(_settings)]
