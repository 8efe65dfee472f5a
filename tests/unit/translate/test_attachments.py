"""Attachments in data URIs."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from ccproxy.errors import BadRequest
from ccproxy.translate import attachments
from ccproxy.translate.neutral import Document
from tests.fakes.scaling import assert_linear_work


def test_data_uris() -> None:
    assert attachments.data_uri("https://example.com") is None
    assert attachments.data_uri("data:nothing") is None
    assert attachments.data_uri("data:,hi") == ("text/plain", "aGk=")


_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")


@given(
    st.lists(
        st.sampled_from(
            ["%", "%4", "%41", "%C3%A9", "%00", "%5c", "\\", "\\x41", "\\N{DASH}", "\n", "é", "\ud800", "a", "+"]
        )
        | st.text(max_size=3),
        max_size=10,
    )
)
def test_percent_encoding_is_undone_and_everything_else_kept(pieces: list[str]) -> None:
    text = "".join(pieces)
    expected = _PERCENT.sub(lambda match: bytes([int(match[1], 16)]), text.encode("utf-8", "surrogatepass"))
    data = attachments.data_uri("data:," + text)
    assert data is not None
    assert base64.b64decode(data.base64) == expected


@pytest.mark.parametrize("piece", ["%41", "%41a", "\\", "%", "%%41", "é", "a"])
def test_percent_encoding_is_linear(piece: str) -> None:
    def prepare(n: int) -> Callable[[], object]:
        url = "data:," + piece * min(n, 90_000)
        return lambda: attachments.data_uri(url)

    assert_linear_work(prepare, 20_000)


def test_a_data_uri_of_percent_signs_is_refused_by_its_path() -> None:
    with pytest.raises(BadRequest, match="at most 100000 percent signs") as refusal:
        attachments.image("data:image/png," + "%" * 100_001, "messages[0].content[0]")
    assert refusal.value.param == "messages[0].content[0]"
    assert attachments.image("data:image/png," + "%" * 100_000, "x").data


def test_a_data_uri_without_an_end_of_its_head_is_an_address() -> None:
    assert attachments.data_uri("data:" + ";" * 10_000_000 + ",x") is None


def test_blanks_in_a_text_file_do_not_matter() -> None:
    encoded = base64.b64encode(b"some words").decode()
    spaced = " ".join(encoded) + "\n" * 1_000_000
    document = attachments.file(spaced, "a.txt", "x")
    assert isinstance(document, Document)
    assert document.text == "some words"
    for wrong in ("é", "\ud800", "a" * 5 + "!"):
        with pytest.raises(BadRequest, match="not UTF-8 text in base64"):
            attachments.file(wrong, "a.txt", "x")
