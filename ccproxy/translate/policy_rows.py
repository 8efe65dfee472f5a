"""Rows of the policy tables: kinds of upstreams, and what happens there to a field, part or tool."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple


class Target(StrEnum):
    """A kind of upstream: its format, and for Responses the backend."""

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
    """A row of a table. `why` is the reason for a loss or refusal. Leaving out a `harmless` value loses nothing: it is the default."""

    actions: Mapping[Target, Action]
    note: str
    why: str
    harmless: tuple[object, ...] = ()


def row(
    note: str = "",
    *,
    all: Action | None = None,  # noqa: A002 - all targets
    a: Action | None = None,
    c: Action | None = None,
    r: Action | None = None,
    x: Action | None = None,
    why: str = "",
    harmless: tuple[object, ...] = (),
) -> Row:
    """One action for `all` targets, or one each for Anthropic (a), Chat (c), Responses (r) and Codex (x, by default as r). `why` defaults to the note."""
    actions: dict[Target, Action] = {}
    for target, action in ((Target.ANTHROPIC, a), (Target.CHAT, c), (Target.RESPONSES, r), (Target.CODEX, x or r)):
        chosen = action or all
        if chosen is not None:
            actions[target] = chosen
    return Row(actions, note, why or note, harmless)
