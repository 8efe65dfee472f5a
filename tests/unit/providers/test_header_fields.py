"""Model maps, the Codex backend's rules, and which header fields go on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from ccproxy.providers.codex import UNSUPPORTED, native_changes
from ccproxy.providers.header_fields import (
    MAX_VALUE,
    mapped_model,
    public_fields,
    request_fields,
    response_fields,
    safe_value,
)
from ccproxy.providers.json_edit import REMOVE
from ccproxy.providers.registry import providers
from ccproxy.settings import Settings

MODELS = {
    "claude-opus-4": "opus-exact",
    "claude-*": "claude-glob",
    "*": "other",
    "claude-haiku-*": "never: an earlier glob matches",
}


@pytest.mark.parametrize(
    ("model", "mapped"),
    [
        ("claude-opus-4", "opus-exact"),
        ("claude-haiku-1", "claude-glob"),
        ("gpt-x", "other"),
        ("", "other"),
        ("CLAUDE-x", "other"),
    ],
)
def test_an_exact_name_wins_over_globs_and_the_first_glob_over_later_ones(model: str, mapped: str) -> None:
    assert mapped_model(MODELS, model) == mapped


def test_no_map_no_change() -> None:
    assert mapped_model({}, "m") == "m"
    assert mapped_model({"other-*": "x"}, "m") == "m"


FINE: dict[str, Any] = {
    "model": "m",
    "store": False,
    "stream": True,
    "instructions": "be brief",
    "input": [{"role": "user", "content": "x"}],
}


def test_what_the_backend_takes_is_not_changed() -> None:
    assert native_changes(FINE, {}) == {}
    assert native_changes({**FINE, "instructions": ""}, {}) == {}


@pytest.mark.parametrize("key", sorted(UNSUPPORTED))
def test_what_it_refuses_by_name_is_taken_out(key: str) -> None:
    assert native_changes({**FINE, key: 1}, {}) == {key: REMOVE}


@pytest.mark.parametrize(
    "key",
    [
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "reasoning",
        "include",
        "text",
        "prompt_cache_key",
        "client_metadata",
        "service_tier",
        "new_next_year",
    ],
)
def test_what_it_takes_stays(key: str) -> None:
    assert native_changes({**FINE, key: "anything"}, {}) == {}


@pytest.mark.parametrize("store", [True, None, 0, "false"])
def test_store_must_be_false(store: Any) -> None:
    assert native_changes({**FINE, "store": store}, {}) == {"store": False}
    assert native_changes({key: value for key, value in FINE.items() if key != "store"}, {}) == {"store": False}


@pytest.mark.parametrize("stream", [False, None, 1])
def test_stream_must_be_true(stream: Any) -> None:
    assert native_changes({**FINE, "stream": stream}, {}) == {"stream": True}


def test_input_must_be_a_list_and_has_no_role_system() -> None:
    (item,) = native_changes({**FINE, "input": "hi"}, {})["input"]  # type: ignore[misc]
    assert item == {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
    said = [
        {"role": "system", "content": "s", "id": "i"},
        {"type": "reasoning", "encrypted_content": "e"},
        {"role": "user", "content": "u"},
    ]
    assert native_changes({**FINE, "input": said}, {}) == {"input": [{**said[0], "role": "developer"}, *said[1:]]}


@pytest.mark.parametrize(
    ("said", "headers", "added"),
    [
        ([{"role": "user", "content": "x"}], {}, True),
        ("x", {}, True),
        ([], {}, True),
        (None, {}, True),
        ([{"type": "additional_tools", "role": "developer"}], {}, False),
        ([{"type": "message", "role": "developer", "content": []}], {}, False),
        ([{"role": "user", "content": "x"}], {"x-openai-internal-codex-responses-lite": "true"}, False),
    ],
)
def test_instructions_are_added_where_the_conversation_brings_none(
    said: Any, headers: dict[str, str], added: bool
) -> None:
    for without in (
        {**FINE, "input": said, "instructions": None},
        {**{k: v for k, v in FINE.items() if k != "instructions"}, "input": said},
    ):
        assert ("instructions" in native_changes(without, headers)) is added


# ---- header fields

(CLAUDE,) = [
    p for p in providers(Settings(providers={"claude_api": {"base_url": "http://u.test:81"}})) if p.name == "claude_api"
]


def test_fields_of_a_request() -> None:
    assert CLAUDE.upstream
    fields = (
        (b"host", b"localhost"), (b"X-A", b"1"), (b"Connection", b"keep-alive, x-hop , close"), (b"x-hop", b"2"), (b"x-a", b"3"), (b"Keep-Alive", b"4"),
        (b"x-ccproxy-token", b"5"), (b"X-CCPROXY-Other", b"6"), (b"TE", b"trailers"), (b"anthropic-version", b"of the client"), (b"Expect", b"7"),
        (b"Transfer-Encoding", b"chunked"),
    )  # fmt: skip
    sent = request_fields(fields, CLAUDE.upstream, CLAUDE)
    assert sent == (
        (b"Host", b"u.test:81"), (b"X-A", b"1"), (b"x-a", b"3"), (b"anthropic-version", b"of the client"), (b"Transfer-Encoding", b"chunked"),
    )  # fmt: skip


@pytest.mark.parametrize("named", [b"host", b"content-length", b"transfer-encoding", b"close", b"Content-Length, Host"])
def test_a_connection_header_cannot_take_off_what_frames_the_message(named: bytes) -> None:
    assert CLAUDE.upstream
    fields = ((b"Connection", named), (b"Content-Length", b"2"), (b"Transfer-Encoding", b"x"))
    assert [name for name, _ in request_fields(fields, CLAUDE.upstream, CLAUDE)][:3] == [
        b"Host",
        b"Content-Length",
        b"Transfer-Encoding",
    ]
    assert [name for name, _ in response_fields(fields, "f")] == [
        b"Content-Length",
        b"Transfer-Encoding",
        b"x-ccproxy-flow",
    ]


def test_private_fields() -> None:
    fields = tuple(
        (name, b"v")
        for name in (
            b"Authorization",
            b"X-API-KEY",
            b"Cookie",
            b"x-ccproxy-token",
            b"Proxy-Authorization",
            b"Api-Key",
            b"x",
        )
    )
    public, private = public_fields(fields)
    assert [name for name, _ in public] == [b"Api-Key", b"x"]
    assert len(private) == 5
    public, private = public_fields(fields, frozenset({b"api-key"}))
    assert [name for name, _ in public] == [b"x"]


# ---- values that ccproxy makes


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("tools[0].name, top_k", b"tools[0].name, top_k"),
        ("", b""),
        ("a\r\nSet-Cookie: x", b"a\\r\\nSet-Cookie: x"),
        ("a\x00b\x1bc\x7fd\te", b"a\\x00b\\x1bc\\x7fd\\te"),
        ("caf\xe9 \u2028 \U0001f600 \ud800", b"caf\\xe9 \\u2028 \\U0001f600 \\ud800"),
        ("  padded  ", b"padded"),
        ("back\\slash", b"back\\slash"),
    ],
)
def test_a_value_that_ccproxy_makes_is_one_line_of_printable_ascii(text: str, value: bytes) -> None:
    assert safe_value(text) == value


@given(text=st.text(st.characters(codec=None), max_size=200), limit=st.integers(0, 100))
def test_no_text_makes_a_value_that_ends_its_line(text: str, limit: int) -> None:
    value = safe_value(text, limit)
    assert len(value) <= limit
    assert all(0x20 <= byte <= 0x7E for byte in value)
    assert value == value.strip()


def test_a_value_is_bounded_whatever_it_is_made_of() -> None:
    for character in ("a", "\r", "\U0001f600", "\ud800", " "):
        assert len(safe_value(character * 5_000_000)) <= MAX_VALUE
