"""Requests to the Responses API (the public one, and the Codex backend in both shapes), and rows that Chat shares: row by row."""

from __future__ import annotations

import json
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

OPENAI = ResponsesProfile.of_model("gpt-5.5")
PLAIN = ResponsesProfile.of_model("gpt-4o")
CODEX = ResponsesProfile.of_model("gpt-5.5", codex=True)
LITE = ResponsesProfile.of_model("gpt-6.1-sol", codex=True)
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


def chat(profile: Profile, messages: list[Json] | None = None, **fields: Any) -> Translated:
    """A request of a Chat client."""
    exchange = translate_request(C, R, {"model": "m", "messages": messages or [USER], **fields}, profile)
    sdk.check_request(R, exchange.body)
    return exchange


def responses(items: Any = "hi", profile: ChatProfile = CHAT, **fields: Any) -> Translated:
    """A request of a Responses client to a Chat server."""
    exchange = translate_request(R, C, {"model": "m", "input": items, **fields}, profile)
    sdk.check_request(C, exchange.body)
    return exchange


def lost(exchange: Translated) -> list[str]:
    return [loss.path for loss in exchange.losses]


def text_item(text: str, role: str = "user") -> Json:
    return {"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}


# --- instructions ----------------------------------------------------------------------------------------------------

SYSTEM: list[Json] = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
LATER: list[Json] = [USER, {"role": "assistant", "content": "yes"}, {"role": "system", "content": "later"}, USER]


def test_instructions_are_developer_messages_in_their_place() -> None:
    items = translated(OPENAI, LATER, system=SYSTEM).body["input"]
    assert items[0] == {
        "type": "message",
        "role": "developer",
        "content": [{"type": "input_text", "text": "one"}, {"type": "input_text", "text": "two"}],
    }
    assert items[3] == text_item("later", "developer")
    assert "instructions" not in translated(OPENAI, system="one").body


def test_codex_takes_leading_instructions_apart() -> None:
    body = translated(CODEX, LATER, system=SYSTEM).body
    assert body["instructions"] == "one\n\ntwo"
    assert body["input"][0] == text_item("hi")
    assert body["input"][2] == text_item("later", "developer")
    assert translated(CODEX).body["instructions"] == "", "the key is wanted, and taken empty"
    leading = [
        {"role": "system", "content": "one"},
        {"role": "developer", "content": "two"},
        USER,
        {"role": "system", "content": "three"},
    ]
    body = chat(CODEX, leading).body
    assert body["instructions"] == "one\n\ntwo"
    assert body["input"] == [text_item("hi"), text_item("three", "developer")]


def test_codex_keeps_an_instruction_without_an_answer_in_the_conversation() -> None:
    only = chat(CODEX, [{"role": "system", "content": "one"}, {"role": "system", "content": "two"}]).body
    assert only["instructions"] == "one"
    assert only["input"] == [text_item("two", "developer")]


def test_the_lite_shape_has_tools_and_instructions_in_its_input() -> None:
    exchange = translated(LITE, LATER, system="one", tools=[TOOL], thinking={"type": "adaptive"})
    body = exchange.body
    assert set(body) == {
        "model",
        "input",
        "tool_choice",
        "parallel_tool_calls",
        "reasoning",
        "include",
        "store",
        "stream",
        "prompt_cache_key",
    }
    group = body["input"][0]["tools"][0]
    assert body["input"][0]["type"] == "additional_tools"
    assert (group["type"], group["name"]) == ("namespace", "functions")
    assert group["tools"] == [
        {"type": "function", "name": "now", "parameters": {"type": "object", "properties": {}}, "strict": False}
    ]
    assert body["input"][1] == text_item("one", "developer")
    assert body["reasoning"] == {"summary": "auto", "context": "all_turns"}
    assert body["parallel_tool_calls"] is False
    assert body["tool_choice"] == "auto"
    assert exchange.headers["x-openai-internal-codex-responses-lite"] == "true"
    assert lost(translated(LITE, tools=[TOOL], tool_choice={"type": "any"})) == ["max_tokens", "tool_choice"]
    assert translated(LITE, tools=[TOOL], tool_choice={"type": "none"}).body["input"] == [text_item("hi")]


def test_calls_of_the_lite_shape_bear_its_namespace_and_come_back_without_it() -> None:
    messages = [
        USER,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "now", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "noon"}]},
    ]
    exchange = translated(LITE, messages, tools=[TOOL])
    call = next(item for item in exchange.body["input"] if item["type"] == "function_call")
    assert call["namespace"] == "functions"
    item = {
        "id": "fc",
        "type": "function_call",
        "call_id": "c",
        "name": "now",
        "namespace": "functions",
        "arguments": "{}",
        "status": "completed",
    }
    answer = {"id": "resp_1", "object": "response", "model": "m", "status": "completed", "output": [item]}
    _, _, body = exchange.whole(200, json.dumps(answer).encode())
    assert json.loads(body)["content"][0]["name"] == "now"


