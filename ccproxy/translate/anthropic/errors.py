"""Reading and writing errors of the Anthropic API. https://docs.claude.com/en/api/errors"""

from __future__ import annotations

from typing import Any

from ccproxy.errors import ExchangeError, UpstreamError
from ccproxy.translate import error_tables
from ccproxy.translate.jsontext import dump_bytes
from ccproxy.translate.sse import frame

Json = dict[str, Any]


def read_error(body: Json, status: int) -> UpstreamError:
    """Read an error response, or an error event with `status` 0: then the type determines the status."""
    inner = body.get("error")
    error: Json = inner if isinstance(inner, dict) else {}
    kind = error.get("type")
    if not isinstance(kind, str) or kind not in error_tables.KINDS:
        kind = error_tables.kind_of_status(status) if status else "api_error"
    message = error.get("message")
    message = message if isinstance(message, str) and message else "The upstream gave no reason"
    return UpstreamError(
        message, status=status or error_tables.KINDS[kind].status, kind=kind, param=error_tables.path_in(message)
    )


def status(error: ExchangeError) -> int:
    """The HTTP status of an error for Anthropic's clients. OpenAI uses 503 instead of 529, and 429 also for other errors than rate limits."""
    if error.kind in ("overloaded_error", "billing_error", "permission_error"):
        return error_tables.KINDS[error.kind].status
    return error.status


def body(error: ExchangeError, request_id: str | None) -> bytes:
    """The body of an error response."""
    inner = {"type": error.kind, "message": error_tables.anthropic_message(error)}
    return dump_bytes({"type": "error", "error": inner, "request_id": request_id})


def event(error: ExchangeError, request_id: str | None) -> bytes:
    """The event that ends a failed stream."""
    return frame("error", body(error, request_id))
