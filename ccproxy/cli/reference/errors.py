"""The page of errors, generated from the error classes and from their form in each format."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator
from typing import Final

from ccproxy import auth, errors as own, ledger
from ccproxy.cli.reference.markdown import code, sentence, table
from ccproxy.errors import CcproxyError, ConfigError, ExchangeError
from ccproxy.translate.errors import error_body, error_status
from ccproxy.translate.formats import Format

_INTRODUCTION = """\
# Errors

ccproxy reports errors in the client's own format. This page is generated from the classes of `ccproxy/errors.py`. If you start from a symptom, see
[troubleshooting](../user-guide/troubleshooting.md).

- An error of the upstream keeps its status, message and `retry-after`. If the formats differ, it is converted as described in
  [translation](translation.md#errors); otherwise it passes byte for byte.
- Each response has the header `x-ccproxy-flow`. The log contains the same id.
- The tables show the status, `error.type` and, if there is one, `error.code`.
- Messages never contain secrets.

## Responses
"""

_BODIES = """\
## Shapes

| format | error response | in a stream |
|---|---|---|
| Messages | `{"type": "error", "error": {"type", "message"}, "request_id"}` | `event: error` with the same object |
| Chat Completions | `{"error": {"message", "type", "param", "code"}}` | a chunk with the same object, and no `[DONE]` |
| Responses | `{"error": {"message", "type", "param", "code"}}` | `response.failed` with `code` and `message` |

A stream that passes byte for byte gets such an event only if that is safe. Otherwise the connection is closed in the middle of the stream, so that it
never looks complete.
"""

_OTHERS = """\
## Errors of the command line

The message is one line on stderr. The exit code is 2 for the configuration and for wrong usage, and 1 for all other errors.
"""

_FIX: Final[dict[type[ExchangeError], str]] = {
    own.BadRequest: "Correct the request; `param` is the JSON path. With `translate.strict`, losses are errors too.",
    own.Unauthenticated: "Sign in with the command in the message, set the API key, or send ccproxy's token.",
    own.Forbidden: "Add the name to `server.allowed_hosts` or the origin to `server.allowed_origins`.",
    own.RouteNotFound: "Correct the client's base URL. `ccproxy routes` lists the routes.",
    own.MethodNotAllowed: "Use a method in the header `allow`.",
    own.Conflict: "Wait, use another session id, or set `providers.claude_sdk.session_busy` to `wait`.",
    own.RequestTooLarge: "Raise `server.max_body_mb`, or send less.",
    own.UpgradeRequired: "None: clients continue over HTTP. For Codex, `supports_websockets = false` avoids the attempt.",
    own.TooManyRequests: "Wait for `retry-after`, or raise `providers.claude_sdk.max_processes` or `queue`.",
    own.HeadersTooLarge: "Send smaller headers. Cookies and tokens of other services are the usual cause.",
    own.NotImplementedYet: "Use a newer ccproxy.",
    own.UpstreamUnreachable: "Run `ccproxy doctor`. Behind a corporate proxy, set `HTTPS_PROXY` and `SSL_CERT_FILE`.",
    own.UpstreamBroken: "Try again. For `/claude`, the log contains the last output of Claude Code.",
    own.UpstreamTimeout: "Try again, or raise `server.idle_timeout`.",
    own.Unavailable: "Run the command or change the setting in the message.",
    own.Overloaded: "Try again later.",
    own.UpstreamTimeout: "Try again, or raise `server.idle_timeout`.",
    own.InternalError: "Please report it with the lines of the log for this `x-ccproxy-flow`.",
}


def errors() -> str:
    """Return the page."""
    return "\n".join([_INTRODUCTION, _responses(), _BODIES, _OTHERS, _commands()])


def _responses() -> str:
    rows = []
    for cls in vars(own).values():
        if isinstance(cls, type) and issubclass(cls, ExchangeError) and cls not in {ExchangeError, own.UpstreamError}:
            shapes = {fmt: _shape(fmt, cls("")) for fmt in Format}
            if shapes[Format.OPENAI_CHAT] != shapes[Format.OPENAI_RESPONSES]:
                raise ValueError(f"{cls.__name__} needs a column for each of OpenAI's formats")
            rows.append((shapes[Format.ANTHROPIC], shapes[Format.OPENAI_CHAT], sentence(cls.__doc__), _FIX[cls]))
    return table(("in Messages", "in Chat Completions and Responses", "cause", "fix"), rows)


def _shape(fmt: Format, error: ExchangeError) -> str:
    """Return the status, type and code in one format."""
    inner = json.loads(error_body(fmt, error))["error"]
    words = [inner["type"], *([inner["code"]] if inner.get("code") else [])]
    return f"{error_status(fmt, error)} {' '.join(map(code, words))}"


def _commands() -> str:
    for package in (auth, ledger):
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")
    rows = [
        (code(cls.__name__), sentence(cls.__doc__), "2" if issubclass(cls, ConfigError) else "1")
        for cls in _command_errors(CcproxyError)
    ]
    return table(("error", "cause", "exit code"), rows)


def _command_errors(cls: type[CcproxyError]) -> Iterator[type[CcproxyError]]:
    """Yield the subclasses that end a command, those of one module in their order there."""
    for below in sorted(cls.__subclasses__(), key=lambda each: (each.__module__ != own.__name__, each.__module__)):
        if not issubclass(below, ExchangeError) and below.__module__.startswith(
            ("ccproxy.errors", "ccproxy.auth.", "ccproxy.ledger.")
        ):
            yield below
            yield from _command_errors(below)