def test_the_lite_shape_takes_no_addresses_of_images_and_no_search() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    with pytest.raises(BadRequest) as refused:
        translated(LITE, [{"role": "user", "content": [image]}])
    assert refused.value.param == "messages[0].content[0]"
    with pytest.raises(BadRequest) as refused:
        translated(LITE, tools=[{"type": "web_search_20250305", "name": "web_search"}])
    assert refused.value.param == "tools[0]"
    inline = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    body = translated(LITE, [{"role": "user", "content": [inline]}]).body
    assert body["input"][0]["content"] == [{"type": "input_image", "image_url": "data:image/png;base64,aGk="}]


def test_claude_codes_billing_line_stays_with_anthropic() -> None:
    exchange = translated(
        CODEX,
        system=[{"type": "text", "text": "x-anthropic-billing-header: cc_version=1;"}, {"type": "text", "text": "one"}],
    )
    assert exchange.body["instructions"] == "one"
    assert "system[0]" in lost(exchange)


# --- what was said ---------------------------------------------------------------------------------------------------


def test_texts_of_the_assistant_are_output_and_bear_their_phase() -> None:
    messages = [
        USER,
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "a"},
                {"type": "text", "text": "b"},
                {"type": "tool_use", "id": "t1", "name": "now", "input": {"x": "ü"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "and"},
                {"type": "tool_result", "tool_use_id": "t1", "content": "noon"},
            ],
        },
        {"role": "assistant", "content": "done"},
        USER,
    ]
    items = translated(CODEX, messages, tools=[TOOL]).body["input"]
    first = items[1]
    assert [part["text"] for part in first["content"]] == ["a", "b"]
    assert {part["type"] for part in first["content"]} == {"output_text"}
    assert first["phase"] == "commentary"
    assert items[2] == {"type": "function_call", "call_id": "t1", "name": "now", "arguments": '{"x":"ü"}'}
    assert items[3] == {"type": "function_call_output", "call_id": "t1", "output": "noon"}
    assert items[4] == text_item("and"), "results come before the text of the user"
    assert items[5]["phase"] == "final_answer"
    assert items[1]["id"] != items[5]["id"]
    assert "phase" not in translated(PLAIN, messages, tools=[TOOL]).body["input"][1]


