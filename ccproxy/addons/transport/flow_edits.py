"""Reads and edits of an HTTPFlow: its upstream, header fields and body."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from mitmproxy import http

from ccproxy.content_encoding import ContentEncodingError, TooLarge, UnknownEncoding, decode
from ccproxy.errors import BadRequest, RequestTooLarge
from ccproxy.providers import json_edit
from ccproxy.providers.spec import Upstream

Plain = TypeVar("Plain")


def twin(original: Plain) -> Plain:
    """A shallow copy of an object of attributes, in a fifth of the time that `copy.copy` takes."""
    made = object.__new__(type(original))
    made.__dict__.update(original.__dict__)
    return made


def send_to(flow: http.HTTPFlow, upstream: Upstream, path: str) -> None:
    """Point the flow at an upstream. The host comes from the configuration, whatever the client wrote."""
    request = flow.request
    request.data.scheme = upstream.scheme.encode()
    request.data.host = upstream.host
    request.data.port = upstream.port
    request.data.authority = b""
    request.data.path = (upstream.path + path).encode("utf-8", "surrogateescape")
    host = upstream.host_header.encode()
    request.headers.fields = tuple((n, host if n.lower() == b"host" else v) for n, v in request.headers.fields)


def put_fields(headers: http.Headers, fields: Mapping[str, str], leave_out: Callable[[bytes], bool]) -> None:
    """Set header fields and remove others, by their lower-case names, in one step: each single change takes mitmproxy 5 µs."""
    # Upstreams' fields come back here as mitmproxy decodes them.
    put = [
        (name.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape"))
        for name, value in fields.items()
    ]
    names = {name.lower() for name, _ in put}
    kept = [field for field in headers.fields if (name := field[0].lower()) not in names and not leave_out(name)]
    headers.fields = (*kept, *put)


def set_body(flow: http.HTTPFlow, body: bytes) -> None:
    """Replace the request's body, and its `content-length`."""
    flow.request.raw_content = body
    flow.request.headers.pop("transfer-encoding", None)
    flow.request.headers["content-length"] = str(len(body))


def is_compressed(flow: http.HTTPFlow) -> bool:
    """Whether the request's body has to be decompressed before it can be read."""
    return flow.request.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}


async def decompress(flow: http.HTTPFlow, limit: int) -> None:
    """Decompress the request's body, in a thread: 64 MB take a fifth of a second.

    Raises:
        BadRequest: it is not what its content-encoding says.
        RequestTooLarge: it is larger than `limit` bytes once it is decompressed.

    """
    encoding = flow.request.headers.get("content-encoding", "")
    try:
        body = await asyncio.to_thread(decode, flow.request.raw_content or b"", encoding, limit)
    except TooLarge:
        raise RequestTooLarge(f"The request body is larger than {limit // 2**20} MB (server.max_body_mb)") from None
    except UnknownEncoding as error:
        raise BadRequest(f"ccproxy cannot decode the content-encoding {str(error)[:80]!r}") from None
    except ContentEncodingError:
        raise BadRequest("The request body is not what its content-encoding says") from None
    set_body(flow, body)
    flow.request.headers.pop("content-encoding", None)


def json_object(flow: http.HTTPFlow) -> dict[str, Any]:
    """The request's body, which is not compressed any more, as a JSON object.

    Raises:
        BadRequest: it is not one.

    """
    body = json_edit.loads(flow.request.raw_content or b"")
    if not isinstance(body, dict):
        raise BadRequest("The request body must be a JSON object")
    return body
