"""Error answers as mitmproxy responses and as raw HTTP/1, in the client's format."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping

from mitmproxy import http

from ccproxy.addons.transport.mitmproxy_internals import http1, status_codes
from ccproxy.errors import ExchangeError
from ccproxy.providers.routing import suggested_format
from ccproxy.translate.errors import error_body, error_status
from ccproxy.translate.formats import Format

EXTRA_REASONS = {426: "Upgrade Required", 431: "Request Header Fields Too Large", 529: "Overloaded"}


def response(status: int, body: bytes, headers: dict[str, str]) -> http.Response:
    """A whole answer with `content-length`; header names as given."""
    answer = http.Response.make(status, body, {**headers, "content-length": str(len(body))})
    answer.reason = status_codes.RESPONSES.get(status) or EXTRA_REASONS.get(status, "")
    return answer


def json_response(body: object, headers: Mapping[str, str] | None = None) -> http.Response:
    """A whole JSON response of status 200."""
    try:
        content = json.dumps(body, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:  # a lone surrogate, which a client may send
        content = json.dumps(body, default=str).encode()
    return response(200, content, {"content-type": "application/json", **(headers or {})})


def stream_response(headers: Mapping[str, str]) -> http.Response:
    """The head of a stream of server-sent events."""
    fields = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache", **headers}
    head = http.Response.make(200, b"", {**fields, "transfer-encoding": "chunked"})
    head.headers.pop("content-length", None)
    return head


def error_response(fmt: Format, error: ExchangeError, flow_id: str) -> http.Response:
    """An error in the client's format."""
    body = error_body(fmt, error, f"req_{flow_id}")
    headers = {"content-type": "application/json", "request-id": f"req_{flow_id}", **error.headers}
    return response(error_status(fmt, error), body, headers)


def last_words(error: ExchangeError, path: str = "") -> bytes:
    """An error for a client whose request never became a flow; the connection is closed after it."""
    flow_id = str(uuid.uuid4())
    answer = error_response(suggested_format(path), error, flow_id)
    answer.headers["connection"] = "close"
    answer.headers["x-ccproxy-flow"] = flow_id
    return bytes(http1.assemble_response(answer))