def test_results_of_every_kind() -> None:
    content = [
        {"type": "text", "text": "bad"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}},
        {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}, "title": "A"},
        {
            "type": "document",
            "source": {
                "type": "content",
                "content": [
                    {"type": "text", "text": "x"},
                    {"type": "image", "source": {"type": "url", "url": "https://example.com/i.png"}},
                ],
            },
        },
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "words"},
            "title": "N",
            "context": "why",
        },
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
            "title": "r.pdf",
            "context": "why",
        },
        {
            "type": "search_result",
            "source": "https://example.com/s",
            "title": "S",
            "content": [{"type": "text", "text": "found"}],
        },
        {"type": "tool_reference", "tool_name": "later"},
    ]
    messages = [
        USER,
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": f"t{i}", "name": "now", "input": {}} for i in range(5)],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t0", "content": content, "is_error": True},
                {"type": "tool_result", "tool_use_id": "t1", "content": "Error: no", "is_error": True},
                {"type": "tool_result", "tool_use_id": "t2"},
                {"type": "tool_result", "tool_use_id": "t3", "content": [{"type": "text", "text": "one"}]},
                {"type": "tool_result", "tool_use_id": "t4", "content": [content[1]], "is_error": True},
            ],
        },
    ]
    outputs = [
        item["output"]
        for item in translated(OPENAI, messages, tools=[TOOL]).body["input"]
        if item["type"] == "function_call_output"
    ]
    assert outputs[1:] == [
        "Error: no",
        "",
        "one",
        [
            {"type": "input_text", "text": "Error:"},
            {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "auto"},
        ],
    ]
    assert outputs[0] == [
        {"type": "input_text", "text": "Error: bad"},
        {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "auto"},
        {"type": "input_file", "filename": "document.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
        {"type": "input_text", "text": "[Document: A]"},
        {"type": "input_file", "file_url": "https://example.com/a.pdf"},
        {"type": "input_text", "text": "[Document]\n\nx"},
        {"type": "input_image", "image_url": "https://example.com/i.png", "detail": "auto"},
        {"type": "input_text", "text": "[Document: N]\nContext: why\n\nwords"},
        {"type": "input_text", "text": "[Document: r.pdf]\nContext: why"},
        {"type": "input_file", "filename": "r.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
        {"type": "input_text", "text": "[Search result: S]\nSource: https://example.com/s\n\nfound"},
        {"type": "input_text", "text": "Tool available: later"},
    ]


@pytest.mark.parametrize(
    ("block", "param"),
    [
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, ".source.file_id"),
        ({"type": "document", "source": {"type": "file", "file_id": "f"}}, ".source.file_id"),
        ({"type": "image", "source": {"type": "odd"}}, ".source.type"),
        ({"type": "image", "source": 3}, ".source"),
        (
            {
                "type": "document",
                "source": {"type": "content", "content": [{"type": "thinking", "thinking": "x", "signature": "y"}]},
            },
            ".source.content",
        ),
        ({"type": "container_upload", "file_id": "f"}, ""),
        ({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "browser_state"}]}, ".content[0]"),
        (
            {
                "type": "tool_result",
                "tool_use_id": "t",
                "content": [{"type": "tool_use", "id": "x", "name": "y", "input": {}}],
            },
            ".content",
        ),
        ({"type": "tool_result", "content": "x"}, ".tool_use_id"),
        ({"type": "tool_use", "id": "x", "name": "y", "input": "z"}, ".input"),
        ({"type": "tool_use", "name": "y", "input": {}}, ".id"),
        ({"type": "tool_use", "id": "x", "input": {}}, ".name"),
        ({"type": "text"}, ".text"),
        ({"type": "hologram"}, ".type"),
        ({"type": ["text"]}, ".type"),
        ("hi", ""),
    ],
    ids=range(16),
)
@pytest.mark.parametrize("profile", [OPENAI, CODEX, CHAT], ids=["openai", "codex", "chat"])
def test_unsupported_content_is_refused_by_its_path(block: Any, param: str, profile: Profile) -> None:
    with pytest.raises(BadRequest) as refused:
        translated(profile, [{"role": "user", "content": [block]}])
    assert refused.value.param == f"messages[0].content[0]{param}"


def test_parts_in_the_wrong_turn_are_refused() -> None:
    call = {"type": "tool_use", "id": "x", "name": "y", "input": {}}
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    for profile in (OPENAI, CHAT):
        with pytest.raises(BadRequest, match="only in an assistant's turn"):
            translated(profile, [{"role": "user", "content": [call]}])
        with pytest.raises(BadRequest, match="only in a user's turn"):
            translated(profile, [USER, {"role": "assistant", "content": [image]}])


SERVER_BLOCKS: list[Json] = [
    {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
    {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
    {"type": "mcp_tool_use", "id": "m", "name": "x", "server_name": "y", "input": {}},
    {"type": "mcp_tool_result", "tool_use_id": "m", "content": []},
    {"type": "advisor_tool_result", "tool_use_id": "a", "content": {}},
    {"type": "fallback", "from": {}, "to": {}},
]


@pytest.mark.parametrize("profile", [OPENAI, CODEX, CHAT], ids=["openai", "codex", "chat"])
def test_records_of_anthropics_own_tools_are_lost_and_their_text_stays(profile: Profile) -> None:
    compaction = {"type": "compaction", "content": "So far: much."}
    silent = {"type": "compaction", "content": None, "encrypted_content": "x"}
    messages = [
        USER,
        {"role": "assistant", "content": [*SERVER_BLOCKS, compaction, silent, {"type": "text", "text": "found"}]},
        USER,
    ]
    exchange = translated(profile, messages)
    assert [path for path in lost(exchange) if path.startswith("messages")] == [
        f"messages[1].content[{i}]" for i in range(len(SERVER_BLOCKS))
    ]
    assert b"So far: much." in exchange.encode()
    assert b"found" in exchange.encode()


def test_tools_that_come_and_go_are_offered_throughout() -> None:
    addition = {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "now"}}
    messages = [USER, {"role": "assistant", "content": "yes"}, USER, {"role": "system", "content": [addition]}]
    for profile in (OPENAI, CODEX, CHAT):
        assert "messages[3].content[0]" in lost(translated(profile, messages, tools=[TOOL]))


# --- thinking --------------------------------------------------------------------------------------------------------

REASONING: Json = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}],
    "encrypted_content": "gAAA",
}


