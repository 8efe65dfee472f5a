"""`ccproxy.addons.watchers.readable` as a content view of mitmproxy 12 (mitmweb, mitmproxy, mitmdump). mitmproxy 11 has no such views."""

from __future__ import annotations

import json
from typing import Any

from mitmproxy import contentviews

from ccproxy.addons.watchers.readable import is_known, is_sse, readable

NAME = "LLM"
_LOOKED_AT = 256 * 1024
"""Bytes up to which JSON is parsed to see whether it is ours; beyond, a conversation is what it will be."""


def register() -> bool:
    """Register the view with mitmproxy. False on mitmproxy 11, which has no such views."""
    if not hasattr(contentviews, "Contentview"):
        return False
    contentviews.add(_view())
    return True


def fits(data: bytes, content_type: str | None) -> bool:
    """Return whether `data` is a request or a response of one of the formats."""
    if content_type == "text/event-stream" or (not content_type and is_sse(data)):
        return b"data:" in data[:65536]
    if content_type != "application/json":
        return False
    if len(data) > _LOOKED_AT:
        return b'"messages"' in data or b'"input"' in data or b'"output"' in data
    try:
        whole = json.loads(data)
    except ValueError:
        return False
    return isinstance(whole, dict) and is_known(whole)


def _view() -> Any:
    class Readable(contentviews.Contentview):
        """Messages, thinking, tool calls and usage, human-readable."""

        name = NAME
        syntax_highlight = "none"

        def prettify(self, data: bytes, metadata: contentviews.Metadata) -> str:
            del metadata
            return readable(data)

        def render_priority(self, data: bytes, metadata: contentviews.Metadata) -> float:
            return 2 if fits(data, metadata.content_type) else -1

    return Readable()
