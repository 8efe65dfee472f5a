"""Reading and writing errors of Chat Completions. https://platform.openai.com/docs/guides/error-codes"""

from __future__ import annotations

from typing import Any

from ccproxy.errors import ExchangeError, UpstreamError
from ccproxy.translate import error_tables
from ccproxy.translate.jsontext import dump_bytes
from ccproxy.translate.sse import frame

Json = dict[str, Any]


def read_error(body: Json, status: int) -> UpstreamError:
    """Read an error response, or an error chunk with `status` 0: then the code determines the status."""
    return error_tables.read_openai(body, status)


def status(error: ExchangeError) -> int:
    """The HTTP status of an error for OpenAI's clients, which do not know 529."""
    return 503 if error.status == 529 else error.status


def error_object(error: ExchangeError, *, streamed: bool = False) -> Json:
    """The member `error` of a response or chunk."""
    kind = error_tables.named(error)
    message = error_tables.stream_message(error) if streamed else error.message
    return {"message": message, "type": kind.openai_type, "param": error.param, "code": error_tables.openai_code(error)}


def body(error: ExchangeError, _request_id: str | None) -> bytes:
    """The body of an error response."""
    return dump_bytes({"error": error_object(error)})


def event(error: ExchangeError, _request_id: str | None) -> bytes:
    """The chunk that ends a failed stream. No `[DONE]` follows."""
    return frame("", dump_bytes({"error": error_object(error, streamed=True)}))