def test_reasoning_comes_back_exactly_and_before_what_follows_it() -> None:
    sealed = capsule.seal(R, "m", REASONING)
    hidden = {**REASONING, "id": "rs_2", "summary": []}
    content = [
        {"type": "thinking", "thinking": "a\n\nb", "signature": sealed},
        {"type": "text", "text": "yes"},
        {"type": "redacted_thinking", "data": capsule.seal(R, "m", hidden)},
        {"type": "thinking", "thinking": "own", "signature": "c2lnbmVk"},
        {"type": "thinking", "thinking": "nobody's", "signature": capsule.seal(None, "m", {})},
        {"type": "thinking", "thinking": "broken", "signature": sealed[:-4] + "!!!!"},
        {"type": "thinking", "thinking": "claude's", "signature": capsule.seal(A, "m", {"type": "thinking"})},
        {"type": "tool_use", "id": "t1", "name": "now", "input": {}},
    ]
    messages = [
        USER,
        {"role": "assistant", "content": content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1"}]},
    ]
    exchange = translated(CODEX, messages, tools=[TOOL])
    items = exchange.body["input"]
    assert items[1] == REASONING
    assert items[2]["content"][0]["text"] == "yes"
    assert items[3] == hidden
    assert items[4]["type"] == "function_call"
    assert [path for path in lost(exchange) if path.startswith("messages")] == [
        f"messages[1].content[{i}]" for i in (3, 4, 5, 6)
    ]


def test_reasoning_that_nothing_follows_is_lost() -> None:
    sealed = {"type": "redacted_thinking", "data": capsule.seal(R, "m", REASONING)}
    exchange = translated(
        CODEX, [USER, {"role": "assistant", "content": [{"type": "text", "text": "yes"}, sealed]}, USER]
    )
    assert "reasoning" not in [item["type"] for item in exchange.body["input"]]
    assert "messages[1].content[1]" in lost(exchange)


def test_chat_clients_carry_reasoning_back_to_responses() -> None:
    details = [
        {"type": "reasoning.summary", "summary": "a", "format": "openai-responses-v1", "index": 0, "pos": 0},
        {
            "type": "reasoning.encrypted",
            "data": "gAAA",
            "id": "rs_1",
            "format": "openai-responses-v1",
            "index": 1,
            "pos": 0,
        },
    ]
    exchange = chat(CODEX, [USER, {"role": "assistant", "content": "yes", "reasoning_details": details}, USER])
    assert exchange.body["input"][1] == {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "a"}],
        "id": "rs_1",
        "encrypted_content": "gAAA",
    }


@pytest.mark.parametrize(
    ("fields", "openai", "codex"),
    [
        ({"thinking": {"type": "adaptive"}}, {"summary": "auto"}, {"summary": "auto"}),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, None, None),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 1500}},
            {"effort": "low", "summary": "auto"},
            {"effort": "low", "summary": "auto"},
        ),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 4000}},
            {"effort": "medium", "summary": "auto"},
            {"effort": "medium", "summary": "auto"},
        ),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 9000}},
            {"effort": "high", "summary": "auto"},
            {"effort": "high", "summary": "auto"},
        ),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 60000}},
            {"effort": "xhigh", "summary": "auto"},
            {"effort": "xhigh", "summary": "auto"},
        ),
        ({"thinking": {"type": "disabled"}}, {"effort": "none"}, {"effort": "low"}),
        ({"thinking": {"type": "between_tools"}}, {"effort": "none"}, {"effort": "low"}),
        ({"output_config": {"effort": "max"}}, {"effort": "xhigh"}, {"effort": "xhigh"}),
        (
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
            {"effort": "low", "summary": "auto"},
            {"effort": "low", "summary": "auto"},
        ),
    ],
    ids=range(10),
)
def test_how_hard_to_think(fields: Json, openai: Json | None, codex: Json | None) -> None:
    assert translated(OPENAI, **fields).body.get("reasoning") == openai
    assert translated(CODEX, **fields).body.get("reasoning") == codex


def test_effort_for_models_that_do_not_reason_and_for_chat() -> None:
    exchange = translated(PLAIN, thinking={"type": "enabled", "budget_tokens": 2000})
    assert "reasoning" not in exchange.body
    assert lost(exchange) == ["thinking"]
    assert lost(translated(PLAIN, thinking={"type": "disabled"})) == []
    assert translated(CHAT, thinking={"type": "enabled", "budget_tokens": 2000}).body["reasoning_effort"] == "low"
    assert translated(CHAT, thinking={"type": "disabled"}).body["reasoning_effort"] == "none"
    assert translated(CHAT, output_config={"effort": "max"}).body["reasoning_effort"] == "max"
    assert chat(OPENAI, reasoning_effort="high").body["reasoning"] == {"effort": "high"}
    assert chat(CODEX, reasoning_effort="high").body["reasoning"] == {"effort": "high", "summary": "auto"}
    with pytest.raises(BadRequest, match="kind of thinking"):
        translated(CODEX, thinking={"type": "sideways"})


