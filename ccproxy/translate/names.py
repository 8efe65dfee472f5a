"""Tool names and call ids in other formats: shortened for the upstream, always in the same way, and restored for the client."""

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
"""`call_id` of the Responses API. Anthropic's ids use the same characters and have no documented limit."""


def fit(name: str, limit: int) -> str:
    """A name of at most `limit` letters, digits, `_` and `-`: the name itself, or its readable part with a hash."""
    if len(name) <= limit and _ALLOWED.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{_OTHERS.sub('_', name)[: limit - 9]}_{digest}"


def schema_name(name: str) -> str:
    """The name of an output format as OpenAI accepts it."""
    return _OTHER.sub("_", name[:OPENAI_NAME_LIMIT]) or "response"


class ClientTool(NamedTuple):
    """A tool under its name at the client."""

    name: str
    namespace: str = ""
    variety: Variety = "function"


class Names:
    """The tools of one request, and their names at the upstream."""

    __slots__ = ("_client_tools", "_upstream_names", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._upstream_names: dict[tuple[str, str], str] = {}
        self._client_tools: dict[str, ClientTool] = {}

    def declare(self, tool: Tool) -> str:
        """The upstream's name of a tool in the request."""
        return self._name(tool.name, tool.namespace, tool.variety)

    def upstream(self, name: str, namespace: str = "") -> str:
        """The upstream's name of a tool in a call, result or tool choice."""
        return self._upstream_names.get((namespace, name)) or self._name(name, namespace, "function")

    def reserve(self, name: str) -> None:
        """Reserve the name of one of the upstream's own tools: a client's tool with that name gets another."""
        self._client_tools.setdefault(name, ClientTool(name))

    def client(self, name: str, namespace: str = "") -> ClientTool:
        """The client's name of a tool that the upstream calls."""
        return self._client_tools.get(name) or ClientTool(name, namespace)

    def _name(self, name: str, namespace: str, variety: Variety) -> str:
        key = (namespace, name)
        present = self._upstream_names.get(key)
        if present is not None:
            return present
        flat = fit(f"{namespace}__{name}" if namespace else name, self.limit)
        if flat in self._client_tools:
            flat = fit(f"{flat}.{namespace}.{name}", self.limit)
        self._upstream_names[key] = flat
        self._client_tools[flat] = ClientTool(name, namespace, variety)
        return flat
