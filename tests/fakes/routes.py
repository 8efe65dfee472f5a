"""Native routes of every provider: where a client asks, where the upstream is asked, and with which credential."""

from __future__ import annotations

from dataclasses import dataclass

from tests.fakes.client import message
from tests.fakes.proxy import ANTHROPIC_KEY, CODEX_KEY, OWN_KEY

VERSION = (b"anthropic-version", b"2023-06-01")
ORIGINATOR = (b"originator", b"ccproxy")

RESPONSES_BODY = (
    b'{"model":"gpt-x","instructions":"","input":[{"role":"user","content":"hello"}],"store":false,"stream":true}'
)
CHAT_BODY = b'{"model":"gpt-x","messages":[{"role":"user","content":"hello"}],"stream":true}'


@dataclass(frozen=True, slots=True)
class Native:
    """A route whose bytes pass unchanged."""

    name: str
    path: str
    upstream_path: str
    body: bytes
    added: tuple[tuple[bytes, bytes], ...]
    """What is added at the end of the head: defaults and the credential."""
    error_type: str
    """How the route's format names a failed upstream."""


NATIVE = (
    Native("api", "/api/v1/messages", "/v1/messages", message(),
           (VERSION, (b"x-api-key", ANTHROPIC_KEY.encode())), "api_error"),
    Native("count_tokens", "/api/v1/messages/count_tokens", "/v1/messages/count_tokens", message(),
           (VERSION, (b"x-api-key", ANTHROPIC_KEY.encode())), "api_error"),
    Native("codex", "/api/codex/responses", "/backend-api/codex/responses", RESPONSES_BODY,
           (ORIGINATOR, (b"authorization", b"Bearer " + CODEX_KEY.encode())), "server_error"),
    Native("codex-v1", "/api/codex/v1/responses", "/backend-api/codex/responses", RESPONSES_BODY,
           (ORIGINATOR, (b"authorization", b"Bearer " + CODEX_KEY.encode())), "server_error"),
    Native("own-anthropic", "/zai/v1/messages", "/anthropic/v1/messages", message(),
           (VERSION, (b"x-api-key", OWN_KEY.encode())), "api_error"),
    Native("own-chat", "/chatty/v1/chat/completions", "/v1/chat/completions", CHAT_BODY,
           ((b"authorization", b"Bearer " + OWN_KEY.encode()),), "server_error"),
    Native("own-responses", "/respy/v1/responses", "/v1/responses", RESPONSES_BODY,
           ((b"authorization", b"Bearer " + OWN_KEY.encode()),), "server_error"),
)  # fmt: skip
IDS = [route.name for route in NATIVE]
