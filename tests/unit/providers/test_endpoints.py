"""The paths of each wire format, and which clients read an upstream's own list of models."""

from __future__ import annotations

import pytest

from ccproxy.providers.endpoints import reads_anthropic_list, reads_codex_list, reads_openai_list, table
from ccproxy.providers.registry import providers
from ccproxy.settings import Settings
from ccproxy.translate.formats import Format


@pytest.mark.parametrize(
    ("native", "paths"),
    [
        (Format.ANTHROPIC, {"/v1/messages", "/v1/messages/count_tokens", "/v1/models"}),
        (Format.OPENAI_CHAT, {"/v1/chat/completions", "/v1/models"}),
        (Format.OPENAI_RESPONSES, {"/v1/responses", "/v1/models"}),
        (None, set()),
    ],
)
def test_an_upstream_has_the_paths_of_its_own_format(native: Format | None, paths: set[str]) -> None:
    endpoints = table(native)
    assert {path for path, endpoint in endpoints.items() if endpoint.upstream_path} == paths
    assert len(endpoints) == 5
    assert len(table(native, roots=("", "/v1"), upstream_root="")) == 10


@pytest.mark.parametrize(
    ("provider", "headers", "query", "native"),
    [
        ("claude_api", {"anthropic-version": "x", "user-agent": "OpenAI/Python"}, "", True), ("claude_api", {}, "", True),
        ("claude_api", {"user-agent": "OpenAI/Python 3"}, "", False), ("claude_api", {"user-agent": "AsyncOpenAI/Python 3"}, "", False),
        ("codex", {"anthropic-version": "x"}, "a=1&client_version=0.1", True), ("codex", {}, "", False), ("codex", {}, "x_client_version=1", False),
        ("chatty", {}, "", True), ("chatty", {"anthropic-version": "x"}, "", False),
    ],
)  # fmt: skip
def test_who_reads_the_upstreams_own_list(provider: str, headers: dict[str, str], query: str, native: bool) -> None:
    readers = {"claude_api": reads_anthropic_list, "codex": reads_codex_list, "chatty": reads_openai_list}
    assert readers[provider](headers, query) is native
    own = {"chatty": {"prefix": "/chatty", "format": "openai_chat", "base_url": "http://c.test/v1"}}
    (catalogue,) = [each.catalogue for each in providers(Settings(providers=own)) if each.name == provider]
    assert catalogue
    assert catalogue.is_native is readers[provider]
