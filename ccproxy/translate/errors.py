"""Error bodies and error events in every format, and a reader for the errors of any upstream."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from ccproxy.errors import ExchangeError, UpstreamError
from ccproxy.translate import codex, error_tables, ratelimits
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
    """Return the HTTP status of this error for a client of this format (529 is Anthropic's own; OpenAI's clients know 503)."""
    return _DIALECTS[fmt].status(error)


def error_body(fmt: Format, error: ExchangeError, request_id: str | None = None) -> bytes:
    """Return the body of an error in the client's format."""
    return _DIALECTS[fmt].body(error, request_id)


def error_event(fmt: Format, error: ExchangeError, request_id: str | None = None) -> bytes:
    """Return the framed event that ends a failed stream of which nothing else is known.

    A stream that ccproxy translates ends with `StreamTranslator.fail`, which knows the id of the response and its content.
    """
    return _DIALECTS[fmt].event(error, request_id)


def read_error(upstream: Format, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """Read an upstream's error: its own JSON, another vendor's, `{"detail": …}`, HTML, or nothing at all. Never raises."""
    lower = {key.lower(): value for key, value in headers.items()}
    try:
        value = parse_bytes(body)
    except Garbled:
        value = None
    if isinstance(value, list) and len(value) == 1:  # some gateways wrap the object
        value = value[0]
    if isinstance(value, dict) and (value.get("error") or value.get("detail") or value.get("message")):
        read = _anthropic.read_error if value.get("type") == "error" else _DIALECTS[upstream].read
        if upstream is Format.ANTHROPIC and value.get("type") != "error":
            read = _chat.read_error
        error = read(value, status)
    else:
        error = UpstreamError(_prose(status, lower, body), status=status, kind=error_tables.kind_of_status(status))
    if "retry-after" in lower:
        error.headers["retry-after"] = lower["retry-after"]
    return error


def _prose(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """Return the text of a body that is not JSON."""
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
    """Return an upstream's error in the client's format: status, headers to add, body."""
    error = read_error(upstream, status, headers, body)
    lower = {key.lower(): value for key, value in headers.items()}
    request_id = lower.get("request-id") or lower.get("x-request-id") or lower.get("x-oai-request-id")
    out = {"content-type": "application/json", **ratelimits.translate(client, lower), **error.headers}
    if request_id is not None:
        out["request-id" if client is Format.ANTHROPIC else "x-request-id"] = request_id
    return error_status(client, error), out, error_body(client, error, request_id)


_REFUSAL = re.compile(
    r"Unsupported parameter: (?P<quote>'?)(?P<name>[a-z_]+(?:\.[a-z_]+)*)(?P=quote)(?: is not supported with this model\.)?"
)
MAX_REFUSAL: Final = 4096
"""The most bytes of a refusal of a parameter: longer errors quote the request."""


def unsupported_parameter(status: int, body: bytes) -> str | None:
    """Return the optional parameter that a backend refused by name, to be left out from then on; None for any other error.

    Only the vendors' own messages count, and only as a whole: an error that quotes the text of one request must not change the requests of others. What carries
    the conversation is never left out, see `codex.OPTIONAL`.
    """
    if status != 400 or len(body) > MAX_REFUSAL:
        return None
    try:
        error = parse_bytes(body)
    except Garbled:
        return None
    if not isinstance(error, dict):
        return None
    message, param = error.get("detail"), None
    if message is None and isinstance(error.get("error"), dict):
        message, param = error["error"].get("message"), error["error"].get("param")
    refusal = _REFUSAL.fullmatch(message) if isinstance(message, str) else None
    if refusal is None or refusal["name"] not in codex.OPTIONAL or param not in (None, refusal["name"]):
        return None
    return refusal["name"]
