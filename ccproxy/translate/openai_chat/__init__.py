"""The wire format `openai_chat`."""

from __future__ import annotations
