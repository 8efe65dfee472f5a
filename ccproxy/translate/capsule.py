"""Thinking in another format: the provider's own object, sealed in an opaque string that clients send back unchanged.

A capsule is `~ccp1.` + base64url(JSON `{"p": provider, "m": model, "b": object}`). An object is sent back only to the API family that created it. A capsule
hides nothing from the client and is not trusted: one that cannot be opened is dropped.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, NamedTuple

from ccproxy.translate import jsontext
from ccproxy.translate.formats import Format

Json = dict[str, Any]

MARK = "~ccp1."
"""It begins with a rare character, because searching for a character is ten times as fast as searching for a word: see `is_in`."""
_MARK_BYTES = MARK.encode()
_RARE_ENOUGH = 100
"""Occurrences of the mark's first character after which the whole mark is searched for instead."""

_NAMES = {Format.ANTHROPIC: "anthropic", Format.OPENAI_RESPONSES: "openai", Format.OPENAI_CHAT: "chat", None: "none"}
_FORMATS = {name: fmt for fmt, name in _NAMES.items()}


class Capsule(NamedTuple):
    """An open capsule. `fmt` is None if no provider accepts the object."""

    fmt: Format | None
    model: str
    raw: Json


def seal(fmt: Format | None, model: str, raw: Json) -> str:
    """A capsule around an object from an upstream with the format `fmt`."""
    data = jsontext.dump_bytes({"p": _NAMES[fmt], "m": model, "b": raw})
    return MARK + base64.urlsafe_b64encode(data).decode()


def is_in(body: bytes) -> bool:
    """Return True if a request's bytes may contain a capsule. This takes 0.1 ms for 2 MB; a search for the whole mark takes a millisecond."""
    at = body.find(b"~")
    for _ in range(_RARE_ENOUGH):
        if at < 0 or body.startswith(_MARK_BYTES, at):
            return at >= 0
        at = body.find(b"~", at + 1)
    return body.find(_MARK_BYTES, at) >= 0 if at >= 0 else False


def is_sealed(value: object) -> bool:
    """Return True for a capsule, intact or not."""
    return isinstance(value, str) and value.startswith(MARK)


def unseal(value: str) -> Capsule | None:
    """The content of a capsule, or None if the value is not an intact capsule."""
    if not value.startswith(MARK):
        return None
    try:
        content = jsontext.parse_bytes(base64.b64decode(value[len(MARK) :], altchars=b"-_", validate=True))
    except (jsontext.Garbled, binascii.Error, ValueError):
        return None
    if not isinstance(content, dict) or not isinstance(content.get("b"), dict):
        return None
    minted_by, model = content.get("p"), content.get("m")
    fmt = _FORMATS.get(minted_by) if isinstance(minted_by, str) else None
    return Capsule(fmt, model if isinstance(model, str) else "", content["b"])
