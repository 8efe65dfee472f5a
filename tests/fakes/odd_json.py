"""Odd values for every place of a JSON object, chosen by a seed: what a broken or hostile program may send."""

from __future__ import annotations

import base64
import json
import random
import re
from typing import Any

Json = dict[str, Any]


def _nested(depth: int, *, objects: bool) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"type": value} if objects else [value]
    return value


def _sealed(value: Any) -> str:
    return "~ccp1." + base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


_HUGE = re.compile(r'"<(-?1e400)>"')
"""A number that is valid JSON and no float: it stands in the text only."""

VALUES: list[Any] = [
    "<1e400>",
    "<-1e400>",
    None,
    True,
    False,
    0,
    -1,
    1,
    7,
    1.5,
    -0.0,
    1e308,
    1e-320,
    float("nan"),
    float("inf"),
    10**400,
    -(10**400),
    2**63,
    2**64,
    10_000,
    "",
    " ",
    "\x00",
    "\ud800",
    "\udfff",
    "\ud83d\ude00",
    "\ud83d",
    "\r\nset-cookie: a=b",
    "\x1b[31m",
    "\u2028",
    "text",
    "function",
    "user",
    "auto",
    "%41",
    "data:",
    "data:,",
    "data:;base64,%%",
    "data:text/plain;base64,====",
    "data:text/plain,%zz%e2%82",
    "{",
    '{"input": "x',
    '{"session_id": {}}',
    "[" * 300,
    "x" * 5000,
    "~ccp1.",
    "~ccp1.AAAA",
    "~ccp1.\ud800",
    _sealed({"p": "anthropic", "m": 1, "b": {}}),
    _sealed({"p": "openai", "m": "m", "b": {"type": 5}}),
    _sealed({"p": "chat", "m": "m", "b": {"reasoning_details": 3, "content": {}}}),
    _sealed({"p": {}, "b": []}),
    _sealed([]),
    [],
    {},
    [[]],
    [None],
    [1],
    ["text"],
    [{}],
    [[{}]],
    [{"type": "text"}],
    [{"type": {}}],
    {"type": None},
    {"type": {}},
    {"type": []},
    {"type": "text", "text": 1},
    {"type": "object", "properties": []},
    {"name": 5},
    {"": ""},
    {"\ud800": "\ud800"},
    {"\r\n": 1},
    {"id": {}},
    {"index": {}},
    {"text": ["a"]},
    {"error": 5},
    {"error": {"message": {}}},
    {"message": {}},
    {"usage": 3},
    {"input_tokens": "x", "prompt_tokens": [], "cache_creation": 1},
    _nested(190, objects=True),
    _nested(300, objects=False),
    _nested(300, objects=True),
    _nested(700, objects=True),
]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Each member of the value and of what is in it, as (holder, key)."""
    found: list[tuple[Any, Any]] = []
    pending = [value]
    while pending:
        holder = pending.pop()
        keys = holder.keys() if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            found.append((holder, key))
            if isinstance(holder[key], dict | list):
                pending.append(holder[key])
    return found


def _copy(value: Any) -> Any:
    return json.loads(json.dumps(value))


def bent(original: Json, seed: str) -> Json:
    """The object with one to three of its members replaced, moved, added, repeated or removed."""
    dice = random.Random(seed)
    body: Json = _copy(original)
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        everywhere = places(body)
        if not everywhere:
            break
        holder, key = dice.choice(everywhere)
        odd = _copy(dice.choice(VALUES))
        match dice.randrange(8):
            case 0 | 1 | 2 | 3:
                holder[key] = odd
            case 4:
                del holder[key]
            case 5:
                value = holder[key]
                holder[key] = dice.choice(([value], {"type": value}, [value, _copy(value), _copy(value)]))
            case 6 if isinstance(holder, dict):
                holder[dice.choice(("type", "id", "\ud800", "\r\n", "", "content", "error", "index"))] = odd
            case 6:
                holder.insert(key, odd)
            case _:
                other, name = dice.choice(everywhere)
                holder[key] = _copy(other[name]) if isinstance(other, dict) and name in other else odd
    return body


def written(value: Any, seed: str) -> bytes:
    """The value as JSON text, such as a program that does not care may send it: NaN, escapes and raw characters included."""
    ascii_only = random.Random(f"{seed} spelling").random() < 0.7
    text = json.dumps(value, ensure_ascii=ascii_only)
    return _HUGE.sub(r"\1", text).encode("utf-8", "surrogatepass")
