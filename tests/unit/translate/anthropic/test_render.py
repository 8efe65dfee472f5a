"""Requests to the Messages API, from clients of OpenAI's formats: row by row."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from ccproxy.errors import BadRequest
from ccproxy.translate.exchange import Translated, translate_request
from ccproxy.translate.formats import Format
from ccproxy.translate.profiles import AnthropicProfile
from tests.referees import sdk

Json = dict[str, Any]
A, C, R = Format

NEW = AnthropicProfile.of_model("claude-opus-5")
OLD = AnthropicProfile.of_model("claude-sonnet-4-5")
FABLE = AnthropicProfile.of_model("claude-fable-5")
TOOL: Json = {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}


def chat(profile: AnthropicProfile = NEW, messages: list[Json] | None = None, **fields: Any) -> Translated:
    body = {"model": "m", "messages": messages or [{"role": "user", "content": "hi"}], **fields}
    exchange = translate_request(C, A, body, profile)
    sdk.check_request(
        A, {key: value for key, value in exchange.body.items() if key not in ("temperature", "top_p", "top_k")}
    )
    return exchange


def responses(profile: AnthropicProfile = NEW, items: Any = "hi", **fields: Any) -> Translated:
    exchange = translate_request(R, A, {"model": "m", "input": items, **fields}, profile)
    sdk.check_request(A, exchange.body)
    return exchange


def lost(exchange: Translated) -> list[str]:
    return [loss.path for loss in exchange.losses]


# --- who said what ---------------------------------------------------------------------------------------------------


def text(words: str) -> Json:
    return {"type": "text", "text": words}


def test_a_string_is_the_users_message() -> None:
    assert responses().body["messages"] == [{"role": "user", "content": [text("hi")]}]


def test_leading_instructions_are_system_blocks_one_each() -> None:
    messages = [
        {"role": "system", "content": "one"},
        {"role": "developer", "content": [{"type": "text", "text": "two"}, {"type": "text", "text": "three"}]},
        {"role": "user", "content": "hi"},
    ]
    assert chat(messages=messages).body["system"] == [text("one"), text("two"), text("three")]
    items = [{"role": "developer", "content": "two"}, {"role": "user", "content": "hi"}]
    assert responses(items=items, instructions="one").body["system"] == [text("one"), text("two")]


def test_later_instructions_stay_where_they_are() -> None:
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "system", "content": "be quick"},
        {"role": "user", "content": "go"},
    ]
    assert chat(messages=messages).body["messages"][2:] == [
        {"role": "user", "content": [text("go")]},
        {"role": "system", "content": [text("be quick")]},
    ]
    reminder = text("<system-reminder>\nbe quick\n</system-reminder>")
    assert chat(OLD, messages).body["messages"][2:] == [{"role": "user", "content": [reminder, text("go")]}]
    assert "system" not in chat(OLD, messages).body


def test_instructions_after_an_answer_without_a_user_turn_are_a_reminder() -> None:
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "system", "content": "go on"},
    ]
    for profile in (NEW, OLD):
        last = chat(profile, messages).body["messages"][-1]
        assert last == {"role": "user", "content": [text("<system-reminder>\ngo on\n</system-reminder>")]}


def test_a_conversation_needs_a_user_at_its_beginning() -> None:
    only = chat(messages=[{"role": "system", "content": "one"}, {"role": "system", "content": "two"}])
    assert only.body["system"] == [text("one")]
    assert only.body["messages"] == [{"role": "user", "content": [text("two")]}]
    assert lost(only) == ["messages[1]"]
    greeting = chat(messages=[{"role": "assistant", "content": "hello"}, {"role": "user", "content": "hi"}])
    assert [message["role"] for message in greeting.body["messages"]] == ["user", "assistant", "user"]
    assert lost(greeting) == ["messages[0]"]


def test_neighbours_of_one_role_are_one_turn() -> None:
    messages = [
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
        {"role": "assistant", "content": "c"},
        {"role": "assistant", "content": "d"},
        {"role": "user", "content": "e"},
    ]
    assert [len(message["content"]) for message in chat(messages=messages).body["messages"]] == [2, 2, 1]


def test_results_come_first_in_one_turn() -> None:
    calls = [{"id": f"c{i}", "type": "function", "function": {"name": "now", "arguments": ""}} for i in (1, 2)]
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "user", "content": "and?"},
        {"role": "tool", "tool_call_id": "c2", "content": ""},
    ]
    found = chat(messages=messages, tools=[TOOL]).body["messages"]
    assert found[1]["content"] == [{"type": "tool_use", "id": f"c{i}", "name": "now", "input": {}} for i in (1, 2)]
    assert found[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "c1", "content": "one"},
        {"type": "tool_result", "tool_use_id": "c2"},
        text("and?"),
    ]


def test_empty_and_blank_texts_are_left_out() -> None:
    messages = [
        {"role": "system", "content": ""},
        {"role": "user", "content": [text(""), text("hi")]},
        {"role": "assistant", "content": "  \n"},
        {"role": "user", "content": ""},
        {"role": "user", "content": "still there?"},
    ]
    exchange = chat(messages=messages)
    assert (
        exchange.body["messages"]
        == [{"role": "user", "content": [text("hi")]}, {"role": "user", "content": [text("still there?")]}]
        or len(exchange.body["messages"]) == 2
    )
    assert lost(exchange) == ["messages[2].content"]
    with pytest.raises(BadRequest, match="nothing that can be sent"):
        chat(messages=[{"role": "user", "content": ""}])


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ('{"a": 1}', {"a": 1}),
        ("", {}),
        ("  ", {}),
        ("{broken", {"_raw_arguments": "{broken"}),
        ("[1]", {"_raw_arguments": "[1]"}),
        ("null", {"_raw_arguments": "null"}),
    ],
)
def test_arguments_that_the_model_wrote_never_fail(arguments: str, given: Json) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "now", "arguments": arguments}}
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "x"},
    ]
    assert chat(messages=messages, tools=[TOOL]).body["messages"][1]["content"][0]["input"] == given


def test_ids_and_names_fit_and_belong_together() -> None:
    long = "call|" + "x" * 300
    item = {"type": "function_call", "call_id": long, "name": "a" * 140, "arguments": "{}"}
    exchange = responses(
        items=[
            {"role": "user", "content": "hi"},
            item,
            {"type": "function_call_output", "call_id": long, "output": "x"},
        ]
    )
    call, result = exchange.body["messages"][1]["content"][0], exchange.body["messages"][2]["content"][0]
    assert call["id"] == result["tool_use_id"]
    assert len(call["id"]) <= 256
    assert "|" not in call["id"]
    assert len(call["name"]) == 128


def test_results_may_show_images_and_files() -> None:
    output = [
        {"type": "input_text", "text": " "},
        {"type": "input_image", "image_url": "data:image/png;base64,aGk="},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
    ]
    items = [
        {"role": "user", "content": "hi"},
        {"type": "function_call", "call_id": "c1", "name": "view", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": output},
    ]
    (result,) = responses(items=items).body["messages"][2]["content"]
    assert [block["type"] for block in result["content"]] == ["image", "document"]


def test_instructions_are_text() -> None:
    image = {"type": "input_image", "image_url": "https://example.com/a.png"}
    for role in ("developer", "system"):
        with pytest.raises(BadRequest, match="instructions must be text"):
            responses(items=[{"role": role, "content": [image]}, {"role": "user", "content": "hi"}])


def test_consecutive_answers_are_one() -> None:
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": ""},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "ok"},
    ]
    assert [len(message["content"]) for message in chat(messages=messages).body["messages"]] == [1, 2, 1]


def test_older_forms_of_calls_are_understood() -> None:
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "function_call": {"name": "now", "arguments": "{}"}},
        {"role": "function", "name": "now", "content": "noon"},
    ]
    exchange = chat(
        messages=messages, functions=[{"name": "now", "parameters": {"type": "object"}}], function_call={"name": "now"}
    )
    assert exchange.body["messages"][1]["content"] == [
        {"type": "tool_use", "id": "call_now", "name": "now", "input": {}}
    ]
    assert exchange.body["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "call_now", "content": "noon"}
    ]
    assert exchange.body["tools"] == [{"name": "now", "input_schema": {"type": "object"}}]
    assert exchange.body["tool_choice"] == {"type": "tool", "name": "now"}


def test_refusals_are_texts() -> None:
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}], "refusal": "Never."},
        {"role": "user", "content": "please"},
    ]
    assert chat(messages=messages).body["messages"][1]["content"] == [text("No."), text("Never.")]


def test_names_of_speakers_are_lost() -> None:
    messages = [
        {"role": "user", "name": "ann", "content": "hi"},
        {"role": "assistant", "name": "bob", "content": "yes"},
        {"role": "user", "content": "ok"},
    ]
    assert lost(chat(messages=messages)) == ["messages[0].name", "messages[1].name"]


# --- thinking --------------------------------------------------------------------------------------------------------


def test_thinking_goes_back_to_who_signed_it() -> None:
    details = [
        {
            "type": "reasoning.text",
            "text": "Hm.",
            "signature": "c2ln",
            "format": "anthropic-claude-v1",
            "index": 0,
            "pos": 0,
        },
        {"type": "reasoning.encrypted", "data": "cmVk", "format": "anthropic-claude-v1", "index": 1, "pos": 2},
        {"type": "reasoning.text", "text": "unsigned", "format": "anthropic-claude-v1", "index": 2},
        {"type": "reasoning.summary", "summary": "s", "format": "openai-responses-v1", "index": 3},
        {"type": "reasoning.encrypted", "data": "gAAA", "id": "rs_1", "format": "openai-responses-v1", "index": 4},
        {"type": "reasoning.text", "text": "t", "signature": "x", "format": "google-gemini-v1", "index": 5},
        {"type": "reasoning.summary", "summary": "cut", "format": "openai-responses-v1", "index": 6},
    ]
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "yes", "reasoning_details": details},
        {"role": "user", "content": "ok"},
    ]
    exchange = chat(messages=messages)
    assert exchange.body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        text("yes"),
        {"type": "redacted_thinking", "data": "cmVk"},
    ]
    assert len(lost(exchange)) == 4


def test_blocks_of_other_gateways_are_understood() -> None:
    blocks = [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "thinking", "thinking": "unsigned"},
    ]
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "yes", "thinking_blocks": blocks},
        {"role": "user", "content": "ok"},
    ]
    exchange = chat(messages=messages)
    assert exchange.body["messages"][1]["content"][0] == blocks[0]
    assert lost(exchange) == ["messages[1].thinking_blocks[1]"]


def test_reasoning_without_a_signature_is_lost() -> None:
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "yes", "reasoning_content": "Hm."},
        {"role": "user", "content": "ok"},
    ]
    assert lost(chat(messages=messages)) == ["messages[1].reasoning_content"]
    items = [
        {"role": "user", "content": "hi"},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "Hm."}],
            "encrypted_content": "gAAA",
        },
    ]
    assert lost(responses(items=items)) == ["input[1]"]


# --- images and files ------------------------------------------------------------------------------------------------

PDF = base64.b64encode(b"%PDF-1.7 x").decode()


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("data:image/png;base64,aGk=", {"type": "base64", "media_type": "image/png", "data": "aGk="}),
        ("DATA:image/jpg;charset=x;base64,aGk=", {"type": "base64", "media_type": "image/jpeg", "data": "aGk="}),
        ("data:image/gif,h%69", {"type": "base64", "media_type": "image/gif", "data": "aGk="}),
        ("https://example.com/a.png", {"type": "url", "url": "https://example.com/a.png"}),
    ],
)
def test_images(url: str, source: Json) -> None:
    messages = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url, "detail": "low"}}]}]
    exchange = chat(messages=messages)
    assert exchange.body["messages"][0]["content"] == [{"type": "image", "source": source}]
    assert lost(exchange) == ["messages[0].content[0].image_url.detail"]
    items = [{"role": "user", "content": [{"type": "input_image", "image_url": url, "detail": "high"}]}]
    assert responses(items=items).body["messages"][0]["content"] == [{"type": "image", "source": source}]


@pytest.mark.parametrize(
    ("name", "data", "block"),
    [
        (
            "a.pdf",
            f"data:application/pdf;base64,{PDF}",
            {"type": "base64", "media_type": "application/pdf", "data": PDF},
        ),
        ("a.bin", PDF, {"type": "base64", "media_type": "application/pdf", "data": PDF}),
        ("a.pdf", "eA==", {"type": "base64", "media_type": "application/pdf", "data": "eA=="}),
        ("a.txt", "data:text/plain;base64,w7w=", {"type": "text", "media_type": "text/plain", "data": "ü"}),
        ("a.json", "data:application/json;base64,e30=", {"type": "text", "media_type": "text/plain", "data": "{}"}),
        (
            "a.md",
            "data:application/octet-stream;base64,aGk=",
            {"type": "text", "media_type": "text/plain", "data": "hi"},
        ),
    ],
    ids=range(6),
)
def test_files(name: str, data: str, block: Json) -> None:
    expected = [{"type": "document", "source": block, "title": name}]
    messages = [{"role": "user", "content": [{"type": "file", "file": {"filename": name, "file_data": data}}]}]
    assert chat(messages=messages).body["messages"][0]["content"] == expected
    items = [{"role": "user", "content": [{"type": "input_file", "filename": name, "file_data": data}]}]
    assert responses(items=items).body["messages"][0]["content"] == expected


def test_a_file_by_address() -> None:
    items = [
        {"role": "user", "content": [{"type": "input_file", "file_url": "https://example.com/a.pdf", "detail": "high"}]}
    ]
    exchange = responses(items=items)
    assert exchange.body["messages"][0]["content"] == [
        {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}
    ]
    assert lost(exchange) == ["input[0].content[0].detail"]


def test_an_image_sent_as_a_file_is_an_image() -> None:
    messages = [
        {
            "role": "user",
            "content": [{"type": "file", "file": {"filename": "a.png", "file_data": "data:image/png;base64,aGk="}}],
        }
    ]
    assert chat(messages=messages).body["messages"][0]["content"][0]["type"] == "image"


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "file", "file": {"file_id": "file-1"}}, "file.file_id"),
        ({"type": "file", "file": {"filename": "a.zip", "file_data": "data:application/zip;base64,UEsDBA=="}}, ""),
        ({"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,/w=="}}, ""),
        ({"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,!"}}, ""),
        ({"type": "file", "file": {}}, "file.file_data"),
        ({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}, ""),
        ({"type": "image_url", "image_url": {"url": "data:image/svg+xml,%3Csvg"}}, ""),
        ({"type": "image_url", "image_url": "https://example.com"}, "image_url"),
        ({"type": "image_url", "image_url": {}}, "image_url.url"),
        ({"type": "text"}, "text"),
        ({"type": "hologram"}, "type"),
        ({}, "type"),
        (3, ""),
    ],
    ids=range(13),
)
def test_unsupported_content_is_refused_by_its_path(part: Any, param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        chat(messages=[{"role": "user", "content": [part]}])
    assert refused.value.param == f"messages[0].content[0]{'.' if param else ''}{param}"


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "input_file", "file_id": "file-1"}, ".file_id"),
        ({"type": "input_image", "file_id": "file-1"}, ".file_id"),
        ({"type": "input_file"}, ""),
        ({"type": "input_audio"}, ""),
        ({"type": "input_text", "text": 3}, ".text"),
        ({"type": "hologram"}, ".type"),
    ],
    ids=range(6),
)
def test_unsupported_parts_are_refused_by_their_paths(part: Any, param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        responses(items=[{"role": "user", "content": [part]}])
    assert refused.value.param == f"input[0].content[0]{param}"


@pytest.mark.parametrize(
    "item",
    [
        {"type": "item_reference", "id": "x"},
        {"id": "x"},
        {"type": "compaction", "encrypted_content": "x"},
        {"type": "compaction_trigger"},
        {"type": "computer_call", "call_id": "x"},
        {"type": "mcp_approval_response", "approve": True, "approval_request_id": "x"},
        {"type": "program", "call_id": "x"},
        {"type": "hologram"},
        {"role": "robot", "content": "hi"},
        {"type": "function_call", "name": "a", "arguments": "{}"},
        {"type": "function_call_output", "output": "x"},
        {"type": "function_call_output", "call_id": "x", "output": 3},
        {"role": "assistant", "content": [{"type": "input_image", "image_url": "https://example.com"}]},
        {"type": "shell_call", "call_id": "x", "action": 3},
    ],
    ids=range(14),
)
def test_unsupported_items_are_refused_by_their_paths(item: Json) -> None:
    with pytest.raises(BadRequest) as refused:
        responses(items=[{"role": "user", "content": "hi"}, item])
    assert refused.value.param
    assert refused.value.param.startswith("input[1]")


@pytest.mark.parametrize(
    "kind",
    [
        "web_search_call",
        "file_search_call",
        "code_interpreter_call",
        "image_generation_call",
        "mcp_list_tools",
        "mcp_call",
        "tool_search_call",
        "tool_search_output",
    ],
)
def test_records_of_openais_own_tools_are_lost(kind: str) -> None:
    items = [
        {"role": "user", "content": "hi"},
        {"type": kind, "id": "x"},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": "ok"},
    ]
    exchange = responses(items=items)
    assert [message["role"] for message in exchange.body["messages"]] == ["user", "assistant", "user"]
    assert lost(exchange) == ["input[1]"]


# --- tools -----------------------------------------------------------------------------------------------------------


def test_strict_schemas_follow_anthropics_rules() -> None:
    parameters = {
        "type": "object",
        "title": "T",
        "$defs": {"D": {"type": "object", "properties": {"x": {"type": "number", "minimum": 0}}}},
        "properties": {
            "d": {"$ref": "#/$defs/D"},
            "list": {"type": "array", "items": {"type": "string", "format": "email"}, "minItems": 2},
            "maybe": {"type": ["string", "null"], "description": "or not"},
            "pick": {"enum": ["a", 1, None]},
            "one": {"oneOf": [{"type": "string", "format": "odd"}, {"const": 3}]},
            "all": {"allOf": [{"type": "string"}]},
            "inferred": {"properties": {}},
            "things": {"items": {"type": "integer"}, "minItems": 1, "type": "array"},
            "single": {"type": ["integer"]},
        },
        "additionalProperties": True,
        "required": ["d"],
    }
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters, "strict": True}}
    (block,) = chat(tools=[tool]).body["tools"]
    assert block["strict"] is True
    assert block["input_schema"] == {
        "$defs": {
            "D": {
                "type": "object",
                "properties": {"x": {"type": "number", "description": "{minimum: 0}"}},
                "additionalProperties": False,
            }
        },
        "type": "object",
        "title": "T",
        "properties": {
            "d": {"$ref": "#/$defs/D"},
            "list": {"type": "array", "items": {"type": "string", "format": "email"}, "description": "{minItems: 2}"},
            "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "or not"},
            "pick": {"enum": ["a", 1, None]},
            "one": {"anyOf": [{"type": "string", "description": "{format: odd}"}, {"const": 3}]},
            "all": {"allOf": [{"type": "string"}]},
            "inferred": {"type": "object", "properties": {}, "additionalProperties": False},
            "things": {"type": "array", "items": {"type": "integer"}, "minItems": 1},
            "single": {"type": "integer"},
        },
        "additionalProperties": False,
        "required": ["d"],
    }


def test_loose_schemas_stay_as_they_are_but_for_the_top() -> None:
    assert chat(tools=[{"type": "function", "function": {"name": "f"}}]).body["tools"] == [
        {"name": "f", "input_schema": {"type": "object", "properties": {}}}
    ]
    union = {
        "anyOf": [
            {"properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "required": ["a", "b"]},
            {"properties": {"a": {"type": "string"}}, "required": ["a"]},
        ],
        "properties": {"c": {"type": "string"}},
        "required": ["c"],
    }
    (block,) = chat(tools=[{"type": "function", "function": {"name": "f", "parameters": union}}]).body["tools"]
    assert set(block["input_schema"]["properties"]) == {"a", "b", "c"}
    assert block["input_schema"]["required"] == ["a", "c"]
    assert "anyOf" in block["input_schema"]["description"]


def test_free_text_tools_take_one_text() -> None:
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /.+/"}}
    (block,) = chat(
        tools=[{"type": "custom", "custom": {"name": "patch", "description": "Patches.", "format": grammar}}]
    ).body["tools"]
    assert block["description"] == "Patches.\n\nThe input must match this lark grammar:\nstart: /.+/"
    assert block["input_schema"]["required"] == ["input"]
    (block,) = responses(
        tools=[
            {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "regex", "definition": "a+"}}
        ]
    ).body["tools"]
    assert block["description"] == "The input must match this regex grammar:\na+"


def test_web_search_with_its_settings() -> None:
    location = {"type": "approximate", "approximate": {"city": "Bern", "country": "CH"}}
    exchange = chat(web_search_options={"user_location": location, "search_context_size": "high"})
    assert exchange.body["tools"] == [
        {
            "type": "web_search_20250305",
            "name": "web_search",
            "user_location": {"type": "approximate", "city": "Bern", "country": "CH"},
        }
    ]
    assert lost(exchange) == ["web_search_options.search_context_size"]
    tool = {
        "type": "web_search",
        "filters": {"allowed_domains": ["example.com"]},
        "user_location": {"type": "approximate", "city": None},
        "search_context_size": "medium",
    }
    exchange = responses(
        tools=[
            tool,
            {"type": "web_search_preview", "external_web_access": False},
            {"type": "function", "name": "web_search", "parameters": {}, "strict": False},
        ]
    )
    assert exchange.body["tools"][0] == {
        "type": "web_search_20250305",
        "name": "web_search",
        "allowed_domains": ["example.com"],
    }
    assert exchange.body["tools"][2]["name"] != "web_search", "a tool of the client's own may not take the name"
    assert lost(exchange) == ["tools[1].external_web_access"]


def test_deferred_tools_and_their_search() -> None:
    deferred = {"type": "function", "name": "f", "parameters": {}, "strict": False, "defer_loading": True}
    exchange = responses(tools=[{"type": "tool_search"}, deferred])
    assert exchange.body["tools"][0] == {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}
    assert exchange.body["tools"][1]["defer_loading"] is True
    assert lost(responses(tools=[deferred])) == ["tools[0].defer_loading"]


def test_tools_that_a_search_or_the_conversation_brings_are_offered_from_then_on() -> None:
    function = {"type": "function", "name": "late", "parameters": {"type": "object"}, "strict": False}
    items = [
        {
            "type": "additional_tools",
            "role": "developer",
            "tools": [{"type": "namespace", "name": "ns", "description": "", "tools": [{**function, "name": "early"}]}],
        },
        {"role": "user", "content": "hi"},
        {"type": "tool_search_call", "call_id": "c1", "execution": "client", "arguments": {"query": "x"}},
        {"type": "tool_search_output", "call_id": "c1", "execution": "client", "tools": [function, function]},
        {"type": "function_call", "call_id": "c2", "name": "early", "namespace": "ns", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c2", "output": "ok"},
    ]
    exchange = responses(items=items, tools=[{"type": "tool_search", "execution": "client"}])
    assert [tool["name"] for tool in exchange.body["tools"]] == ["tool_search", "ns__early", "late"]
    assert exchange.body["messages"][1]["content"] == [
        {"type": "tool_use", "id": "c1", "name": "tool_search", "input": {"query": "x"}}
    ]
    assert exchange.body["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "c1", "content": "Found: late"}
    ]
    assert exchange.body["messages"][3]["content"][0]["name"] == "ns__early"


def test_results_of_item_types_of_their_own() -> None:
    items = [
        {"role": "user", "content": "hi"},
        {"type": "shell_call", "call_id": "c1", "action": {"commands": ["ls"]}},
        {"type": "apply_patch_call", "call_id": "c2", "operation": {"type": "delete_file", "path": "a"}},
        {
            "type": "local_shell_call",
            "call_id": "c3",
            "action": {"type": "exec", "command": ["ls"], "env": {}},
            "id": "x",
            "status": "completed",
        },
        {
            "type": "shell_call_output",
            "call_id": "c1",
            "output": [{"stdout": "a", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}],
        },
        {"type": "apply_patch_call_output", "call_id": "c2", "status": "failed", "output": "no such file"},
        {"type": "local_shell_call_output", "id": "c3", "output": "done"},
    ]
    results = responses(items=items, tools=[{"type": "shell"}, {"type": "apply_patch"}, {"type": "local_shell"}]).body[
        "messages"
    ][2]["content"]
    assert results[0]["content"].startswith('[{"stdout":"a"')
    assert results[1] == {
        "type": "tool_result",
        "tool_use_id": "c2",
        "content": "failed\nno such file",
        "is_error": True,
    }
    assert results[2]["content"] == "done"


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "file_search", "vector_store_ids": []},
        {"type": "code_interpreter", "container": "x"},
        {"type": "image_generation"},
        {"type": "mcp", "server_label": "x"},
        {"type": "computer"},
        {"type": "computer_use_preview"},
        {"type": "programmatic_tool_calling"},
        {"type": "shell", "environment": {"type": "container_auto"}},
        {"type": "hologram"},
    ],
    ids=range(9),
)
def test_tools_that_run_at_openai_are_refused_by_name(tool: Json) -> None:
    with pytest.raises(BadRequest) as refused:
        responses(tools=[tool])
    assert refused.value.param
    assert refused.value.param.startswith("tools[0]")


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "now"}}, {"type": "tool", "name": "now"}),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "now"}}]},
            },
            {"type": "tool", "name": "now"},
        ),
        ({"type": "auto"}, {"type": "auto"}),
    ],
    ids=range(6),
)
def test_tool_choice(given: Any, answer: Json) -> None:
    exchange = chat(tools=[TOOL], tool_choice=given)
    assert exchange.body["tool_choice"] == answer
    assert len(exchange.body["tools"]) == 1, "tools stay, whatever the choice: the prefix depends on them"
    parallel = chat(tools=[TOOL], tool_choice=given, parallel_tool_calls=False).body["tool_choice"]
    assert parallel == (answer if answer["type"] == "none" else {**answer, "disable_parallel_tool_use": True})


def test_one_call_at_a_time_without_a_choice() -> None:
    assert chat(tools=[TOOL], parallel_tool_calls=False).body["tool_choice"] == {
        "type": "auto",
        "disable_parallel_tool_use": True,
    }
    assert "tool_choice" not in chat(parallel_tool_calls=False).body
    assert "tool_choice" not in chat(tool_choice="auto").body


def test_allowed_tools_are_the_only_ones_offered() -> None:
    other = {"type": "function", "function": {"name": "other"}}
    third = {"type": "custom", "custom": {"name": "third"}}
    allowed = {
        "mode": "auto",
        "tools": [{"type": "function", "function": {"name": "now"}}, {"type": "custom", "custom": {"name": "third"}}],
    }
    exchange = chat(tools=[TOOL, other, third], tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    assert [tool["name"] for tool in exchange.body["tools"]] == ["now", "third"]
    assert exchange.body["tool_choice"] == {"type": "auto"}
    assert lost(exchange) == ["tool_choice"]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"type": "function", "name": "now"}, "now"),
        ({"type": "custom", "name": "patch"}, "patch"),
        ({"type": "web_search_preview"}, "web_search"),
        ({"type": "shell"}, "shell"),
        ({"type": "function", "name": "find"}, "crm__find"),
        ({"type": "allowed_tools", "mode": "required", "tools": [{"type": "web_search"}]}, "web_search"),
    ],
    ids=range(6),
)
def test_tool_choice_of_responses(given: Json, name: str) -> None:
    tools = [
        {"type": "function", "name": "now", "parameters": {}, "strict": False},
        {"type": "custom", "name": "patch"},
        {"type": "web_search"},
        {"type": "shell"},
        {
            "type": "namespace",
            "name": "crm",
            "description": "",
            "tools": [{"type": "function", "name": "find", "parameters": {}, "strict": False}],
        },
    ]
    assert responses(tools=tools, tool_choice=given).body["tool_choice"] == {"type": "tool", "name": name}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tool_choice": {"type": "mcp"}}, "tool_choice.type"),
        ({"tools": [{"type": "hologram"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": {}}, "tools"),
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "x"}}, "audio"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"stop": 3}, "stop"),
        ({"stop": ["a", 3]}, "stop[1]"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"thinking": {"type": "sideways"}}, "thinking.type"),
        ({"messages": "hi"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "messages[0].role"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "assistant", "audio": {"id": "x"}}]}, "messages[0].audio"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "x", "type": "odd"}]}]},
            "messages[0].tool_calls[0].type",
        ),
        ({"model": None}, "model"),
    ],
    ids=range(29),
)
def test_what_cannot_be_asked_is_refused_by_name(fields: Json, param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        translate_request(C, A, {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}, NEW)
    assert refused.value.param == param


@pytest.mark.parametrize(
    "fields",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"prompt": {"id": "x"}},
        {"background": True},
        {"top_logprobs": 1},
        {"input": None},
        {"input": []},
        {"text": {"format": {"type": "xml"}}},
        {"tool_choice": {"type": "allowed_tools"}},
        {"reasoning": "high"},
        {"tools": [{"type": "namespace", "name": "x"}]},
    ],
    ids=range(11),
)
def test_what_responses_cannot_ask_is_refused_by_name(fields: Json) -> None:
    with pytest.raises(BadRequest) as refused:
        translate_request(R, A, {"model": "m", "input": "hi", **fields}, NEW)
    assert refused.value.param
    assert refused.value.param.startswith(next(iter(fields)))


def test_a_conversation_with_calls_declares_the_tools_that_it_mentions() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "x"},
    ]
    exchange = chat(messages=messages)
    assert exchange.body["tools"] == [{"name": "now", "input_schema": {"type": "object", "properties": {}}}]
    assert exchange.body["tool_choice"] == {"type": "none"}


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({}, 32000),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 7, "max_tokens": 5}, 7),
        ({"max_completion_tokens": 7.0}, 7),
    ],
    ids=range(4),
)
def test_the_limit(fields: Json, limit: int) -> None:
    assert chat(**fields).body["max_tokens"] == limit


def test_the_limit_is_the_models() -> None:
    exchange = chat(OLD, max_tokens=100_000)
    assert exchange.body["max_tokens"] == 64_000
    assert lost(exchange) == ["max_tokens"]
    assert responses(max_output_tokens=9).body["max_tokens"] == 9


@pytest.mark.parametrize(
    ("effort", "new", "old"),
    [
        ("none", {"thinking": {"type": "disabled"}}, {"thinking": {"type": "disabled"}}),
        ("minimal", {"effort": "low"}, {"budget": 1024}),
        ("low", {"effort": "low"}, {"budget": 2048}),
        ("medium", {"effort": "medium"}, {"budget": 8192}),
        ("high", {"effort": "high"}, {"budget": 16384}),
        ("xhigh", {"effort": "xhigh"}, {"budget": 30976}),
        ("max", {"effort": "max"}, {"budget": 30976}),
        ("somewhat", {"effort": "medium"}, {"budget": 8192}),
    ],
)
def test_effort(effort: str, new: Json, old: Json) -> None:
    body = chat(reasoning_effort=effort).body
    if "effort" in new:
        assert body["output_config"] == {"effort": new["effort"]}
        assert body["thinking"] == {"type": "adaptive", "display": "summarized"}
    else:
        assert body["thinking"] == new["thinking"]
    body = chat(OLD, reasoning_effort=effort).body
    expected = {"type": "enabled", "budget_tokens": old["budget"]} if "budget" in old else old["thinking"]
    assert body["thinking"] == expected
    assert "output_config" not in body


def test_thinking_is_shown_when_a_summary_is_asked_for() -> None:
    assert responses(reasoning={"effort": "low"}).body["thinking"] == {"type": "adaptive"}
    assert responses(reasoning={"effort": "low", "summary": "auto"}).body["thinking"] == {
        "type": "adaptive",
        "display": "summarized",
    }
    assert responses(reasoning={"generate_summary": "concise"}).body["thinking"] == {
        "type": "adaptive",
        "display": "summarized",
    }
    assert "thinking" not in responses(OLD, reasoning={"summary": "auto"}).body
    assert lost(responses(reasoning={"effort": "low", "context": "all_turns"})) == ["reasoning.context"]


@pytest.mark.parametrize(
    ("fields", "thinking"),
    [
        ({"reasoning": {"max_tokens": 3000}}, {"type": "enabled", "budget_tokens": 3000}),
        ({"reasoning": {"enabled": True}}, {"type": "enabled", "budget_tokens": 8192}),
        ({"reasoning": {"enabled": False}}, {"type": "disabled"}),
        ({"reasoning": {"effort": "low", "exclude": True}}, {"type": "enabled", "budget_tokens": 2048}),
        ({"thinking": {"type": "enabled", "budget_tokens": 500}}, {"type": "enabled", "budget_tokens": 1024}),
        ({"thinking": {"type": "disabled"}}, {"type": "disabled"}),
        ({"thinking": {"type": "adaptive"}}, {"type": "enabled", "budget_tokens": 8192}),
    ],
    ids=range(7),
)
def test_other_ways_to_ask_for_thinking(fields: Json, thinking: Json) -> None:
    assert chat(OLD, **fields).body["thinking"] == thinking


def test_a_budget_is_an_effort_where_budgets_are_gone() -> None:
    exchange = chat(thinking={"type": "enabled", "budget_tokens": 20000})
    assert exchange.body["output_config"] == {"effort": "high"}
    assert exchange.body["thinking"]["type"] == "adaptive"


def test_thinking_that_the_model_cannot_do_is_lost() -> None:
    assert lost(chat(AnthropicProfile.of_model("claude-3-5-haiku"), reasoning_effort="high")) == ["reasoning_effort"]
    assert lost(chat(FABLE, reasoning_effort="none")) == ["reasoning_effort"]
    short = chat(OLD, reasoning_effort="high", max_tokens=500)
    assert "thinking" not in short.body
    assert lost(short) == ["reasoning_effort"]


def test_a_forced_choice_and_thinking_exclude_each_other() -> None:
    exchange = chat(OLD, reasoning_effort="high", tools=[TOOL], tool_choice="required")
    assert "thinking" not in exchange.body
    assert lost(exchange) == ["reasoning_effort"]
    with pytest.raises(BadRequest) as refused:
        chat(FABLE, tools=[TOOL], tool_choice="required")
    assert refused.value.param == "tool_choice"


def test_a_tool_loop_that_lost_its_thinking_goes_on_without() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "x"},
    ]
    exchange = chat(OLD, messages, tools=[TOOL], reasoning_effort="high")
    assert "thinking" not in exchange.body
    assert lost(exchange) == ["reasoning_effort"]
    assert chat(NEW, messages, tools=[TOOL], reasoning_effort="high").body["thinking"]["type"] == "adaptive"
    details = [
        {"type": "reasoning.text", "text": "Hm.", "signature": "c2ln", "format": "anthropic-claude-v1", "index": 0}
    ]
    signed = [messages[0], {**messages[1], "reasoning_details": details}, messages[2]]
    assert chat(OLD, signed, tools=[TOOL], reasoning_effort="high").body["thinking"]["type"] == "enabled"


SCHEMA: Json = {"type": "object", "properties": {"a": {"type": "string"}}}


def test_structured_output() -> None:
    answer = {"format": {"type": "json_schema", "schema": {**SCHEMA, "additionalProperties": False}}}
    exchange = chat(
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "n", "description": "d", "schema": SCHEMA, "strict": True},
        }
    )
    assert exchange.body["output_config"] == answer
    assert lost(exchange) == ["response_format.json_schema.description"]
    exchange = responses(
        text={"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}}, reasoning={"effort": "low"}
    )
    assert exchange.body["output_config"] == {"effort": "low", **answer}
    assert lost(chat(response_format={"type": "json_object"})) == ["response_format"]
    assert lost(responses(text={"format": {"type": "json_object"}})) == ["text.format"]
    assert lost(chat(response_format={"type": "text"})) == []
    assert lost(responses(text={"format": {"type": "text"}})) == []


def test_stop_sequences() -> None:
    assert chat(stop="END").body["stop_sequences"] == ["END"]
    exchange = chat(stop=["a", " ", "b"])
    assert exchange.body["stop_sequences"] == ["a", "b"]
    assert lost(exchange) == ["stop"]
    assert "stop_sequences" not in chat(stop=None).body


@pytest.mark.parametrize(
    ("fields", "answer", "losses"),
    [
        ({"temperature": 0.3}, {"temperature": 0.3}, []),
        ({"temperature": 1.7}, {"temperature": 1}, ["temperature"]),
        ({"top_p": 0.5}, {"top_p": 0.5}, []),
        ({"temperature": 0.3, "top_p": 0.5}, {"temperature": 0.3}, ["top_p"]),
        ({"top_k": 4}, {"top_k": 4}, []),
        ({"temperature": 0.3, "reasoning_effort": "low"}, {}, ["temperature"]),
        ({"temperature": 1, "reasoning_effort": "low"}, {"temperature": 1}, []),
    ],
    ids=range(7),
)
def test_sampling_where_the_model_takes_it(fields: Json, answer: Json, losses: list[str]) -> None:
    exchange = chat(OLD, **fields)
    assert {key: exchange.body[key] for key in ("temperature", "top_p", "top_k") if key in exchange.body} == answer
    assert lost(exchange) == losses


def test_sampling_where_version_or_model_refuse_it() -> None:
    assert lost(chat(NEW, temperature=1, top_p=1)) == ["temperature", "top_p"]
    late = AnthropicProfile.of_model("claude-sonnet-4-5", version="2026-10-21")
    assert lost(chat(late, temperature=0.3)) == ["temperature"]


@pytest.mark.parametrize(
    ("tier", "answer", "losses"),
    [
        ("auto", {}, []),
        ("default", {"service_tier": "standard_only"}, []),
        ("flex", {}, ["service_tier"]),
        ("priority", {}, ["service_tier"]),
    ],
)
def test_service_tiers(tier: str, answer: Json, losses: list[str]) -> None:
    exchange = chat(service_tier=tier)
    assert {key: exchange.body[key] for key in ("service_tier", "speed") if key in exchange.body} == answer
    assert lost(exchange) == losses


def test_faster_answers_are_switched_on_in_the_configuration() -> None:
    fast = AnthropicProfile.of_model("claude-opus-5", fast=True)
    for tier in ("priority", "fast"):
        assert chat(fast, service_tier=tier).body["speed"] == "fast"


def test_users() -> None:
    assert chat(user="u").body["metadata"] == {"user_id": "u"}
    assert chat(user="u", safety_identifier="s").body["metadata"] == {"user_id": "s"}
    assert responses(safety_identifier="s").body["metadata"] == {"user_id": "s"}


def test_hints_are_lost_and_defaults_are_not_missed() -> None:
    hints = {
        "seed": 1,
        "logit_bias": {"1": 1},
        "presence_penalty": 0.5,
        "frequency_penalty": 0.5,
        "prediction": {"type": "content", "content": "x"},
        "verbosity": "low",
        "metadata": {"a": "b"},
        "store": True,
        "prompt_cache_key": "k",
        "prompt_cache_retention": "24h",
        "moderation": {},
        "zz_unknown": 1,
    }
    assert lost(chat(**hints)) == list(hints)
    defaults = {
        "n": 1,
        "logprobs": False,
        "store": False,
        "presence_penalty": 0,
        "logit_bias": {},
        "metadata": {},
        "seed": None,
        "stream": False,
    }
    assert lost(chat(**defaults)) == []
    assert lost(
        responses(
            store=True, truncation="auto", metadata={"a": "b"}, client_metadata={"a": "b"}, text={"verbosity": "low"}
        )
    ) == [
        "store",
        "truncation",
        "metadata",
        "client_metadata",
        "text.verbosity",
    ]
    assert lost(responses(store=False, truncation="disabled", background=False, top_logprobs=0)) == []


def test_streams() -> None:
    assert chat(stream=True).body["stream"] is True
    assert chat(stream=True).stream is True
    assert "stream" not in chat().body
    assert lost(chat(stream_options={"include_usage": True, "include_obfuscation": False})) == []


# --- caching ---------------------------------------------------------------------------------------------------------


def test_caching_is_automatic_unless_the_client_says_where() -> None:
    assert chat().body["cache_control"] == {"type": "ephemeral"}
    assert "cache_control" not in chat(AnthropicProfile.of_model("claude-opus-5", auto_cache_control=False)).body
    marked = [
        {
            "role": "user",
            "content": [{"type": "text", "text": "hi", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}],
        }
    ]
    exchange = chat(messages=marked)
    assert "cache_control" not in exchange.body
    assert exchange.body["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}


def test_breakpoints_of_other_gateways_are_understood_and_at_most_four() -> None:
    part = {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}
    tool = {**TOOL, "cache_control": {"type": "ephemeral"}}
    exchange = chat(messages=[{"role": "user", "content": [part] * 4}], tools=[tool])
    assert "cache_control" not in exchange.body["tools"][0]
    assert sum("cache_control" in block for block in exchange.body["messages"][0]["content"]) == 4
    assert lost(exchange) == ["cache_control"]
    items = [
        {
            "role": "user",
            "content": [{"type": "input_text", "text": "hi", "prompt_cache_breakpoint": {"mode": "explicit"}}],
        }
    ]
    assert responses(items=items).body["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral"}