# --- tools -----------------------------------------------------------------------------------------------------------


def test_strict_is_always_written_to_responses() -> None:
    closed = {
        "type": "object",
        "properties": {"a": {"anyOf": [{"type": "array", "items": {"type": "string"}}]}},
        "required": ["a"],
        "additionalProperties": False,
    }
    tools = [
        {"name": "loose", "input_schema": {"type": "object"}},
        {"name": "closed", "input_schema": closed, "strict": True},
        {
            "name": "open",
            "input_schema": {"type": "object", "properties": {"a": {}}},
            "strict": True,
            "description": "d",
        },
    ]
    exchange = translated(CODEX, tools=tools)
    assert [tool["strict"] for tool in exchange.body["tools"]] == [False, True, False]
    assert exchange.body["tools"][0]["parameters"] == {"type": "object", "properties": {}}
    assert "tools[2].strict" in lost(exchange)
    assert [tool["function"].get("strict") for tool in translated(CHAT, tools=tools).body["tools"]] == [
        None,
        True,
        None,
    ]
    function = {"name": "f", "parameters": {"type": "object", "properties": {"a": {}}}}
    body = chat(
        CODEX,
        tools=[
            {"type": "function", "function": function},
            {"type": "function", "function": {**function, "name": "g", "strict": True}},
        ],
    ).body
    assert [tool["strict"] for tool in body["tools"]] == [False, True], "a Chat client's own word is passed on"


def test_published_tools_are_functions() -> None:
    tools = [
        {"type": "bash_20250124", "name": "bash"},
        {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool", "max_characters": 10},
        {"type": "text_editor_20250124", "name": "str_replace_editor"},
        {"type": "memory_20250818", "name": "memory"},
    ]
    exchange = translated(CODEX, tools=tools)
    assert [tool["name"] for tool in exchange.body["tools"]] == [tool["name"] for tool in tools]
    assert "undo_edit" not in exchange.body["tools"][1]["parameters"]["properties"]["command"]["enum"]
    assert "undo_edit" in exchange.body["tools"][2]["parameters"]["properties"]["command"]["enum"]
    assert "tools[1].max_characters" in lost(exchange)


def test_web_search() -> None:
    search = {
        "type": "web_search_20250305",
        "name": "web_search",
        "allowed_domains": ["example.com"],
        "max_uses": 3,
        "user_location": {"type": "approximate", "city": "Bern"},
    }
    exchange = translated(OPENAI, tools=[search], tool_choice={"type": "tool", "name": "web_search"})
    assert exchange.body["tools"] == [
        {
            "type": "web_search",
            "filters": {"allowed_domains": ["example.com"]},
            "user_location": {"type": "approximate", "city": "Bern"},
        }
    ]
    assert exchange.body["tool_choice"] == "required"
    assert exchange.body["include"] == ["reasoning.encrypted_content", "web_search_call.action.sources"]
    assert lost(exchange) == ["tools[0].max_uses"]
    assert "tool_choice" in lost(
        translated(OPENAI, tools=[search, TOOL], tool_choice={"type": "tool", "name": "web_search"})
    )
    options = translated(CHAT, tools=[search]).body["web_search_options"]
    assert options == {"user_location": {"type": "approximate", "approximate": {"city": "Bern"}}}
    assert chat(OPENAI, web_search_options={"search_context_size": "high"}).body["tools"] == [
        {"type": "web_search", "search_context_size": "high"}
    ]


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "web_fetch_20250910", "name": "web_fetch"},
        {"type": "code_execution_20250825", "name": "code_execution"},
        {"type": "computer_20251124", "name": "computer"},
        {"type": "computer_toolset_20260801"},
        {"type": "browser_toolset_20260801"},
        {"type": "advisor_20260301", "name": "advisor"},
        {"type": "mcp_toolset", "mcp_server_name": "x"},
        {"type": "hologram"},
    ],
    ids=range(8),
)
@pytest.mark.parametrize("profile", [OPENAI, CODEX, CHAT], ids=["openai", "codex", "chat"])
def test_tools_that_run_at_anthropic_are_refused_by_name(tool: Json, profile: Profile) -> None:
    with pytest.raises(BadRequest) as refused:
        translated(profile, tools=[tool])
    assert refused.value.param
    assert refused.value.param.startswith("tools[0]")


