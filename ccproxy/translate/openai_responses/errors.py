"""Reading and writing errors of the Responses API and the Codex backend.

The Codex CLI uses `error.code` of `response.failed`, and the time to wait in its message. It ignores a bare `error` event.
"""

from __future__ import annotations

from typing import Any

from ccproxy.errors import ExchangeError, UpstreamError
from ccproxy.translate import error_tables
from ccproxy.translate.jsontext import dump_bytes
from ccproxy.translate.sse import frame

Json = dict[str, Any]


def read_error(body: Json, status: int) -> UpstreamError:
    """Read an error response, also `{"detail": …}` of the Codex backend, or an `error` event with `status` 0."""
    return error_tables.read_openai(body, status)


def status(error: ExchangeError) -> int:
    """The HTTP status of an error for OpenAI's clients, which do not know 529."""
    return 503 if error.status == 529 else error.status


def body(error: ExchangeError, _request_id: str | None) -> bytes:
    """The body of an error response."""
    kind = error_tables.named(error)
    code = error_tables.openai_code(error)
    inner = {"message": error.message, "type": kind.openai_type, "param": error.param, "code": code}
    return dump_bytes({"error": inner})


def response_error(error: ExchangeError) -> Json:
    """The member `error` of a failed response object."""
    return {"code": error_tables.openai_code(error) or "server_error", "message": error_tables.stream_message(error)}


def event(error: ExchangeError, request_id: str | None) -> bytes:
    """The event that ends a failed stream about which nothing else is known."""
    response = {
        "id": f"resp_{request_id or 'failed'}",
        "object": "response",
        "created_at": 0,
        "status": "failed",
        "error": response_error(error),
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
    return frame("response.failed", dump_bytes({"type": "response.failed", "sequence_number": 0, "response": response}))
