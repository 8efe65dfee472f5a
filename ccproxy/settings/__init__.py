"""Configuration: every option once, where its value came from, and which files may set it."""

from __future__ import annotations

from ccproxy.settings.model import Settings
from ccproxy.settings.sources import Loaded, load

__all__ = ["Loaded", "Settings", "load"]
