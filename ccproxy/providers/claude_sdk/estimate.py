"""A guess at how many tokens a request has, for a provider that has no one to ask."""

from __future__ import annotations

import math
from typing import Any

# English prose and code with Anthropic's tokenizers; other scripts have more bytes, and more tokens, per character.
_BYTES_PER_TOKEN = 3.6
_PER_MESSAGE = 4
_IMAGE = 1600  # the most that one image counts, https://docs.claude.com/en/docs/build-with-claude/vision
_BYTES_PER_PDF_TOKEN = 20
_TOOLS_PREAMBLE = 350


def estimate_tokens(body: dict[str, Any]) -> int:
    """The input tokens of a Messages request, give or take a fifth."""
    tokens = _count(body.get("system"))
    for message in body.get("messages") or ():
        tokens += _PER_MESSAGE + _count(message.get("content") if isinstance(message, dict) else message)
    if tools := body.get("tools"):
        tokens += _TOOLS_PREAMBLE + _count(tools)
    return max(1, math.ceil(tokens))


def _count(value: Any) -> float:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass")) / _BYTES_PER_TOKEN
    if isinstance(value, list):
        return sum(map(_count, value))
    if isinstance(value, dict):
        if value.get("type") == "image":
            return _IMAGE
        source = value.get("source")
        if value.get("type") == "document" and isinstance(source, dict) and source.get("type") == "base64":
            return len(str(source.get("data", ""))) * 0.75 / _BYTES_PER_PDF_TOKEN
        return sum(
            _count(inner) + len(name) / _BYTES_PER_TOKEN for name, inner in value.items() if name != "cache_control"
        )
    return 1 if value is not None else 0
