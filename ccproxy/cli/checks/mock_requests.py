"""Checks of the mock provider's responses to a request in each format."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ccproxy.cli.checks.finding import Finding, broken, ok, warn

QUESTION = "ccproxy doctor asks"
_MESSAGE = {"role": "user", "content": QUESTION}
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "Anthropic Messages": ("/v1/messages", {"max_tokens": 50, "messages": [_MESSAGE]}),
    "OpenAI Chat Completions": ("/v1/chat/completions", {"messages": [_MESSAGE]}),
    "OpenAI Responses": ("/v1/responses", {"input": QUESTION}),
}
"""Path below the prefix and body, by format."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The response to one request. Status 0 means that there was none; `body` is the error then."""

    format: str
    streamed: bool
    status: int
    body: str


def replies(received: Iterable[Reply]) -> list[Finding]:
    """Return one finding for each format, for whole and streamed responses together."""
    by_format: dict[str, list[Reply]] = {}
    for each in received:
        by_format.setdefault(each.format, []).append(each)
    return [_format(name, group) for name, group in by_format.items()]


def _format(name: str, group: list[Reply]) -> Finding:
    subject = f"request {name}"
    bad = next((each for each in group if each.status != 200 or QUESTION not in each.body), None)
    if bad is None:
        return ok(subject, "works, whole and streamed")
    what = f"{'streamed' if bad.streamed else 'whole'}: {_problem(bad)}"
    if bad.status == 501:
        return warn(subject, what, "this version does not support this format here", "update ccproxy")
    return broken(
        subject,
        what,
        "clients of this format get no answer",
        "restart ccproxy with --log-level debug and read its log",
    )


def _problem(reply: Reply) -> str:
    if reply.status == 0:
        return f"no response: {reply.body}"
    if reply.status == 200:
        return "200, but not the expected answer"
    try:
        body = json.loads(reply.body)
        return f"{reply.status} {body['error']['message']}"
    except (ValueError, KeyError, TypeError):
        return f"{reply.status} {reply.body[:200]}"
