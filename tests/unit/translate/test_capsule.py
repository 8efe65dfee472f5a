"""Capsules: thinking of one provider that a client of another format carries."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from ccproxy.translate import capsule
from ccproxy.translate.formats import Format
from tests.fakes.scaling import assert_linear_work


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


def test_a_capsule_of_an_unknown_provider_goes_to_no_provider() -> None:
    value = "~ccp1." + base64.urlsafe_b64encode(b'{"p": "somebody", "m": 3, "b": {}}').decode()
    assert capsule.unseal(value) == (None, "", {})
    odd = "~ccp1." + base64.urlsafe_b64encode(b'{"p": 3, "b": {}}').decode()
    assert capsule.unseal(odd) == (None, "", {})
    assert not capsule.is_sealed(None)


@given(
    st.lists(st.sampled_from([b"~", b"~ccp1.", b"~ccp1", b"~c", b"x", b"ccp1."]), max_size=8),
    st.integers(0, 300),
    st.booleans(),
)
def test_a_capsule_is_found_wherever_it_is(pieces: list[bytes], tildes: int, first: bool) -> None:
    body = b"".join(pieces)
    body = b"~" * tildes + body if first else body + b"~" * tildes
    assert capsule.is_in(body) == (b"~ccp1." in body)


@pytest.mark.parametrize("piece", [b"~", b"~ccp1", b"~c", b"x~", b"word "])
def test_looking_for_a_capsule_is_linear(piece: bytes) -> None:
    def prepare(n: int) -> Callable[[], object]:
        body = piece * n
        return lambda: capsule.is_in(body)

    assert_linear_work(prepare, 1_000_000)


def test_30_mb_of_the_first_character_take_no_loop() -> None:
    """One step of Python for each of them took three seconds."""
    steps = 0

    class Body(bytes):
        def find(self, *args: object) -> int:
            nonlocal steps
            steps += 1
            return super().find(*args)  # type: ignore[arg-type]

    assert not capsule.is_in(Body(b"~" * 30_000_000))
    assert steps < 1000
