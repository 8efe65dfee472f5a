"""The addons that make mitmproxy a gateway.

`gateway/` is the only addon that changes flows, `watchers/` only observe them, `transport/` extends mitmproxy's HTTP layers, and `chain.py` lists them
all in order. `ccproxy.addons` and `ccproxy.server` are the only packages that import mitmproxy.
"""

from __future__ import annotations
