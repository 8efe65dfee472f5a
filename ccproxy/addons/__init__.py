"""The addons that make mitmproxy a gateway. With `ccproxy.server` the only room that knows mitmproxy."""

from __future__ import annotations