def test_a_tool_search_is_not_needed_where_all_is_offered() -> None:
    tools = [
        {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"},
        {**TOOL, "defer_loading": True},
    ]
    for profile in (OPENAI, CHAT):
        exchange = translated(profile, tools=tools)
        assert len(exchange.body["tools"]) == 1
        assert lost(exchange) == ["tools[0]", "tools[1].defer_loading"]
    found = responses(
        tools=[
            {"type": "tool_search"},
            {"type": "function", "name": "now", "parameters": {}, "strict": False, "defer_loading": True},
        ]
    )
    assert lost(found) == ["tools[0]", "tools[1].defer_loading"] or lost(found) == ["tools[1].defer_loading"]


def test_long_names_are_short_there_and_long_here() -> None:
    name = "mcp__" + "x" * 90
    exchange = translated(CODEX, tools=[{**TOOL, "name": name}], tool_choice={"type": "tool", "name": name})
    short = exchange.body["tools"][0]["name"]
    assert len(short) == 64
    assert exchange.body["tool_choice"] == {"type": "function", "name": short}
    item = {
        "id": "fc",
        "type": "function_call",
        "call_id": "c",
        "name": short,
        "arguments": "{}",
        "status": "completed",
    }
    _, _, body = exchange.whole(
        200, json.dumps({"id": "resp_1", "model": "m", "status": "completed", "output": [item]}).encode()
    )
    assert json.loads(body)["content"][0]["name"] == name


def test_long_call_ids_are_short_in_both_places() -> None:
    call = {"id": "toolu_" + "y" * 100, "type": "tool_use", "name": "now", "input": {}}
    messages = [
        USER,
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call["id"]}]},
    ]
    items = translated(CODEX, messages, tools=[TOOL]).body["input"]
    assert items[1]["call_id"] == items[2]["call_id"]
    assert len(items[1]["call_id"]) == 64


@pytest.mark.parametrize(
    ("choice", "told_responses", "told_chat"),
    [
        ({"type": "auto"}, "auto", "auto"),
        ({"type": "any"}, "required", "required"),
        ({"type": "none"}, "none", "none"),
        (
            {"type": "tool", "name": "now"},
            {"type": "function", "name": "now"},
            {"type": "function", "function": {"name": "now"}},
        ),
    ],
    ids=range(4),
)
def test_tool_choice(choice: Json, told_responses: Any, told_chat: Any) -> None:
    assert translated(OPENAI, tools=[TOOL], tool_choice=choice).body["tool_choice"] == told_responses
    assert translated(CHAT, tools=[TOOL], tool_choice=choice).body["tool_choice"] == told_chat
    for profile in (OPENAI, CODEX, CHAT):
        assert (
            "parallel_tool_calls" not in translated(profile, tools=[TOOL], tool_choice=choice).body or profile is CODEX
        )
        single = translated(profile, tools=[TOOL], tool_choice={**choice, "disable_parallel_tool_use": True}).body
        assert single["parallel_tool_calls"] is False


@pytest.mark.parametrize("profile", [OPENAI, CHAT], ids=["openai", "chat"])
def test_a_choice_needs_tools(profile: Profile) -> None:
    with pytest.raises(BadRequest, match="no tools to choose from"):
        translated(profile, tool_choice={"type": "any"})
    assert "tool_choice" not in translated(profile, tool_choice={"type": "auto"}).body
    with pytest.raises(BadRequest):
        translated(profile, tools=[TOOL], tool_choice={"type": "some"})


def test_allowed_and_custom_tools_of_chat_clients() -> None:
    tools = [
        {"type": "function", "function": {"name": "now"}},
        {
            "type": "custom",
            "custom": {
                "name": "patch",
                "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "s: /a/"}},
            },
        },
    ]
    body = chat(OPENAI, tools=tools, tool_choice={"type": "custom", "custom": {"name": "patch"}}).body
    assert body["tools"][1] == {
        "type": "custom",
        "name": "patch",
        "format": {"type": "grammar", "syntax": "lark", "definition": "s: /a/"},
    }
    assert body["tool_choice"] == {"type": "custom", "name": "patch"}
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "now"}}]}
    body = chat(OPENAI, tools=tools, tool_choice={"type": "allowed_tools", "allowed_tools": allowed}).body
    assert body["tool_choice"] == {
        "type": "allowed_tools",
        "mode": "required",
        "tools": [{"type": "function", "name": "now"}],
    }


