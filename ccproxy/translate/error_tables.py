"""The table of errors: Anthropic's kinds, OpenAI's statuses, types and codes, and the translation between them."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from ccproxy.errors import ExchangeError, UpstreamError

Json = dict[str, Any]


class ErrorKind(NamedTuple):
    """One kind of error: the HTTP status at Anthropic, and the HTTP status, `error.type` and `error.code` at OpenAI."""

    status: int
    openai_status: int
    openai_type: str
    openai_code: str | None


KINDS: dict[str, ErrorKind] = {
    "invalid_request_error": ErrorKind(400, 400, "invalid_request_error", None),
    "authentication_error": ErrorKind(401, 401, "invalid_request_error", "invalid_api_key"),
    "billing_error": ErrorKind(402, 402, "insufficient_quota", "insufficient_quota"),  # not 429: the SDKs retry that
    "permission_error": ErrorKind(403, 403, "permission_error", None),
    "not_found_error": ErrorKind(404, 404, "invalid_request_error", None),
    "conflict_error": ErrorKind(409, 409, "conflict_error", None),
    "request_too_large": ErrorKind(413, 413, "invalid_request_error", "request_too_large"),
    "rate_limit_error": ErrorKind(429, 429, "rate_limit_error", "rate_limit_exceeded"),
    "api_error": ErrorKind(500, 500, "server_error", None),
    "timeout_error": ErrorKind(504, 504, "server_error", "timeout"),
    "overloaded_error": ErrorKind(529, 503, "server_error", "server_is_overloaded"),
}
"""By Anthropic's type (https://docs.claude.com/en/api/errors). OpenAI's names: https://platform.openai.com/docs/guides/error-codes"""

_KIND_OF_STATUS = {kind.status: name for name, kind in KINDS.items()} | {
    408: "timeout_error",
    422: "invalid_request_error",
    503: "overloaded_error",
}

_KIND_OF_CODE = {
    "context_length_exceeded": "invalid_request_error",
    "invalid_prompt": "invalid_request_error",
    "invalid_api_key": "authentication_error",
    "token_expired": "authentication_error",
    "insufficient_quota": "billing_error",
    "usage_not_included": "permission_error",
    "model_not_found": "not_found_error",
    "rate_limit_exceeded": "rate_limit_error",
    "usage_limit_reached": "rate_limit_error",
    "server_is_overloaded": "overloaded_error",
    "slow_down": "overloaded_error",
    "server_error": "api_error",
    "timeout": "timeout_error",
}

_TOO_LONG = re.compile(
    r"prompt is too long|context (?:length|window)|input is too long|exceeds? the (?:maximum )?context", re.IGNORECASE
)
_PATH_IN_TEXT = re.compile(r"^([a-z_]+(?:\.(?:\d+|[a-z_]+))+|messages|tools|system|max_tokens|thinking):")


def kind_of_status(status: int) -> str:
    """Return Anthropic's type for an HTTP status."""
    return _KIND_OF_STATUS.get(status) or ("invalid_request_error" if 400 <= status < 500 else "api_error")


def kind_of_code(code: str, kind: str = "") -> str:
    """Return Anthropic's type for an OpenAI code or type; a server error when neither is known."""
    return (
        _KIND_OF_CODE.get(code)
        or _KIND_OF_CODE.get(kind)
        or ("invalid_request_error" if kind == "invalid_request_error" else "api_error")
    )


def named(error: ExchangeError) -> ErrorKind:
    """Return the line of the table for an error; a server error for a kind that is unknown today."""
    return KINDS.get(error.kind, KINDS["api_error"])


def openai_code(error: ExchangeError) -> str | None:
    """Return OpenAI's code for an error of any origin."""
    if error.code:
        return error.code
    if error.kind == "invalid_request_error" and _TOO_LONG.search(error.message):
        return "context_length_exceeded"
    if error.kind == "not_found_error" and isinstance(error, UpstreamError):
        return "model_not_found"
    return named(error).openai_code


def anthropic_message(error: ExchangeError) -> str:
    """Return the message in the words that Anthropic's clients look for: Claude Code compacts a conversation on exactly these."""
    if error.code == "context_length_exceeded" and "prompt is too long" not in error.message.lower():
        return f"prompt is too long: {error.message}"
    return error.message


def stream_message(error: ExchangeError) -> str:
    """Return the message inside an OpenAI stream: Codex reads the time to wait from it."""
    wait = error.headers.get("retry-after", "")
    if error.kind == "rate_limit_error" and wait and "try again in" not in error.message:
        return f"{error.message} Please try again in {wait}s."
    return error.message


def path_in(message: str) -> str | None:
    """Return the field that Anthropic's message names at its beginning: `messages.3.content.0: …` is `messages[3].content[0]`."""
    path = _PATH_IN_TEXT.match(message)
    return None if path is None else re.sub(r"\.(\d+)", r"[\1]", path[1])


def snippet(body: bytes) -> str:
    """Return the beginning of a body that is not JSON, on one line."""
    return " ".join(body[:2000].decode("utf-8", "replace").split())[:500]


def read_openai(body: Json, status: int) -> UpstreamError:
    """Read an error as OpenAI's APIs write it: `{"error": {…}}`, the flat `error` event, or the Codex backend's `{"detail": …}`."""
    error = body.get("error", body)
    if isinstance(error, str):
        error = {"message": error}
    if not isinstance(error, dict):
        error = {}
    message = error.get("message") or body.get("detail") or body.get("message")
    code, kind = error.get("code"), error.get("type")
    code, kind = code if isinstance(code, str) else "", kind if isinstance(kind, str) else ""
    name = kind_of_code(code, kind)
    if status and (name == "api_error" or status not in (400, 429, 500, 503)):
        name = kind_of_status(status)
    param = error.get("param")
    return UpstreamError(
        message if isinstance(message, str) and message else _readable(message) or "The upstream gave no reason",
        status=status or KINDS[name].status,
        kind=name,
        param=param if isinstance(param, str) else None,
        code=code or (kind if kind in _KIND_OF_CODE else "") or None,
        headers=_wait(error),
    )


def _readable(value: object) -> str:
    """Return the text of a `detail` that is a list of validation errors."""
    if isinstance(value, list):
        texts = [item.get("msg") if isinstance(item, dict) else item for item in value]
        return "; ".join(text for text in texts if isinstance(text, str))
    return ""


def _wait(error: Json) -> dict[str, str]:
    seconds = error.get("resets_in_seconds")
    if isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds < 10**9:
        return {"retry-after": str(int(seconds))}
    return {}
