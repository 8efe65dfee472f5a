"""The page of errors, written from the classes and from what each format makes of them."""

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

What ccproxy answers when it refuses or fails, in the client's own format. This page is generated from the classes of `ccproxy/errors.py`.
[Troubleshooting](../user-guide/troubleshooting.md) goes the other way, from what you see to what to do.

- An upstream's own error keeps its status, its words, and `retry-after`; where formats differ it is retold by the table in
  [translation](translation.md#errors), else it passes byte for byte.
- Every answer has `x-ccproxy-flow`; the log has the same id.
- Below are status, `error.type`, and `error.code` where there is one.
- A message never holds a secret.
"""

_BODIES = """\
## Shapes

| format | error answer | in the middle of a stream |
|---|---|---|
| Messages | `{"type": "error", "error": {"type", "message"}, "request_id"}` | `event: error` with the same |
| Chat Completions | `{"error": {"message", "type", "param", "code"}}` | a chunk with the same, and no `[DONE]` |
| Responses | `{"error": {"message", "type", "param", "code"}}` | `response.failed` with `code` and `message` |

A stream that passes byte for byte gets the event only where that is safe; else its connection is cut. It never ends as if it were whole.
"""

_OTHERS = """\
## Errors of the command line

One line on stderr. Exit code 2 for the configuration and wrong usage, 1 for everything else.
"""

_REMEDY: Final[dict[type[ExchangeError], str]] = {
    own.BadRequest: "mend what the message names; `param` has its JSON path. With `translate.strict` it may be a loss: leave the field out, or switch that off",
    own.Unauthenticated: "run the command that the message names (`ccproxy auth login`, `ccproxy auth login-openai`), set the key, or send ccproxy's token",
    own.Forbidden: "add the name to `server.allowed_hosts` or the origin to `server.allowed_origins`",
    own.RouteNotFound: "correct the client's base URL; `ccproxy routes` lists what there is",
    own.MethodNotAllowed: "use a method of the header `allow`",
    own.Conflict: "wait for the first answer, use another session id, or set `providers.claude_sdk.session_busy` to `wait`; a permission is decided once",
    own.RequestTooLarge: "raise `server.max_body_mb`, or send less",
    own.UpgradeRequired: "nothing: clients go on over HTTP; for Codex `supports_websockets = false` saves the attempt",
    own.TooManyRequests: "wait as long as `retry-after` says, or raise `providers.claude_sdk.max_processes` or `queue`",
    own.HeadersTooLarge: "send smaller header fields: cookies and tokens of something else, most often",
    own.NotImplementedYet: "use a newer ccproxy",
    own.UpstreamUnreachable: "`ccproxy doctor` says at which step it fails; behind a company's proxy set `HTTPS_PROXY` and `SSL_CERT_FILE`",
    own.UpstreamBroken: "try again; for `/claude` the log has what Claude Code said last",
    own.Unavailable: "the message names the command or setting that brings the missing part",
    own.Overloaded: "try again later",
    own.InternalError: "a defect: please report it, with the lines that the log has for this `x-ccproxy-flow`",
}


def errors() -> str:
    """The whole page."""
    return "\n".join([_INTRODUCTION, _answers(), _BODIES, _OTHERS, _commands()])


def _answers() -> str:
    rows = []
    for cls in vars(own).values():
        if isinstance(cls, type) and issubclass(cls, ExchangeError) and cls not in {ExchangeError, own.UpstreamError}:
            said = {fmt: _as(fmt, cls("")) for fmt in Format}
            if said[Format.OPENAI_CHAT] != said[Format.OPENAI_RESPONSES]:
                raise ValueError(f"{cls.__name__} needs a column for each of OpenAI's formats")
            rows.append((said[Format.ANTHROPIC], said[Format.OPENAI_CHAT], sentence(cls.__doc__), _REMEDY[cls]))
    return table(("in Messages", "in Chat Completions and Responses", "when", "what to do"), rows)


def _as(fmt: Format, error: ExchangeError) -> str:
    """Status, type and code in one format."""
    inner = json.loads(error_body(fmt, error))["error"]
    words = [inner["type"], *([inner["code"]] if inner.get("code") else [])]
    return f"{error_status(fmt, error)} {' '.join(map(code, words))}"


def _commands() -> str:
    for package in (auth, ledger):
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")
    rows = [
        (code(cls.__name__), sentence(cls.__doc__), "2" if issubclass(cls, ConfigError) else "1")
        for cls in _told(CcproxyError)
    ]
    return table(("error", "when", "exit code"), rows)


def _told(cls: type[CcproxyError]) -> Iterator[type[CcproxyError]]:
    """The classes below that end a command, those of one module in their order there."""
    for below in sorted(cls.__subclasses__(), key=lambda each: (each.__module__ != own.__name__, each.__module__)):
        if not issubclass(below, ExchangeError) and below.__module__.startswith(
            ("ccproxy.errors", "ccproxy.auth.", "ccproxy.ledger.")
        ):
            yield below
            yield from _told(below)
