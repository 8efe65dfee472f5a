"""Everything that ccproxy raises on purpose.

CcproxyError
├── ConfigError             a wrong key, value or file: the start stops, exit code 2
├── StartError              a busy port, a refused bind, an addon that failed: the start stops, exit code 1
├── LoginError              a login, its refresh or its file failed; the subclasses live in ccproxy.auth: exit code 1
└── ExchangeError           an exchange ends in an error answer, written in the client's own format
    ├── BadRequest          400  malformed JSON, or content that the upstream cannot be told
    ├── Unauthenticated     401  the client's token is missing or wrong, or the route has no usable credential
    ├── Forbidden           403  a foreign Host or Origin
    ├── RouteNotFound       404
    ├── MethodNotAllowed    405  carries `allow`
    ├── Conflict            409
    ├── RequestTooLarge     413
    ├── UpgradeRequired     426  WebSocket on a route that speaks HTTP only
    ├── HeadersTooLarge     431
    ├── TooManyRequests     429  a full queue; carries `retry_after`
    ├── NotImplementedYet   501
    ├── UpstreamUnreachable 502  refused, no route, TLS failure, name not found, time-out
    ├── UpstreamBroken      502  the upstream closed early or sent no HTTP
    ├── Unavailable         503  a part that is not installed or switched off
    ├── UpstreamTimeout     504  the upstream sent nothing for too long
    ├── Overloaded          529
    ├── UpstreamError       the upstream's own error: any status and kind, retold in the client's format
    └── InternalError       500  a defect of ccproxy

`kind` is the Anthropic error type (https://docs.claude.com/en/api/errors); `translate.errors` maps it to OpenAI's
names.
"""

from __future__ import annotations


class CcproxyError(Exception):
    """The root of the tree. `str(error)` is a sentence for a person and never holds a secret."""


class ConfigError(CcproxyError):
    """The configuration is wrong. The message names file, key, value and what is accepted."""


class StartError(CcproxyError):
    """The proxy cannot start. The message names the cause and the option that mends it."""


class LoginError(CcproxyError):
    """A login could not be made, renewed, read or stored. The message says what to do about it."""


class ExchangeError(CcproxyError):
    """An exchange ends with an error answer of this `status`.

    `param` is the JSON path of the offending part of the request; `code` is OpenAI's machine-readable code where it has one; `headers` are
    added to the answer.
    """

    status = 500
    kind = "api_error"
    code: str | None = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code if code is not None else type(self).code
        self.headers = headers or {}


class BadRequest(ExchangeError):
    """The request is malformed or asks for what the upstream cannot be told."""

    status = 400
    kind = "invalid_request_error"


class Unauthenticated(ExchangeError):
    """No usable token or credential; the message names the command that gets one."""

    status = 401
    kind = "authentication_error"
    code = "invalid_api_key"


class Forbidden(ExchangeError):
    """Host or Origin is not allowed; the message names the setting."""

    status = 403
    kind = "permission_error"


class RouteNotFound(ExchangeError):
    """No route has this path; the message names the nearest one."""

    status = 404
    kind = "not_found_error"


class MethodNotAllowed(ExchangeError):
    """The path exists under other methods, named in the header `allow`."""

    status = 405
    kind = "invalid_request_error"


class Conflict(ExchangeError):
    """The session already answers another request."""

    status = 409
    kind = "conflict_error"


class RequestTooLarge(ExchangeError):
    """The body is larger than `server.max_body_mb`."""

    status = 413
    kind = "request_too_large"


class UpgradeRequired(ExchangeError):
    """A WebSocket was asked for. Codex falls back to HTTP at once on exactly this status."""

    status = 426
    kind = "invalid_request_error"


class TooManyRequests(ExchangeError):
    """A bounded queue is full."""

    status = 429
    kind = "rate_limit_error"
    code = "rate_limit_exceeded"


class HeadersTooLarge(ExchangeError):
    """The request head is larger than the fixed limit."""

    status = 431
    kind = "invalid_request_error"


class NotImplementedYet(ExchangeError):
    """The route exists in the interface; this version cannot serve it."""

    status = 501
    kind = "api_error"


class UpstreamUnreachable(ExchangeError):
    """No connection to the upstream."""

    status = 502
    kind = "api_error"


class UpstreamBroken(ExchangeError):
    """The upstream connected but did not answer in HTTP, or closed before its answer was whole."""

    status = 502
    kind = "api_error"


class Unavailable(ExchangeError):
    """A part of ccproxy that this route needs is missing; the message names the command that brings it."""

    status = 503
    kind = "api_error"


class UpstreamTimeout(ExchangeError):
    """The upstream sent nothing for `server.idle_timeout` seconds."""

    status = 504
    kind = "timeout_error"


class Overloaded(ExchangeError):
    """The provider has no capacity now."""

    status = 529
    kind = "overloaded_error"


class UpstreamError(ExchangeError):
    """The upstream answered with an error of its own."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        kind: str,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message, param=param, code=code, headers=headers)
        self.status = status
        self.kind = kind


class InternalError(ExchangeError):
    """A defect of ccproxy. The message has no detail of it; the log has."""

    status = 500
    kind = "api_error"