# --- settings --------------------------------------------------------------------------------------------------------

SCHEMA: Json = {"type": "object", "title": "For cast", "properties": {"a": {"type": "string"}}}
CLOSED: Json = {**SCHEMA, "required": ["a"], "additionalProperties": False}


def test_structured_output() -> None:
    body = translated(OPENAI, output_config={"format": {"type": "json_schema", "schema": SCHEMA}}).body
    assert body["text"] == {"format": {"type": "json_schema", "name": "For_cast", "schema": SCHEMA, "strict": False}}
    assert (
        translated(OPENAI, output_format={"type": "json_schema", "schema": CLOSED}).body["text"]["format"]["strict"]
        is True
    )
    assert (
        translated(CHAT, output_config={"format": {"type": "json_schema", "schema": CLOSED}}).body["response_format"][
            "json_schema"
        ]["strict"]
        is True
    )
    expected = {"name": "n", "description": "d", "schema": SCHEMA}
    body = chat(CODEX, response_format={"type": "json_schema", "json_schema": expected}, verbosity="low").body
    assert body["text"] == {"format": {"type": "json_schema", **expected, "strict": False}, "verbosity": "low"}
    assert chat(CODEX, response_format={"type": "json_object"}).body["text"] == {"format": {"type": "json_object"}}
    found = responses(
        text={"format": {"type": "json_schema", "name": "n", "description": "d", "schema": SCHEMA, "strict": True}}
    ).body
    assert found["response_format"] == {"type": "json_schema", "json_schema": {**expected, "strict": True}}
    with pytest.raises(BadRequest) as refused:
        translated(OPENAI, output_config={"format": {"type": "xml"}})
    assert refused.value.param == "output_config.format.type"


def test_limits_and_sampling() -> None:
    body = translated(PLAIN, max_tokens=3, temperature=0.5, top_p=0.9).body
    assert (body["max_output_tokens"], body["temperature"], body["top_p"]) == (16, 0.5, 0.9)
    assert lost(translated(OPENAI, temperature=0.5)) == ["temperature"]
    assert lost(translated(CODEX, temperature=0.5, top_k=3)) == ["max_tokens", "temperature", "top_k"]
    body = translated(CHAT, max_tokens=3, temperature=0.5, top_p=0.9, stop_sequences=["1", "2", "3", "4", "5"]).body
    assert (body["max_completion_tokens"], body["stop"]) == (3, ["1", "2", "3", "4"])
    assert "max_tokens" in translated(ChatProfile("max_tokens")).body
    exchange = chat(CODEX, max_tokens=3, temperature=1, user="u")
    assert set(lost(exchange)) == {"max_tokens", "temperature", "user"}
    assert "stop" not in chat(OPENAI, stop=["a"]).body
    assert lost(chat(OPENAI, stop=["a"])) == []


def test_users_and_tiers() -> None:
    assert translated(OPENAI, metadata={"user_id": "u", "x": 1}).body["safety_identifier"] == "u"
    assert lost(translated(OPENAI, metadata={"user_id": "u", "x": 1})) == ["metadata.x"]
    assert len(translated(OPENAI, metadata={"user_id": "u" * 90}).body["safety_identifier"]) == 32
    assert translated(CHAT, metadata={"user_id": "u"}).body["user"] == "u"
    assert translated(OPENAI, speed="fast").body["service_tier"] == "priority"
    assert translated(CODEX, speed="fast").body["service_tier"] == "priority"
    assert translated(OPENAI, service_tier="standard_only").body["service_tier"] == "default"
    assert "service_tier" in lost(translated(CODEX, service_tier="standard_only"))
    assert chat(OPENAI, service_tier="flex").body["service_tier"] == "flex"


