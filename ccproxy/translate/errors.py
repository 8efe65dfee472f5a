"""Errors of the three formats: one table of kinds, statuses and codes, and each format's body and mid-stream event.

The hub is `ExchangeError`: `kind` is Anthropic's error type, `code` is OpenAI's code where there is one. An upstream's error answer is read into an
`UpstreamError`, any error is written for the client that asked.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from ccproxy.errors import ExchangeError
from ccproxy.translate.formats import Format

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


def error_status(fmt: Format, error: ExchangeError) -> int:
    """The HTTP status of this error for a client of this format (529 is Anthropic's own; OpenAI's clients know 503)."""
    if error.status == 529 and fmt is not Format.ANTHROPIC:
        return 503
    return error.status


def error_body(fmt: Format, error: ExchangeError, request_id: str | None = None) -> bytes:
    """The body of an error answer in the client's format."""
    return _dumps(_error_object(fmt, error, request_id))


def error_event(fmt: Format, error: ExchangeError, request_id: str | None = None) -> bytes:
    """The event that ends a stream which failed, framed, in the client's format. A Chat stream ends without `[DONE]`."""
    if fmt is Format.OPENAI_RESPONSES:
        response = failed_response(error, request_id)
        return (
            b"event: response.failed\ndata: "
            + _dumps({"type": "response.failed", "sequence_number": 0, "response": response})
            + b"\n\n"
        )
    body = error_body(fmt, error, request_id)
    return (b"event: error\n" if fmt is Format.ANTHROPIC else b"") + b"data: " + body + b"\n\n"


def failed_response(error: ExchangeError, request_id: str | None = None) -> Json:
    """A Responses object of status `failed` for a stream of which nothing else is known."""
    name = openai_name(error)
    return {
        "id": f"resp_{request_id or 'failed'}",
        "object": "response",
        "created_at": 0,
        "status": "failed",
        "error": {"code": name.code or name.type, "message": error.message},
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": "",
        "output": [],
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": None,
    }


def openai_name(error: ExchangeError) -> OpenAiName:
    """Status, type and code as OpenAI would say them."""
    name = OPENAI_NAMES.get(error.kind, OPENAI_NAMES["api_error"])
    return OpenAiName(error_status(Format.OPENAI_CHAT, error), name.type, error.code or name.code)


def _error_object(fmt: Format, error: ExchangeError, request_id: str | None) -> Json:
    if fmt is Format.ANTHROPIC:
        return {"type": "error", "error": {"type": error.kind, "message": error.message}, "request_id": request_id}
    name = openai_name(error)
    return {"error": {"message": error.message, "type": name.type, "param": error.param, "code": name.code}}


def _dumps(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
