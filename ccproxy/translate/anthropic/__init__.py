"""The wire format `anthropic`."""

from __future__ import annotations
