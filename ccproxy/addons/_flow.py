"""HTTPFlow and our values: what the gateway writes onto a flow, and how a hook of it fails.

mitmproxy's addons fail open: a hook that raises is logged and the unmodified request goes on. `fail_closed` turns that round.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from mitmproxy import http

from ccproxy.addons import exchange
from ccproxy.addons.answers import error_response
from ccproxy.errors import ExchangeError, InternalError
from ccproxy.providers.spec import Upstream

logger = logging.getLogger(__name__)

Addon = TypeVar("Addon")
Plain = TypeVar("Plain")
Hook = Callable[[Addon, http.HTTPFlow], Awaitable[None] | None]
"""What it returns is awaited; `None` if there is nothing to wait for."""


def fail_closed(hook: Hook[Addon]) -> Hook[Addon]:
    """A hook that raises answers the client with that error; nothing goes upstream."""

    def refuse(flow: http.HTTPFlow, error: Exception) -> None:
        if not isinstance(error, ExchangeError):
            logger.error("the gateway failed in %s", hook.__name__, exc_info=error)
            error = InternalError("ccproxy failed to handle this request; its log says more")
        answer = error_response(exchange.begin(flow).format, error, flow.id)
        if flow.response is not None and flow.response.stream:
            answer.stream = False
        flow.response = answer

    async def rest(flow: http.HTTPFlow, waiting: Awaitable[None]) -> None:
        try:
            await waiting
        except Exception as error:  # noqa: BLE001 - the one place where anything at all must become an answer
            refuse(flow, error)

    @functools.wraps(hook)
    def guarded(self: Addon, flow: http.HTTPFlow) -> Awaitable[None] | None:
        try:
            waiting = hook(self, flow)
        except Exception as error:  # noqa: BLE001 - see above
            refuse(flow, error)
            return None
        return None if waiting is None else rest(flow, waiting)

    return guarded


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
    """Set header fields and take others out, told by their names in lower case, in one go: each single change takes mitmproxy 5 µs."""
    # Upstreams' fields come back here as mitmproxy decodes them.
    put = [
        (name.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape"))
        for name, value in fields.items()
    ]
    names = {name.lower() for name, _ in put}
    kept = [field for field in headers.fields if (name := field[0].lower()) not in names and not leave_out(name)]
    headers.fields = (*kept, *put)


def set_body(flow: http.HTTPFlow, body: bytes) -> None:
    """Replace the request's body, its length told."""
    flow.request.raw_content = body
    flow.request.headers.pop("transfer-encoding", None)
    flow.request.headers["content-length"] = str(len(body))
