"""Failures of Claude Code as the errors that the client gets.

The status of the upstream's response decides; where there was none, the SDK's name for the kind of failure; else it is a 500.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Sequence

from claude_agent_sdk import (
    AssistantMessage,
    CLIConnectionError,
    ProcessError,
    RateLimitEvent,
    ResultMessage,
    TextBlock,
)

from ccproxy.errors import ExchangeError, Unavailable, UpstreamBroken, UpstreamUnreachable
from ccproxy.translate.error_tables import KINDS, kind_of_status

LOG_IN = (
    "Claude Code is not logged in: run `claude` and type /login, or set CLAUDE_CODE_OAUTH_TOKEN to what "
    "`claude setup-token` prints, or set providers.claude_sdk.api_key"
)

# By the SDK's word, `AssistantMessage.error`.
_KINDS = {
    "authentication_failed": "authentication_error",
    "billing_error": "billing_error",
    "rate_limit": "rate_limit_error",
    "invalid_request": "invalid_request_error",
    "model_not_found": "not_found_error",
    "overloaded": "overloaded_error",
}


class UpstreamRefused(ExchangeError):
    """An error response of the upstream, or a refusal by Claude Code itself, with its own `status` and `kind`."""

    def __init__(self, status: int, message: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(message, headers=headers)
        self.status = status
        self.kind = kind_of_status(status)


class Failure:
    """Collects what the messages of one answer report about a failure."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._kind = ""
        self._text = ""
        self._limit: RateLimitEvent | None = None

    def note(self, message: AssistantMessage | RateLimitEvent) -> None:
        if isinstance(message, RateLimitEvent):
            self._limit = message
        elif message.error:
            self._kind = str(message.error)
            self._text = "".join(block.text for block in message.content if isinstance(block, TextBlock))

    def error(self, result: ResultMessage) -> ExchangeError:
        """The error of an answer that ended with `result`."""
        text = self._text or result.result or "; ".join(result.errors or ()) or result.subtype
        message = _upstream_message(text)
        status = result.api_error_status
        if status is None and self._kind in _KINDS:
            status = KINDS[_KINDS[self._kind]].status
        if self._kind == "billing_error" and status == 400:
            status = 402
        if status == 401 and result.api_error_status is None:
            return UpstreamRefused(401, LOG_IN)
        if status is None:
            if self._kind == "server_error":
                return UpstreamUnreachable(f"no answer from the upstream of Claude Code: {message}")
            return UpstreamRefused(500, f"Claude Code failed: {message}")
        return UpstreamRefused(status, message, headers=self._retry_after() if status == 429 else None)

    def _retry_after(self) -> dict[str, str]:
        info = self._limit.rate_limit_info if self._limit else None
        if info is None or info.resets_at is None:
            return {}
        return {"retry-after": str(max(1, math.ceil(info.resets_at - self._clock())))}


def process_error(error: BaseException, last_words: Sequence[str]) -> ExchangeError:
    """The error for a process that broke; the reason is in the log, with the process's last words."""
    if isinstance(error, ExchangeError):
        return error
    if isinstance(error, ProcessError):
        code = error.exit_code
        how = f"was killed by signal {-code}" if code and code < 0 else f"ended with exit code {code}"
        how = "closed its pipes" if code is None else how
        if any("cannot be used with root" in line for line in last_words):
            return UpstreamBroken(f'Claude Code {how}: permission_mode = "bypassPermissions" is not allowed for root')
        return UpstreamBroken(f"Claude Code {how} before its answer was complete. See ccproxy's log for its last words")
    if isinstance(error, CLIConnectionError):
        return UpstreamBroken("The connection to Claude Code broke. See ccproxy's log for details")
    if isinstance(error, OSError):
        return Unavailable(
            f"Claude Code cannot start: {error.strerror or error}. Check the space in the temporary folder"
        )
    return UpstreamBroken("Claude Code sent a message that ccproxy could not parse. See ccproxy's log for details")


# Claude Code's prose around the upstream's own words.
_BEFORE = re.compile(
    r"^(?:Failed to authenticate\. )?API Error: "
    r"(?:\d{3} |Request rejected \(429\) · |Server is temporarily limiting .*? · )?"
)
_AFTER = re.compile(r"\. This is a server-side issue, usually temporary.*$", re.DOTALL)
_TOO_LONG = re.compile(r"the request is ~(\d+) tokens \(limit (\d+)\)")


def _upstream_message(text: str) -> str:
    """The upstream's own words, by which clients tell errors apart."""
    if text.startswith("Prompt is too long"):
        numbers = _TOO_LONG.search(text)
        return f"prompt is too long: {numbers[1]} tokens > {numbers[2]} maximum" if numbers else "prompt is too long"
    return _AFTER.sub("", _BEFORE.sub("", text)).strip() or text
