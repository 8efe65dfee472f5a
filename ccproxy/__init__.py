"""ccproxy: a local reverse proxy between LLM clients and LLM providers, inside mitmproxy."""

from __future__ import annotations

__version__ = "0.1.0"
