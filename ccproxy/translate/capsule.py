"""Thinking that travels through another format: the provider's own object, sealed in an opaque string that clients echo by contract.

`~ccp1.` + base64url(JSON `{"p": who minted it, "m": the model, "b": the object}`). `p` is the mark of provenance: an object goes back to the API family
that minted it and to no other. Nothing in it is secret from the client, and nothing is trusted: what does not open is dropped.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, NamedTuple

from ccproxy.translate import jsontext
from ccproxy.translate.formats import Format

Json = dict[str, Any]

MARK = "~ccp1."
"""It begins with a rare character, which can be looked for ten times as fast as a word: see `is_in`."""
_MARK_BYTES = MARK.encode()
_RARE_ENOUGH = 100
"""How often the mark's first character may occur before the whole mark is searched for instead."""

_NAMES = {Format.ANTHROPIC: "anthropic", Format.OPENAI_RESPONSES: "openai", Format.OPENAI_CHAT: "chat", None: "none"}
_FORMATS = {name: fmt for fmt, name in _NAMES.items()}


class Capsule(NamedTuple):
    """An opened capsule. `fmt` is None when no provider takes the object back."""

    fmt: Format | None
    model: str
    raw: Json


def seal(fmt: Format | None, model: str, raw: Json) -> str:
    """The capsule around an object that the upstream of format `fmt` minted."""
    data = jsontext.dump_bytes({"p": _NAMES[fmt], "m": model, "b": raw})
    return MARK + base64.urlsafe_b64encode(data).decode()


def is_in(body: bytes) -> bool:
    """Whether there may be a capsule in a request's bytes. 0.1 ms for 2 MB, where searching for the whole mark takes a millisecond."""
    at = body.find(b"~")
    for _ in range(_RARE_ENOUGH):
        if at < 0 or body.startswith(_MARK_BYTES, at):
            return at >= 0
        at = body.find(b"~", at + 1)
    return body.find(_MARK_BYTES, at) >= 0 if at >= 0 else False


def is_sealed(value: object) -> bool:
    """Is it one of our capsules, intact or not?"""
    return isinstance(value, str) and value.startswith(MARK)


def unseal(value: str) -> Capsule | None:
    """The content of a capsule, or None when it is none or was damaged."""
    if not value.startswith(MARK):
        return None
    try:
        found = jsontext.parse_bytes(base64.b64decode(value[len(MARK) :], altchars=b"-_", validate=True))
    except (jsontext.Garbled, binascii.Error, ValueError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("b"), dict):
        return None
    minted_by, model = found.get("p"), found.get("m")
    fmt = _FORMATS.get(minted_by) if isinstance(minted_by, str) else None
    return Capsule(fmt, model if isinstance(model, str) else "", found["b"])
