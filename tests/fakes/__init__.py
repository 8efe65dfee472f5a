"""Stand-ins for upstreams, on loopback."""

from __future__ import annotations
