"""Capsules: thinking of one provider that a client of another format carries."""

from __future__ import annotations

import base64

import pytest

from ccproxy.translate import capsule
from ccproxy.translate.formats import Format


@pytest.mark.parametrize("fmt", [*Format, None])
def test_a_capsule_gives_back_what_was_sealed(fmt: Format | None) -> None:
    raw = {"thinking": "Grüße 🤔 \ud800", "signature": "x"}
    sealed = capsule.seal(fmt, "m", raw)
    assert capsule.is_sealed(sealed)
    assert sealed.isascii()
    assert capsule.unseal(sealed) == (fmt, "m", raw)


@pytest.mark.parametrize(
    "value",
    [
        "c2lnbmF0dXJl",
        "~ccp1.",
        "~ccp1.!!!",
        "~ccp1." + base64.urlsafe_b64encode(b"\xff").decode(),
        "~ccp1." + base64.urlsafe_b64encode(b"[]").decode(),
        "~ccp1." + base64.urlsafe_b64encode(b'{"p": "openai", "b": 3}').decode(),
    ],
)
def test_what_is_no_capsule_does_not_open(value: str) -> None:
    assert capsule.unseal(value) is None


def test_a_capsule_of_a_stranger_goes_to_nobody() -> None:
    value = "~ccp1." + base64.urlsafe_b64encode(b'{"p": "somebody", "m": 3, "b": {}}').decode()
    assert capsule.unseal(value) == (None, "", {})
    odd = "~ccp1." + base64.urlsafe_b64encode(b'{"p": 3, "b": {}}').decode()
    assert capsule.unseal(odd) == (None, "", {})
    assert not capsule.is_sealed(None)
