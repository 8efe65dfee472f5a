"""The cache for clients that carry no thinking."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccproxy.translate.exchange import ReplayCache, Translated, translate_request
from ccproxy.translate.formats import Format
from ccproxy.translate.profiles import AnthropicProfile, ResponsesProfile
from ccproxy.translate.replay import scope_of
from tests.examples.answers import ANTHROPIC, EVENTS, RESPONSES, sse

Json = dict[str, Any]
A, C, R = Format


# --- the cache -------------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def chat(
    cache: ReplayCache, messages: list[Json], *, principal: str = "me", upstream: Format = A, **fields: Any
) -> Translated:
    profile = (
        AnthropicProfile.of_model("claude-opus-5")
        if upstream is A
        else ResponsesProfile.of_model("gpt-5.5", codex=True)
    )
    body = {"model": "m", "messages": messages, **fields}
    return translate_request(C, upstream, body, profile, replay_cache=cache, principal=principal, provider="p")


def answered(exchange: Translated, upstream: Format = A) -> Json:
    """The answer as a client that forgets keeps it."""
    folder = exchange.folder()
    folder.feed(sse(upstream, EVENTS[upstream]))
    message: Json = json.loads(folder.result()[2])["choices"][0]["message"]
    return {"role": "assistant", "content": message["content"], "tool_calls": message["tool_calls"]}


USER: Json = {"role": "user", "content": "hi"}
RESULTS: list[Json] = [{"role": "tool", "tool_call_id": f"toolu_{i}", "content": "x"} for i in (1, 2)]


def test_a_turn_comes_back_as_the_upstream_wrote_it() -> None:
    cache = ReplayCache()
    shown = answered(chat(cache, [USER]))
    assert len(cache) == 1
    assistant = chat(cache, [USER, shown, *RESULTS]).body["messages"][1]
    kinds = [block["type"] for block in assistant["content"]]
    assert kinds == [
        "thinking",
        "redacted_thinking",
        "server_tool_use",
        "web_search_tool_result",
        "text",
        "text",
        "tool_use",
        "tool_use",
    ]
    assert assistant["content"][0] == {"type": "thinking", "thinking": "Let me think. 🤔", "signature": "c2lnbmF0dXJl"}
    assert assistant["content"][5]["citations"][0]["encrypted_index"] == "aW5kZXg="
    assert assistant["content"][6]["input"] == {"city": "Zürich"}


def test_a_turn_comes_back_to_codex_as_it_was() -> None:
    cache = ReplayCache()
    shown = answered(chat(cache, [USER], upstream=R), R)
    results = [{"role": "tool", "tool_call_id": f"call_{i}", "content": "x"} for i in (1, 2)]
    items = chat(cache, [USER, shown, *results], upstream=R).body["input"]
    assert items[1:7] == RESPONSES[-1]["response"]["output"]
    assert [item["type"] for item in items[7:]] == ["function_call_output"] * 2


def test_spelling_does_not_matter() -> None:
    cache = ReplayCache()
    shown = answered(chat(cache, [USER]))
    shown["content"] = shown["content"] + "\n"
    shown["tool_calls"][0]["function"]["arguments"] = '{ "city" : "Z\\u00fcrich" }'
    assert chat(cache, [USER, shown, *RESULTS]).body["messages"][1]["content"][0]["type"] == "thinking"


@pytest.mark.parametrize(
    "change",
    [
        lambda shown: {"messages": [{"role": "user", "content": "other"}, shown]},
        lambda shown: {"messages": [USER, {**shown, "content": "changed"}]},
        lambda shown: {"messages": [{"role": "system", "content": "s"}, USER, shown]},
        lambda shown: {"messages": [USER, USER, shown]},
        lambda shown: {"messages": [USER, {**shown, "tool_calls": shown["tool_calls"][:1]}]},
        lambda shown: {"messages": [USER, shown], "principal": "somebody else"},
        lambda shown: {"messages": [USER, shown], "tools": [{"type": "function", "function": {"name": "weather"}}]},
    ],
    ids=range(7),
)
def test_nothing_comes_back_into_another_conversation(change: Any) -> None:
    cache = ReplayCache()
    shown = answered(chat(cache, [USER]))
    fields = change(shown)
    exchange = chat(cache, fields.pop("messages") + RESULTS[: len(shown["tool_calls"])], **fields)
    assert b"c2lnbmF0dXJl" not in exchange.encode()


def test_nothing_goes_to_another_provider() -> None:
    cache = ReplayCache()
    shown = answered(chat(cache, [USER]))
    exchange = chat(cache, [USER, shown, *RESULTS], upstream=R)
    assert b"c2lnbmF0dXJl" not in exchange.encode()


def test_only_what_would_be_lost_is_kept() -> None:
    cache = ReplayCache()
    body = {"model": "m", "input": "hi"}
    plain = translate_request(R, A, body, replay_cache=cache)
    folder = plain.folder()
    thinking_only = [event for event in ANTHROPIC if event.get("index") not in (2, 3, 5)]
    folder.feed(sse(A, thinking_only))
    folder.result()
    assert len(cache) == 0, "a Responses client carries thinking itself"
    folder = translate_request(R, A, body, replay_cache=cache).folder()
    folder.feed(sse(A, ANTHROPIC))
    folder.result()
    assert len(cache) == 1, "but not the records of a search"


def test_a_broken_answer_is_not_kept() -> None:
    cache = ReplayCache()
    folder = chat(cache, [USER]).folder()
    folder.feed(sse(A, ANTHROPIC[:-1]))
    folder.result()
    assert len(cache) == 0


def test_the_cache_is_bounded_in_bytes_and_time() -> None:
    clock = Clock()
    cache = ReplayCache(1000, ttl=10, clock=clock)
    scope = scope_of("me", "p", "m")
    raw = [{"type": "text", "text": "x" * 100}]
    for i in range(5):
        cache.put(bytes([i]), scope, A, raw)
    assert len(cache) < 5
    assert cache.size <= 1000
    assert cache.get(b"\x00", A) is None
    assert cache.get(b"\x04", A) == raw
    assert cache.get(b"\x04", R) is None
    before = cache.size
    cache.put(b"\x04", scope, A, raw)
    assert cache.size == before
    cache.put(b"big", scope, A, [{"text": "x" * 2000}])
    assert cache.get(b"big", A) is None
    assert cache.holds(scope)
    clock.now = 11
    for i in range(5):
        assert cache.get(bytes([i]), A) is None
    assert len(cache) == 0
    assert cache.size == 0
    assert not cache.holds(scope)


def test_everything_that_a_user_shows_is_part_of_the_key() -> None:
    cache = ReplayCache()
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": "JVBERi0="}}
    first = {"role": "user", "content": [{"type": "text", "text": "see"}, image, file]}
    shown = answered(chat(cache, [first]))
    assert b"c2lnbmF0dXJl" in chat(cache, [first, shown, *RESULTS]).encode()
    for changed in (
        [{"type": "text", "text": "see"}, image],
        [
            {"type": "text", "text": "see"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGo="}},
            file,
        ],
    ):
        assert b"c2lnbmF0dXJl" not in chat(cache, [{"role": "user", "content": changed}, shown, *RESULTS]).encode()
    cited = {"role": "tool", "tool_call_id": "toolu_1", "content": [{"type": "text", "text": "x"}]}
    longer = [first, shown, cited, RESULTS[1]]
    again = answered(chat(cache, longer))
    assert chat(cache, [*longer, again, *RESULTS]).encode().count(b"c2lnbmF0dXJl") == 2


def test_documents_and_free_text_calls_are_part_of_the_key() -> None:
    cache = ReplayCache()
    custom = {"type": "custom", "custom": {"name": "weather"}}
    broken = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{broken"}}
    free = {"id": "d", "type": "custom", "custom": {"name": "weather", "input": "x"}}
    history = [
        USER,
        {"role": "assistant", "tool_calls": [broken, free]},
        {"role": "tool", "tool_call_id": "c", "content": "1"},
        {"role": "tool", "tool_call_id": "d", "content": "2"},
    ]
    exchange = chat(cache, history, tools=[custom])
    folder = exchange.folder()
    folder.feed(sse(A, ANTHROPIC))
    shown = json.loads(folder.result()[2])["choices"][0]["message"]
    assert shown["tool_calls"][0]["type"] == "custom"
    kept = {"role": "assistant", "content": shown["content"], "tool_calls": shown["tool_calls"]}
    assert b"c2lnbmF0dXJl" in chat(cache, [*history, kept, *RESULTS], tools=[custom]).encode()
    document = {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "x"}]}}
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": [document]}]}
    found = translate_request(A, R, body, replay_cache=cache)
    folder = found.folder()
    folder.feed(sse(R, RESPONSES))
    assert folder.result()[0] == 200
