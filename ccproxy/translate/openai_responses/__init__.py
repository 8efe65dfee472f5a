"""The wire format `openai_responses`."""

from __future__ import annotations
