"""The lines of the policy tables: kinds of upstreams, and what happens to a field, part or tool there."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple


class Target(StrEnum):
    """A kind of upstream: its format, and for Responses which backend."""

    ANTHROPIC = "anthropic"
    CHAT = "openai_chat"
    RESPONSES = "openai_responses"
    CODEX = "codex"


class Action(StrEnum):
    """What happens to a field, a part or a tool."""

    MAP = "map"
    NEAR = "map~"
    EMULATE = "emulate"
    DROP = "drop"
    REJECT = "400"
    PROXY = "proxy"
    PASS = "pass"  # noqa: S105 - not a password


MAP, NEAR, EMULATE, DROP, REJECT, PROXY, PASS = Action


class Row(NamedTuple):
    """One line of a table. `why` is the reason of a loss or a refusal. `harmless` values ask for nothing beyond the default: leaving them out is no loss."""

    actions: Mapping[Target, Action]
    note: str
    why: str
    harmless: tuple[object, ...] = ()


def row(
    note: str = "",
    *,
    all: Action | None = None,  # noqa: A002 — the word of the tables
    a: Action | None = None,
    c: Action | None = None,
    r: Action | None = None,
    x: Action | None = None,
    why: str = "",
    harmless: tuple[object, ...] = (),
) -> Row:
    """One action for `all` targets, then a: Anthropic, c: Chat, r: Responses, x: Codex (as `r` unless said). `why` is the note unless said."""
    actions: dict[Target, Action] = {}
    for target, action in ((Target.ANTHROPIC, a), (Target.CHAT, c), (Target.RESPONSES, r), (Target.CODEX, x or r)):
        chosen = action or all
        if chosen is not None:
            actions[target] = chosen
    return Row(actions, note, why or note, harmless)
