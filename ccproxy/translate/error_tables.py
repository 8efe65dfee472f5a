"""The table of errors: Anthropic's kinds, OpenAI's statuses, types and codes, and how one side's are said by the other."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from ccproxy.errors import ExchangeError, UpstreamError

Json = dict[str, Any]


class OpenAiName(NamedTuple):
    """What OpenAI's APIs call an error: HTTP status, `error.type`, `error.code`."""

    status: int
    type: str
    code: str | None


# Anthropic's types: https://docs.claude.com/en/api/errors. OpenAI's: https://platform.openai.com/docs/guides/error-codes
OPENAI_NAMES: dict[str, OpenAiName] = {
    "invalid_request_error": OpenAiName(400, "invalid_request_error", None),
    "authentication_error": OpenAiName(401, "invalid_request_error", "invalid_api_key"),
    "billing_error": OpenAiName(402, "insufficient_quota", "insufficient_quota"),  # not 429: the SDKs retry that
    "permission_error": OpenAiName(403, "permission_error", None),
    "not_found_error": OpenAiName(404, "invalid_request_error", None),
    "conflict_error": OpenAiName(409, "conflict_error", None),
    "request_too_large": OpenAiName(413, "invalid_request_error", "request_too_large"),
    "rate_limit_error": OpenAiName(429, "rate_limit_error", "rate_limit_exceeded"),
    "api_error": OpenAiName(500, "server_error", None),
    "timeout_error": OpenAiName(504, "server_error", "timeout"),
    "overloaded_error": OpenAiName(503, "server_error", "server_is_overloaded"),
}

_KIND_OF_STATUS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}

_KIND_OF_CODE: dict[str, tuple[int, str]] = {
    "context_length_exceeded": (400, "invalid_request_error"),
    "invalid_prompt": (400, "invalid_request_error"),
    "invalid_api_key": (401, "authentication_error"),
    "token_expired": (401, "authentication_error"),
    "insufficient_quota": (402, "billing_error"),
    "usage_not_included": (403, "permission_error"),
    "model_not_found": (404, "not_found_error"),
    "rate_limit_exceeded": (429, "rate_limit_error"),
    "usage_limit_reached": (429, "rate_limit_error"),
    "server_is_overloaded": (529, "overloaded_error"),
    "slow_down": (529, "overloaded_error"),
    "server_error": (500, "api_error"),
    "timeout": (504, "timeout_error"),
}

_TOO_LONG = re.compile(
    r"prompt is too long|context (?:length|window)|input is too long|exceeds? the (?:maximum )?context", re.IGNORECASE
)
_PATH_IN_TEXT = re.compile(r"^([a-z_]+(?:\.(?:\d+|[a-z_]+))+|messages|tools|system|max_tokens|thinking):")


def kind_of_status(status: int) -> str:
    """Anthropic's type for an HTTP status."""
    return _KIND_OF_STATUS.get(status) or ("invalid_request_error" if 400 <= status < 500 else "api_error")


def by_code(code: str, kind: str = "") -> tuple[int, str]:
    """HTTP status and Anthropic's type for an OpenAI code or type; a server's fault when neither is known."""
    return (
        _KIND_OF_CODE.get(code)
        or _KIND_OF_CODE.get(kind)
        or ((400, "invalid_request_error") if kind == "invalid_request_error" else (500, "api_error"))
    )


def openai_code(error: ExchangeError) -> str | None:
    """OpenAI's code for an error of any origin."""
    if error.code:
        return error.code
    if error.kind == "invalid_request_error" and _TOO_LONG.search(error.message):
        return "context_length_exceeded"
    if error.kind == "not_found_error" and isinstance(error, UpstreamError):
        return "model_not_found"
    return OPENAI_NAMES.get(error.kind, OPENAI_NAMES["api_error"]).code


def anthropic_message(error: ExchangeError) -> str:
    """The message as Anthropic's clients look for it: Claude Code compacts a conversation on these very words."""
    if error.code == "context_length_exceeded" and "prompt is too long" not in error.message.lower():
        return f"prompt is too long: {error.message}"
    return error.message


def stream_message(error: ExchangeError) -> str:
    """The message inside an OpenAI stream: Codex reads the time to wait from it."""
    wait = error.headers.get("retry-after", "")
    if error.kind == "rate_limit_error" and wait and "try again in" not in error.message:
        return f"{error.message} Please try again in {wait}s."
    return error.message


def path_in(message: str) -> str | None:
    """The field that Anthropic's message blames at its beginning: `messages.3.content.0: …` is `messages[3].content[0]`."""
    found = _PATH_IN_TEXT.match(message)
    if found is None:
        return None
    return re.sub(r"\.(\d+)", r"[\1]", found[1])


def snippet(body: bytes) -> str:
    """The beginning of a body that says nothing in JSON, on one line."""
    return " ".join(body[:2000].decode("utf-8", "replace").split())[:500]


def read_openai(body: Json, status: int) -> UpstreamError:
    """An error as OpenAI's APIs write it: `{"error": {…}}`, the flat `error` event, or the Codex backend's `{"detail": …}`."""
    error = body.get("error", body)
    if isinstance(error, str):
        error = {"message": error}
    if not isinstance(error, dict):
        error = {}
    message = error.get("message") or body.get("detail") or body.get("message")
    code, kind = error.get("code"), error.get("type")
    code, kind = code if isinstance(code, str) else "", kind if isinstance(kind, str) else ""
    found_status, found_kind = by_code(code, kind)
    if status:
        found_status = status
        if found_kind == "api_error" or status not in (400, 429, 500, 503):
            found_kind = kind_of_status(status)
    param = error.get("param")
    return UpstreamError(
        message if isinstance(message, str) and message else _readable(message) or "The upstream gave no reason",
        status=found_status,
        kind=found_kind,
        param=param if isinstance(param, str) else None,
        code=code or (kind if kind in _KIND_OF_CODE else "") or None,
        headers=_wait(error),
    )


def _readable(value: object) -> str:
    """`detail` may be a list of validation errors."""
    if isinstance(value, list):
        texts = [item.get("msg") if isinstance(item, dict) else item for item in value]
        return "; ".join(text for text in texts if isinstance(text, str))
    return ""


def _wait(error: Json) -> dict[str, str]:
    seconds = error.get("resets_in_seconds")
    if isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds < 10**9:
        return {"retry-after": str(int(seconds))}
    return {}
