"""The paths of each wire format, as tables for providers to choose from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ccproxy.providers.spec import Endpoint, Operation
from ccproxy.translate.formats import Format

_A, _C, _R = Format.ANTHROPIC, Format.OPENAI_CHAT, Format.OPENAI_RESPONSES

_PATHS: dict[str, Endpoint] = {
    "/messages": Endpoint(Operation.CREATE, _A, "POST"),
    "/messages/count_tokens": Endpoint(Operation.COUNT_TOKENS, _A, "POST"),
    "/chat/completions": Endpoint(Operation.CREATE, _C, "POST"),
    "/responses": Endpoint(Operation.CREATE, _R, "POST"),
    "/models": Endpoint(Operation.MODELS, _A, "GET"),
}

_NATIVE_PATHS = {
    _A: {"/messages", "/messages/count_tokens", "/models"},
    _C: {"/chat/completions", "/models"},
    _R: {"/responses", "/models"},
}


def table(
    native: Format | None, *, roots: tuple[str, ...] = ("/v1",), upstream_root: str = "/v1"
) -> dict[str, Endpoint]:
    """Return all endpoints under each of `roots`; those that the upstream's format `native` has too lead to `upstream_root` there."""
    table = {}
    own = _NATIVE_PATHS[native] if native else set()
    for root in roots:
        for path, endpoint in _PATHS.items():
            if endpoint.operation is Operation.MODELS and native:
                endpoint = replace(endpoint, format=native)  # noqa: PLW2901 - the table's entry, for this upstream
            table[root + path] = replace(endpoint, upstream_path=upstream_root + path) if path in own else endpoint
    return table


# ---- which clients can read the upstream's own list of models: its shape differs between vendors


def reads_anthropic_list(headers: Mapping[str, str], query: str) -> bool:
    """Every client but OpenAI's SDKs, which send no `anthropic-version`."""
    del query
    return "anthropic-version" in headers or not headers.get("user-agent", "").startswith(("OpenAI/", "AsyncOpenAI/"))


def reads_openai_list(headers: Mapping[str, str], query: str) -> bool:
    """Every client but Anthropic's."""
    del query
    return "anthropic-version" not in headers


def reads_codex_list(headers: Mapping[str, str], query: str) -> bool:
    """The Codex CLI alone: it names the version of the protocol that it speaks."""
    del headers
    return any(parameter.startswith("client_version=") for parameter in query.split("&"))
