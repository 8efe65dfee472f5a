"""What a provider in this process takes of JSON: values that every JSON library reads alike, in bounded number and depth.

A body may have been read by Python's own parser, which takes more than others do: infinite numbers, integers of any length, halves of surrogate pairs.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any, Final

from ccproxy.errors import BadRequest

MOST_DEPTH: Final = 200
"""Objects and lists within each other."""
MOST_VALUES: Final = 2_000_000
"""Values in a body."""
MOST_MESSAGES: Final = 100_000
"""Messages of a conversation, as at Anthropic. https://platform.claude.com/docs/en/build-with-claude/working-with-messages"""
MOST_NAME: Final = 256
"""Characters of the name of a model or tool."""

_EXACT: Final = 2**53  # https://www.rfc-editor.org/rfc/rfc8259#section-6
_LARGEST: Final = 2**64
_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_:-]{0,63}")

_HALF: Final = "has half a surrogate pair, which is not valid Unicode"

_Container = dict[str, Any] | list[Any]
_Trail = tuple[Any, str | int] | None
"""Where a value is: the trail of the object or list that it is in, and its key there."""


def check_values(body: dict[str, Any]) -> str | None:
    """Check every value of a body, in linear time.

    Returns the path of an integer that JavaScript cannot hold exactly, if there is one.

    Raises:
        BadRequest: a value is not portable, or there are too many of them or too deep in each other.

    """
    messages = body.get("messages")
    if isinstance(messages, list) and len(messages) > MOST_MESSAGES:
        raise refusal("messages", f"at most {MOST_MESSAGES:,} messages are accepted")
    imprecise: str | None = None
    left = MOST_VALUES
    level: list[tuple[_Container, _Trail]] = [(body, None)]
    for _ in range(MOST_DEPTH):
        below: list[tuple[_Container, _Trail]] = []
        for container, trail in level:
            left -= len(container)
            if left < 0:
                raise BadRequest(f"The request body has more than {MOST_VALUES:,} values")
            for key, value in _members(container, trail):
                if isinstance(value, dict | list):
                    below.append((value, (trail, key)))
                elif problem := _problem(value):
                    raise refusal(path_of((trail, key)), problem)
                elif imprecise is None and isinstance(value, int) and abs(value) > _EXACT:
                    imprecise = bracketed(path_of((trail, key)))
        if not below:
            return imprecise
        level = below
    raise refusal(path_of(level[0][1]), f"at most {MOST_DEPTH} objects and lists within each other are accepted")


def _members(container: _Container, trail: _Trail) -> Iterable[tuple[str | int, Any]]:
    if isinstance(container, list):
        return enumerate(container)
    for key in container:
        if not _is_text(key):
            raise refusal(path_of((trail, key)), f"the name {_HALF}")
    return container.items()


def _problem(value: Any) -> str | None:
    """Why a value that is neither object nor list is not portable."""
    if isinstance(value, str):
        return None if _is_text(value) else f"the text {_HALF}"
    if isinstance(value, float):
        return None if math.isfinite(value) else "a finite number is required"
    if isinstance(value, int) and abs(value) >= _LARGEST:
        return "an integer of at most 64 bits is required"
    return None


def refusal(path: str, reason: str) -> BadRequest:
    """An error in the words of the Messages API, which writes paths with points."""
    return BadRequest(f"{path}: {reason}", param=bracketed(path))


def bracketed(path: str) -> str:
    """The path with its numbers in brackets, as JSON paths have them."""
    return re.sub(r"\.(\d+)(?![^.\[])", r"[\1]", path)


def member(path: str, key: str) -> str:
    """The path of an object's member; printable ASCII whatever the key is."""
    if _PLAIN_KEY.fullmatch(key):
        return f"{path}.{key}" if path else key
    return f"{path}[{json.dumps(key[:64]).replace(',', chr(92) + 'u002c').replace(chr(127), chr(92) + 'u007f')}]"


def path_of(trail: _Trail) -> str:
    """The path of a value."""
    keys: list[str | int] = []
    while trail is not None:
        trail, key = trail
        keys.append(key)
    path = ""
    for key in keys[:-21:-1]:  # what is deeper says no more
        path = member(path, key) if isinstance(key, str) else f"{path}.{key}"
    return path


def _is_text(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
