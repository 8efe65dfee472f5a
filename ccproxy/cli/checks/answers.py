"""A real request in each format, answered by the mock provider of the proxy that runs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ccproxy.cli.checks.finding import Finding, broken, ok, warn

QUESTION = "ccproxy doctor asks"
_SAID = {"role": "user", "content": QUESTION}
QUESTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "Anthropic Messages": ("/v1/messages", {"max_tokens": 50, "messages": [_SAID]}),
    "OpenAI Chat Completions": ("/v1/chat/completions", {"messages": [_SAID]}),
    "OpenAI Responses": ("/v1/responses", {"input": QUESTION}),
}
"""Path below the prefix and body, by format."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `status` 0: nothing did, and `body` says why."""

    format: str
    streamed: bool
    status: int
    body: str


def answers(received: Iterable[Answer]) -> list[Finding]:
    """One finding a format, whole and streamed together."""
    by_format: dict[str, list[Answer]] = {}
    for each in received:
        by_format.setdefault(each.format, []).append(each)
    return [_format(name, group) for name, group in by_format.items()]


def _format(name: str, group: list[Answer]) -> Finding:
    subject = f"request {name}"
    bad = next((each for each in group if each.status != 200 or QUESTION not in each.body), None)
    if bad is None:
        return ok(subject, "answered, whole and streamed")
    how = "streamed" if bad.streamed else "whole"
    what = f"{how}: {_told(bad)}"
    if bad.status == 501:
        return warn(subject, what, "this version cannot answer in this format here", "update ccproxy")
    return broken(
        subject,
        what,
        "clients of this format get no answer",
        "restart ccproxy with --log-level debug and look at its log",
    )


def _told(answer: Answer) -> str:
    if answer.status == 0:
        return f"no answer: {answer.body}"
    if answer.status == 200:
        return "200, but the answer is not the expected one"
    try:
        body = json.loads(answer.body)
        return f"{answer.status} {body['error']['message']}"
    except (ValueError, KeyError, TypeError):
        return f"{answer.status} {answer.body[:200]}"
