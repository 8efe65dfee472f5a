"""Error answers and error events in every format, and an upstream's error answer read whatever it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ccproxy.errors import ExchangeError, UpstreamError
from ccproxy.translate import error_tables, ratelimits
from ccproxy.translate.anthropic import errors as _anthropic
from ccproxy.translate.formats import Format
from ccproxy.translate.jsontext import Garbled, parse_bytes
from ccproxy.translate.openai_chat import errors as _chat
from ccproxy.translate.openai_responses import errors as _responses

Json = dict[str, Any]


class _Dialect(NamedTuple):
    status: Callable[[ExchangeError], int]
    body: Callable[[ExchangeError, str | None], bytes]
    event: Callable[[ExchangeError, str | None], bytes]
    read: Callable[[Json, int], UpstreamError]


_DIALECTS = {
    Format.ANTHROPIC: _Dialect(_anthropic.status, _anthropic.body, _anthropic.event, _anthropic.read_error),
    Format.OPENAI_CHAT: _Dialect(_chat.status, _chat.body, _chat.event, _chat.read_error),
    Format.OPENAI_RESPONSES: _Dialect(_responses.status, _responses.body, _responses.event, _responses.read_error),
}


def error_status(fmt: Format, error: ExchangeError) -> int:
    """The HTTP status of this error for a client of this format (529 is Anthropic's own; OpenAI's clients know 503)."""
    return _DIALECTS[fmt].status(error)


def error_body(fmt: Format, error: ExchangeError, request_id: str | None = None) -> bytes:
    """The body of an error answer in the client's format."""
    return _DIALECTS[fmt].body(error, request_id)


def error_event(fmt: Format, error: ExchangeError, request_id: str | None = None) -> bytes:
    """The framed event that ends a stream which failed, for a stream of which nothing else is known.

    A stream that ccproxy translates itself ends with `StreamTranslator.fail`, which knows the response's id and what it holds.
    """
    return _DIALECTS[fmt].event(error, request_id)


def read_error(upstream: Format, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """An upstream's error answer: its own JSON, another vendor's, `{"detail": …}`, HTML, or nothing at all. Never raises."""
    lower = {key.lower(): value for key, value in headers.items()}
    try:
        found = parse_bytes(body)
    except Garbled:
        found = None
    if isinstance(found, list) and len(found) == 1:  # some gateways wrap the object
        found = found[0]
    if isinstance(found, dict) and (found.get("error") or found.get("detail") or found.get("message")):
        read = _anthropic.read_error if found.get("type") == "error" else _DIALECTS[upstream].read
        if upstream is Format.ANTHROPIC and found.get("type") != "error":
            read = _chat.read_error
        error = read(found, status)
    else:
        error = UpstreamError(_prose(status, lower, body), status=status, kind=error_tables.kind_of_status(status))
    if "retry-after" in lower:
        error.headers["retry-after"] = lower["retry-after"]
    return error


def _prose(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """What a page that is no JSON says."""
    text = error_tables.snippet(body)
    if not text:
        return f"The upstream answered {status} without a body"
    if "html" in headers.get("content-type", "") or text[:1] == "<":
        text = " ".join(
            re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", text, flags=re.IGNORECASE | re.DOTALL).split()
        )
        ray = f" (cf-ray {headers['cf-ray']})" if "cf-ray" in headers else ""
        return f"The upstream answered {status} with a web page{ray}: {text}"
    return text


def translate_error(
    client: Format, upstream: Format, status: int, headers: Mapping[str, str], body: bytes
) -> tuple[int, dict[str, str], bytes]:
    """An upstream's error answer in the client's format: status, headers to add, body."""
    error = read_error(upstream, status, headers, body)
    lower = {key.lower(): value for key, value in headers.items()}
    request_id = lower.get("request-id") or lower.get("x-request-id") or lower.get("x-oai-request-id")
    out = {"content-type": "application/json", **ratelimits.translate(client, lower), **error.headers}
    if request_id is not None:
        out["request-id" if client is Format.ANTHROPIC else "x-request-id"] = request_id
    return error_status(client, error), out, error_body(client, error, request_id)


_UNSUPPORTED = re.compile(r"Unsupported parameter: '?([A-Za-z_][\w.]*)'?")


def unsupported_parameter(status: int, body: bytes) -> str | None:
    """The parameter that a backend refused by name, to be left out from then on; None for any other error."""
    if status != 400:
        return None
    try:
        found = parse_bytes(body)
    except Garbled:
        return None
    if not isinstance(found, dict):
        return None
    message = error_tables.read_openai(found, status).message
    match = _UNSUPPORTED.search(message)
    return match[1] if match else None
