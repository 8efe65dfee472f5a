"""Tool names and call ids across formats: what one side may not say is shortened for it, the same way every time, and found again on the way back."""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from ccproxy.translate.neutral import Tool, Variety

_ALLOWED = re.compile(r"[A-Za-z0-9_-]+")
_OTHERS = re.compile(r"[^A-Za-z0-9_-]+")
_OTHER = re.compile(r"[^A-Za-z0-9_-]")

OPENAI_NAME_LIMIT = 64
"""https://platform.openai.com/docs/api-reference/chat/create: a-z, A-Z, 0-9, underscores and dashes, at most 64."""
ANTHROPIC_NAME_LIMIT = 128
"""https://docs.claude.com/en/docs/agents-and-tools/tool-use: ^[a-zA-Z0-9_-]{1,128}$"""
CALL_ID_LIMIT = 64
"""`call_id` of the Responses API. Anthropic's ids have the same letters and no stated length."""


def fit(name: str, limit: int) -> str:
    """A name of at most `limit` letters, digits, `_` and `-`: the name itself, or a readable part of it and a hash of all of it."""
    if len(name) <= limit and _ALLOWED.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{_OTHERS.sub('_', name)[: limit - 9]}_{digest}"


def schema_name(name: str) -> str:
    """The name of an output format as OpenAI accepts it."""
    return _OTHER.sub("_", name[:OPENAI_NAME_LIMIT]) or "response"


class ClientTool(NamedTuple):
    """A tool as the client knows it."""

    name: str
    namespace: str = ""
    variety: Variety = "function"


class Names:
    """The tools of one request under the names that its upstream knows."""

    __slots__ = ("_back", "_forth", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._forth: dict[tuple[str, str], str] = {}
        self._back: dict[str, ClientTool] = {}

    def declare(self, tool: Tool) -> str:
        """The upstream's name for a tool that the request offers."""
        return self._name(tool.name, tool.namespace, tool.variety)

    def upstream(self, name: str, namespace: str = "") -> str:
        """The upstream's name for a tool that a call, a result or a choice mentions."""
        return self._forth.get((namespace, name)) or self._name(name, namespace, "function")

    def reserve(self, name: str) -> None:
        """A name that the upstream gives to a tool of its own: a client's tool of that name gets another."""
        self._back.setdefault(name, ClientTool(name))

    def client(self, name: str, namespace: str = "") -> ClientTool:
        """The client's name for a tool that the upstream calls."""
        return self._back.get(name) or ClientTool(name, namespace)

    def _name(self, name: str, namespace: str, variety: Variety) -> str:
        key = (namespace, name)
        known = self._forth.get(key)
        if known is not None:
            return known
        flat = fit(f"{namespace}__{name}" if namespace else name, self.limit)
        if flat in self._back:
            flat = fit(f"{flat}.{namespace}.{name}", self.limit)
        self._forth[key] = flat
        self._back[flat] = ClientTool(name, namespace, variety)
        return flat
