"""Translation between the three wire formats. Pure: no I/O, no clock, no mitmproxy."""

from __future__ import annotations
