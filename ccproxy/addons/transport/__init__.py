"""mitmproxy's HTTP layers, extended for a gateway: streams, HTTP/1 parsing and upstream connections."""

from __future__ import annotations