def test_hints_are_lost() -> None:
    hints = {
        "container": "container_1",
        "context_management": {"edits": []},
        "diagnostics": {"previous_message_id": "m"},
        "inference_geo": "us",
        "user_profile_id": "u",
        "workspace_id": "w",
        "fallbacks": [{"model": "x"}],
        "cache_control": {"type": "ephemeral"},
        "top_k": 3,
        "anthropic_version": "x",
    }
    assert lost(translated(OPENAI, **hints)) == list(hints)
    assert (
        lost(translated(OPENAI, mcp_servers=[], betas=[], service_tier="auto", speed="standard", thinking=None)) == []
    )
    for name in ("mcp_servers", "thread", "compaction"):
        with pytest.raises(BadRequest) as refused:
            translated(OPENAI, **{name: [{"type": "url"}]})
        assert refused.value.param == name
    with pytest.raises(BadRequest) as refused:
        translated(OPENAI, container={"skills": [{"type": "anthropic"}]})
    assert refused.value.param == "container.skills"
    assert lost(
        translated(CHAT, tools=[{**TOOL, "cache_control": {"type": "ephemeral"}, "eager_input_streaming": True}])
    ) == [
        "tools[0].eager_input_streaming",
        "tools[0].cache_control",
    ]
    programmatic = {
        "type": "tool_use",
        "id": "x",
        "name": "y",
        "input": {},
        "caller": {"type": "code_execution_20250825", "tool_id": "s"},
    }
    messages = [
        USER,
        {"role": "assistant", "content": [programmatic]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x"}]},
    ]
    assert lost(translated(OPENAI, messages, tools=[TOOL])) == ["messages[1].content[0].caller"]


def test_what_an_anthropic_client_may_not_say() -> None:
    for fields, param in (
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"system": 3}, "system"),
        ({"model": 3}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"stop_sequences": "x"}, "stop_sequences"),
        ({"tools": [{"name": "x"}]}, "tools[0].input_schema"),
    ):
        with pytest.raises(BadRequest) as refused:
            translate_request(A, R, {"model": "m", "max_tokens": 1, "messages": [USER], **fields}, OPENAI)
        assert refused.value.param == param
    for profile in (OPENAI, CODEX, CHAT):
        with pytest.raises(BadRequest, match="nothing that can be sent"):
            translated(profile, [{"role": "user", "content": ""}])


# --- Codex -----------------------------------------------------------------------------------------------------------


def test_codex_receives_only_parameters_that_it_accepts() -> None:
    exchange = translated(
        CODEX,
        system="s",
        tools=[TOOL],
        thinking={"type": "adaptive"},
        metadata={"user_id": "u"},
        stop_sequences=["x"],
        speed="fast",
    )
    assert set(exchange.body) == {
        "model",
        "instructions",
        "input",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "reasoning",
        "service_tier",
        "include",
        "store",
        "stream",
        "prompt_cache_key",
    }
    assert exchange.body["store"] is False
    assert exchange.body["stream"] is True
    assert exchange.stream is False
    assert exchange.body["tool_choice"] == "auto"
    assert exchange.body["parallel_tool_calls"] is True


def test_what_the_backend_refused_is_left_out() -> None:
    told_once = translated(
        ResponsesProfile(codex=True, refused=frozenset(("text.verbosity", "service_tier", "none.such"))), speed="fast"
    )
    assert "service_tier" not in told_once.body
    exchange = translate_request(C, R, {"model": "m", "messages": [USER], "verbosity": "low"}, CODEX)
    again = exchange.without("text.verbosity")
    assert again.body["text"] == {}
    assert "text.verbosity" in lost(again)
    assert exchange.without("reasoning.summary.x").body == exchange.body
    assert again.changed


@pytest.mark.parametrize(
    ("user", "key"),
    [
        (json.dumps({"device_id": "d", "session_id": "11111111-2222"}), "11111111-2222"),
        ("user_abc_account_def_session_33333333-4444", "33333333-4444"),
    ],
)
def test_one_key_for_a_session(user: str, key: str) -> None:
    exchange = translated(CODEX, metadata={"user_id": user})
    assert exchange.body["prompt_cache_key"] == key
    assert exchange.headers == {"session-id": key}
    assert translated(OPENAI, metadata={"user_id": user}).body["prompt_cache_key"] == key
    assert translated(OPENAI, metadata={"user_id": user}).headers == {}


def test_a_key_of_its_own_for_every_conversation() -> None:
    first = translated(CODEX, system="s").body["prompt_cache_key"]
    longer = translated(
        CODEX, [USER, {"role": "assistant", "content": "x"}, {"role": "user", "content": "y"}], system="s"
    ).body["prompt_cache_key"]
    assert first == longer
    assert first != translated(CODEX, [{"role": "user", "content": "other"}], system="s").body["prompt_cache_key"]
    named = translate_request(A, R, {"model": "m", "max_tokens": 1, "messages": [USER]}, CODEX, session_id="mine")
    assert named.headers["session-id"] == named.body["prompt_cache_key"] == "mine"
    assert chat(CODEX, prompt_cache_key="k" * 80).headers["session-id"] != "k" * 80
    assert chat(CODEX, prompt_cache_key="ü\n").headers["session-id"].isalnum()
    for odd in ("{not json", "{}", '{"session_id": 3}'):
        assert len(translated(CODEX, metadata={"user_id": odd}).body["prompt_cache_key"]) == 32
