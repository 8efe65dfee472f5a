"""Requests to Chat servers."""

from __future__ import annotations

from typing import Any

import pytest

from ccproxy.errors import BadRequest
from ccproxy.translate import capsule
from ccproxy.translate.exchange import Translated, translate_request
from ccproxy.translate.formats import Format
from ccproxy.translate.profiles import ChatProfile, Profile, ResponsesProfile
from tests.referees import sdk

Json = dict[str, Any]

A, C, R = Format

CHAT = ChatProfile()

TOOL: Json = {"name": "now", "input_schema": {"type": "object", "properties": {}}}

USER: Json = {"role": "user", "content": "hi"}


def translated(profile: Profile, messages: list[Json] | None = None, **fields: Any) -> Translated:
    """A request of an Anthropic client."""
    body = {"model": "m", "max_tokens": 1000, "messages": messages or [USER], **fields}
    upstream = C if isinstance(profile, ChatProfile) else R
    exchange = translate_request(A, upstream, body, profile)
    checked = (
        sdk.with_image_detail(exchange.body)
        if isinstance(profile, ResponsesProfile) and profile.lite
        else exchange.body
    )
    sdk.check_request(upstream, checked)
    return exchange


def responses(items: Any = "hi", profile: ChatProfile = CHAT, **fields: Any) -> Translated:
    """A request of a Responses client to a Chat server."""
    exchange = translate_request(R, C, {"model": "m", "input": items, **fields}, profile)
    sdk.check_request(C, exchange.body)
    return exchange


def lost(exchange: Translated) -> list[str]:
    return [loss.path for loss in exchange.losses]


SYSTEM: list[Json] = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]

LATER: list[Json] = [USER, {"role": "assistant", "content": "yes"}, {"role": "system", "content": "later"}, USER]


def test_chat_shows_what_a_tool_shows_in_the_users_message() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    messages = [
        USER,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "now", "input": {}}]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [image], "is_error": True},
                {"type": "text", "text": "see?"},
            ],
        },
    ]
    found = translated(CHAT, messages, tools=[TOOL]).body["messages"]
    assert found[1] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "now", "arguments": "{}"}}],
    }
    assert found[2] == {
        "role": "tool",
        "tool_call_id": "t1",
        "content": "Error: (The user's next message shows the rest of this result.)",
    }
    assert [part["type"] for part in found[3]["content"]] == ["text", "image_url", "text"]


def test_chat_keeps_instructions_in_their_place() -> None:
    found = translated(CHAT, LATER, system=SYSTEM).body["messages"]
    assert [message["role"] for message in found] == ["system", "user", "assistant", "system", "user"]
    assert found[0]["content"] == SYSTEM
    assert found[3]["content"] == "later"


def test_chat_takes_no_addresses_of_files() -> None:
    with pytest.raises(BadRequest) as refused:
        translated(
            CHAT,
            [
                {
                    "role": "user",
                    "content": [{"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}],
                }
            ],
        )
    assert refused.value.param == "messages[0].content[0]"


def test_a_chat_servers_reasoning_goes_back_to_it() -> None:
    minted = {"reasoning_details": [{"type": "reasoning.text", "text": "t", "format": "google-gemini-v1", "index": 0}]}
    plain = {"reasoning_content": "Hm."}
    blocks = [{"type": "thinking", "thinking": "t", "signature": capsule.seal(C, "m", raw)} for raw in (minted, plain)]
    message = translated(
        CHAT, [USER, {"role": "assistant", "content": [*blocks, {"type": "text", "text": "yes"}]}, USER]
    ).body["messages"][1]
    assert message == {"role": "assistant", "content": "yes", **minted, **plain}


CUSTOM: list[Json] = [
    {
        "type": "custom",
        "name": "patch",
        "description": "d",
        "format": {"type": "grammar", "syntax": "lark", "definition": "s: /a/"},
    }
]

CUSTOM_TURNS: list[Json] = [
    {"role": "user", "content": "hi"},
    {"type": "custom_tool_call", "call_id": "c1", "name": "patch", "input": 'a "b"'},
    {"type": "custom_tool_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "ok"}]},
]


def test_free_text_tools_for_chat_servers_that_know_them_and_for_the_others() -> None:
    plain = responses(CUSTOM_TURNS, tools=CUSTOM).body
    assert plain["tools"][0]["function"]["parameters"]["required"] == ["input"]
    assert plain["messages"][1]["tool_calls"][0]["function"] == {"name": "patch", "arguments": '{"input":"a \\"b\\""}'}
    knowing = responses(
        CUSTOM_TURNS, ChatProfile(custom_tools=True), tools=CUSTOM, tool_choice={"type": "custom", "name": "patch"}
    ).body
    assert knowing["tools"] == [
        {
            "type": "custom",
            "custom": {
                "name": "patch",
                "description": "d",
                "format": {"type": "grammar", "grammar": {"definition": "s: /a/", "syntax": "lark"}},
            },
        }
    ]
    assert knowing["messages"][1]["tool_calls"] == [
        {"id": "c1", "type": "custom", "custom": {"name": "patch", "input": 'a "b"'}}
    ]
    assert knowing["tool_choice"] == {"type": "custom", "custom": {"name": "patch"}}
    anything = [{"type": "custom", "name": "any", "format": {"type": "text"}}]
    assert responses(tools=anything, profile=ChatProfile(custom_tools=True)).body["tools"][0]["custom"]["format"] == {
        "type": "text"
    }


def test_a_responses_client_on_a_chat_server() -> None:
    items = [
        {"role": "developer", "content": "be kind"},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "see"},
                {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "original"},
            ],
        },
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "a"}],
            "id": "m",
            "status": "completed",
        },
        {"type": "function_call", "call_id": "c1", "name": "now", "arguments": ""},
        {"type": "function_call", "call_id": "c2", "name": "now", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "noon"},
        {"type": "function_call_output", "call_id": "c2", "output": "night"},
    ]
    exchange = responses(
        items,
        instructions="be brief",
        tools=[{"type": "function", "name": "now", "parameters": {"type": "object", "properties": {}}, "strict": True}],
        tool_choice={"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "now"}]},
        reasoning={"effort": "low"},
        text={"verbosity": "low", "format": {"type": "json_object"}},
        max_output_tokens=50,
        temperature=0.5,
        user="u",
        service_tier="ultrafast",
        prompt_cache_key="k",
        stream=True,
    )
    body = exchange.body
    assert [message["role"] for message in body["messages"]] == [
        "system",
        "system",
        "user",
        "assistant",
        "tool",
        "tool",
    ]
    assert body["messages"][3]["content"] == "a"
    assert [call["function"]["arguments"] for call in body["messages"][3]["tool_calls"]] == ["{}", "{}"]
    assert body["tools"][0]["function"]["strict"] is True
    assert body["tool_choice"]["allowed_tools"]["mode"] == "auto"
    assert (body["reasoning_effort"], body["verbosity"], body["max_completion_tokens"]) == ("low", "low", 50)
    assert (body["temperature"], body["user"], body["service_tier"], body["prompt_cache_key"]) == (
        0.5,
        "u",
        "priority",
        "k",
    )
    assert body["response_format"] == {"type": "json_object"}
    assert body["stream_options"] == {"include_usage": True}
    assert lost(exchange) == ["input[1].content[1].detail"]
