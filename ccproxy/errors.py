"""Every error that ccproxy raises on purpose.

CcproxyError
├── ConfigError             a wrong key, value or file: the start stops, exit code 2
├── StartError              a busy port, a refused bind, an addon that failed: the start stops, exit code 1
├── LoginError              a login, its refresh or its file failed; the subclasses live in ccproxy.auth: exit code 1
└── ExchangeError           an exchange ends with an error response in the client's own format
    ├── BadRequest          400  malformed JSON, or content that the upstream does not support
    ├── Unauthenticated     401  the client's token is missing or wrong, or the route has no usable credential
    ├── Forbidden           403  a Host or Origin that is not allowed
    ├── RouteNotFound       404
    ├── MethodNotAllowed    405  carries `allow`
    ├── Conflict            409
    ├── RequestTooLarge     413
    ├── UpgradeRequired     426  WebSocket on a route that speaks HTTP only
    ├── HeadersTooLarge     431
    ├── TooManyRequests     429  a full queue; carries `retry_after`
    ├── NotImplementedYet   501
    ├── UpstreamUnreachable 502  refused, no route, TLS failure, name not found, time-out
    ├── UpstreamBroken      502  the upstream closed early or did not send valid HTTP
    ├── Unavailable         503  a part that is not installed or switched off
    ├── UpstreamTimeout     504  the upstream sent nothing for too long
    ├── Overloaded          529
    ├── UpstreamError       the upstream's own error: any status and kind, translated into the client's format
    └── InternalError       500  a bug in ccproxy

Each `ExchangeError` has a `status`, a `kind` and a `message` that says what happened and what to do. `kind` is the Anthropic error type
(https://docs.claude.com/en/api/errors); `translate.errors` maps it to OpenAI's names.
"""

from __future__ import annotations


class CcproxyError(Exception):
    """The root of the tree. `str(error)` is a sentence for humans and never contains a secret."""


class ConfigError(CcproxyError):
    """The configuration is wrong. The message names the file, the key, the value and the accepted values."""


class StartError(CcproxyError):
    """The proxy cannot start. The message names the cause and the option that fixes it."""


class LoginError(CcproxyError):
    """A login failed, or could not be renewed, read or stored. The message says what to do."""


class ExchangeError(CcproxyError):
    """An exchange ends with an error response of this `status`.

    `param` is the JSON path of the invalid part of the request; `code` is OpenAI's machine-readable code, if it has one; `headers` are added to
    the response.
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
    """The request is malformed, or asks for something that the upstream does not support."""

    status = 400
    kind = "invalid_request_error"


class Unauthenticated(ExchangeError):
    """The token or credential is missing or not usable; the message names the command that provides one."""

    status = 401
    kind = "authentication_error"
    code = "invalid_api_key"


class Forbidden(ExchangeError):
    """The Host or Origin is not allowed; the message names the setting."""

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
    """The session is busy with another request."""

    status = 409
    kind = "conflict_error"


class RequestTooLarge(ExchangeError):
    """The body is larger than `server.max_body_mb`."""

    status = 413
    kind = "request_too_large"


class UpgradeRequired(ExchangeError):
    """The client requested a WebSocket. Codex falls back to HTTP at once on exactly this status."""

    status = 426
    kind = "invalid_request_error"


class TooManyRequests(ExchangeError):
    """The queue is full."""

    status = 429
    kind = "rate_limit_error"
    code = "rate_limit_exceeded"


class HeadersTooLarge(ExchangeError):
    """The request headers are larger than the limit."""

    status = 431
    kind = "invalid_request_error"


class NotImplementedYet(ExchangeError):
    """The route is not implemented in this version."""

    status = 501
    kind = "api_error"


class UpstreamUnreachable(ExchangeError):
    """The upstream cannot be reached."""

    status = 502
    kind = "api_error"


class UpstreamBroken(ExchangeError):
    """The upstream did not send valid HTTP, or closed the connection before its response was complete."""

    status = 502
    kind = "api_error"


class Unavailable(ExchangeError):
    """A part of ccproxy that this route requires is missing; the message names the command that installs it."""

    status = 503
    kind = "api_error"


class UpstreamTimeout(ExchangeError):
    """The upstream sent nothing for `server.idle_timeout` seconds."""

    status = 504
    kind = "timeout_error"


class Overloaded(ExchangeError):
    """The provider has no capacity at the moment."""

    status = 529
    kind = "overloaded_error"


class UpstreamError(ExchangeError):
    """The upstream sent an error response."""

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
    """A bug in ccproxy. The details are in the log, not in the message."""

    status = 500
    kind = "api_error"
