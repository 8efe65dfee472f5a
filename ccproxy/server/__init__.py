"""From settings to a running proxy. With `ccproxy.addons` the only package that imports mitmproxy."""

from __future__ import annotations
