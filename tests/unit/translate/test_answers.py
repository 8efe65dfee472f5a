"""Answers of each format in every other: the stream is the whole, both are what the SDKs take, and nothing of what was said is missing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccproxy.translate import capsule
from ccproxy.translate.exchange import Translated, translate_request
from ccproxy.translate.formats import Format
from ccproxy.translate.sse import SseParser
from tests.examples.answers import (
    ANTHROPIC,
    ASKING,
    EVENTS,
    RESPONSES,
    RESPONSES_USAGE,
    anthropic_answer,
    anthropic_block,
    chat_chunk,
    response,
    sse,
)
from tests.referees import sdk
from tests.referees.facts import facts

Json = dict[str, Any]
A, C, R = Format

ROUTES = [(client, upstream) for client in Format for upstream in Format if client is not upstream]
WHOLE_RESPONSE = RESPONSES[-1]["response"]


def ask(client: Format, upstream: Format, **more: Any) -> Translated:
    return translate_request(client, upstream, {**ASKING[client], **more})


def streamed(exchange: Translated, events: list[Json]) -> list[Json]:
    """The client's events."""
    stream = exchange.stream_translator()
    data = stream.feed(sse(exchange.upstream, events)) + stream.close()
    return [json.loads(text) for _, text in SseParser().feed(data) if text != "[DONE]"]


def folded(exchange: Translated, events: list[Json]) -> Json:
    """The client's whole answer."""
    folder = exchange.folder()
    folder.feed(sse(exchange.upstream, events))
    status, _, body = folder.result()
    assert status == 200, body
    found: Json = json.loads(body)
    return found


@pytest.mark.parametrize(("client", "upstream"), ROUTES)
def test_the_stream_adds_up_to_the_whole_answer(client: Format, upstream: Format) -> None:
    exchange = ask(client, upstream, stream=True)
    stream = exchange.stream_translator()
    data = stream.feed(sse(upstream, EVENTS[upstream])) + stream.close()
    whole = folded(exchange, EVENTS[upstream])
    assert sdk.plain(sdk.accumulate(client, data)) == sdk.plain(whole)
    sdk.check_answer(client, whole)
    found = facts(client, whole)
    assert found.text == "Zürich is warm. As found."
    assert found.calls == (("weather", {"city": "Zürich"}), ("now", {}))
    assert found.stop == "tool"
    assert found.usage == (23, 7, 42, 9)
    assert found.reasoning in ("Let me think. 🤔", "Let me think.\n\n🤔")
    assert found.citations == ("https://example.com/a",)
    assert stream.reading.usage is not None
    assert stream.reading.usage.tokens.output == 42
    assert stream.reading.usage.tokens.prompt == 23
    assert stream.reading.model == ("claude-opus-5" if upstream is A else "gpt-5.5")
    assert stream.finished


@pytest.mark.parametrize(("client", "upstream"), [(client, A) for client in (C, R)])
def test_a_whole_answer_is_the_fold_of_its_stream_for_anthropic(client: Format, upstream: Format) -> None:
    message = {
        **ANTHROPIC[0]["message"],
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
            {"type": "text", "text": "Hello", "citations": None},
            {"type": "tool_use", "id": "t1", "name": "now", "input": {"a": [1]}},
        ],
        "stop_reason": "tool_use",
    }
    events = anthropic_answer(
        [
            anthropic_block(
                0,
                {"type": "thinking", "thinking": "Hm.", "signature": ""},
                [{"type": "signature_delta", "signature": "c2ln"}],
            ),
            anthropic_block(1, {"type": "text", "text": "Hello"}, []),
            anthropic_block(2, {"type": "tool_use", "id": "t1", "name": "now", "input": {"a": [1]}}, []),
        ],
        {"stop_reason": "tool_use"},
        message["usage"],
    )
    exchange = ask(client, upstream)
    status, _, body = exchange.whole(200, json.dumps(message).encode())
    assert status == 200
    assert json.loads(body) == folded(exchange, events)


@pytest.mark.parametrize("client", [A, C])
def test_a_whole_answer_is_the_fold_of_its_stream_for_responses(client: Format) -> None:
    exchange = ask(client, R)
    status, _, body = exchange.whole(200, json.dumps(WHOLE_RESPONSE).encode())
    assert status == 200
    assert json.loads(body) == folded(exchange, RESPONSES)


@pytest.mark.parametrize("client", [A, R])
def test_a_whole_answer_is_the_fold_of_its_stream_for_chat(client: Format) -> None:
    completion = {
        "id": "chatcmpl-01",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "gpt-5.5",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Hi",
                    "reasoning_content": "Hm.",
                    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "now", "arguments": "{}"}}],
                },
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    }
    events = [
        chat_chunk({"role": "assistant", "content": ""}),
        chat_chunk({"reasoning_content": "Hm."}),
        chat_chunk({"content": "Hi"}),
        chat_chunk(
            {
                "tool_calls": [
                    {"index": 0, "id": "c1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
                ]
            }
        ),
        chat_chunk({}, "stop", usage=completion["usage"]),
    ]
    exchange = ask(client, C)
    _, _, body = exchange.whole(200, json.dumps(completion).encode())
    assert json.loads(body) == folded(exchange, events)
    assert facts(client, json.loads(body)).stop == "tool", "many servers say stop beside a call"


# --- the rules of Anthropic's stream ---------------------------------------------------------------------------------


@pytest.mark.parametrize("upstream", [C, R])
def test_anthropic_blocks_stand_in_a_row(upstream: Format) -> None:
    events = streamed(ask(A, upstream), EVENTS[upstream])
    open_block, count = None, 0
    for event in events:
        match event["type"]:
            case "content_block_start":
                assert open_block is None
                assert event["index"] == count
                open_block = count
            case "content_block_delta":
                assert event["index"] == open_block
            case "content_block_stop":
                assert event["index"] == open_block
                open_block, count = None, count + 1
    kinds = [event["type"] for event in events]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]


def test_anthropic_signs_thinking_just_before_its_end() -> None:
    events = streamed(ask(A, R), RESPONSES)
    at = next(i for i, event in enumerate(events) if event.get("delta", {}).get("type") == "signature_delta")
    assert events[at + 1]["type"] == "content_block_stop"
    opened = capsule.unseal(events[at]["delta"]["signature"])
    assert opened is not None
    assert opened.fmt is R
    assert opened.raw == WHOLE_RESPONSE["output"][0]


def test_hidden_reasoning_is_redacted_thinking() -> None:
    blocks = folded(ask(A, R), RESPONSES)["content"]
    redacted = next(block for block in blocks if block["type"] == "redacted_thinking")
    opened = capsule.unseal(redacted["data"])
    assert opened is not None
    assert opened.raw == WHOLE_RESPONSE["output"][1]


def test_reasoning_that_nobody_takes_back_says_so() -> None:
    item = {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}
    empty = {"id": "rs_2", "type": "reasoning", "summary": []}
    exchange = ask(A, R)
    _, _, body = exchange.whole(200, json.dumps(response("completed", [item, empty])).encode())
    (block,) = json.loads(body)["content"]
    opened = capsule.unseal(block["signature"])
    assert opened is not None
    assert opened.fmt is None


def test_a_web_search_of_openai_is_told_as_anthropics_own() -> None:
    blocks = folded(ask(A, R), RESPONSES)["content"]
    call, result = (
        block for block in blocks if "web_search" in json.dumps(block["type"]) or block["type"] == "server_tool_use"
    )
    assert call["name"] == "web_search"
    assert call["input"] == {"query": "weather"}
    assert result["tool_use_id"] == call["id"]
    assert result["content"][0]["url"] == "https://example.com/a"
    opened = capsule.unseal(result["content"][0]["encrypted_content"])
    assert opened is not None
    assert opened.raw["id"] == "ws_1"


@pytest.mark.parametrize(
    ("status", "reason", "output", "stop"),
    [
        ("completed", None, [], "end_turn"),
        ("incomplete", "max_output_tokens", [], "max_tokens"),
        ("incomplete", "max_output_tokens", [WHOLE_RESPONSE["output"][4]], "max_tokens"),
        ("incomplete", "content_filter", [], "refusal"),
        ("incomplete", "steered", [], "end_turn"),
        ("completed", None, [WHOLE_RESPONSE["output"][4]], "tool_use"),
        (
            "completed",
            None,
            [
                {
                    "id": "m",
                    "type": "message",
                    "role": "assistant",
                    "status": "completed",
                    "content": [{"type": "refusal", "refusal": "No."}],
                }
            ],
            "refusal",
        ),
    ],
    ids=range(7),
)
def test_how_a_response_ends_for_anthropic(status: str, reason: str | None, output: list[Json], stop: str) -> None:
    body = response(status, output, incomplete_details={"reason": reason} if reason else None, usage=RESPONSES_USAGE)
    _, _, told = ask(A, R).whole(200, json.dumps(body).encode())
    message = json.loads(told)
    assert message["stop_reason"] == stop
    sdk.check_answer(A, message)
    if output and output[0]["type"] == "message":
        assert message["stop_details"] == {"type": "refusal", "category": None, "explanation": "No."}
        assert message["content"] == [{"type": "text", "text": "No."}]


@pytest.mark.parametrize(
    ("stop", "finish", "status", "reason"),
    [
        ("end_turn", "stop", "completed", None),
        ("stop_sequence", "stop", "completed", None),
        ("tool_use", "tool_calls", "completed", None),
        ("max_tokens", "length", "incomplete", "max_output_tokens"),
        ("model_context_window_exceeded", "length", "incomplete", "max_output_tokens"),
        ("refusal", "content_filter", "incomplete", "content_filter"),
        ("pause_turn", "stop", "incomplete", "max_output_tokens"),
        ("compaction", "stop", "incomplete", "max_output_tokens"),
        ("something_new", "stop", "completed", None),
    ],
)
def test_how_a_message_ends_for_openai(stop: str, finish: str, status: str, reason: str | None) -> None:
    message = {**ANTHROPIC[0]["message"], "content": [{"type": "text", "text": "Hi"}], "stop_reason": stop}
    _, chat_headers, chat = ask(C, A).whole(200, json.dumps(message).encode())
    _, headers, responses = ask(R, A).whole(200, json.dumps(message).encode())
    assert json.loads(chat)["choices"][0]["finish_reason"] == finish
    told = json.loads(responses)
    assert told["status"] == status
    assert (told["incomplete_details"] or {}).get("reason") == reason
    if stop in ("pause_turn", "compaction", "something_new"):
        assert "stop_reason" in headers["x-ccproxy-loss"]
        assert ("x-ccproxy-loss" in chat_headers) == (stop != "something_new")


def test_a_refusal_without_words_is_told_with_its_explanation() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "Not this."}
    message = {**ANTHROPIC[0]["message"], "content": [], "stop_reason": "refusal", "stop_details": details}
    _, _, chat = ask(C, A).whole(200, json.dumps(message).encode())
    assert json.loads(chat)["choices"][0]["message"]["refusal"] == "Not this."
    _, _, responses = ask(R, A).whole(200, json.dumps(message).encode())
    assert json.loads(responses)["output"][0]["content"] == [{"type": "refusal", "refusal": "Not this."}]


# --- the rules of Chat's stream --------------------------------------------------------------------------------------


def test_chat_names_and_formats_stand_in_the_first_delta_only() -> None:
    chunks = streamed(ask(C, A), ANTHROPIC)
    details = [
        entry
        for chunk in chunks
        for choice in chunk["choices"]
        for entry in choice["delta"].get("reasoning_details", ())
    ]
    assert [("format" in entry, entry["index"]) for entry in details if "format" in entry] == [(True, 0), (True, 1)]
    assert [entry["signature"] for entry in details if "signature" in entry] == ["c2lnbmF0dXJl"]
    assert {entry["pos"] for entry in details if "pos" in entry} == {0, 1}
    calls = [call for chunk in chunks for choice in chunk["choices"] for call in choice["delta"].get("tool_calls", ())]
    assert [(call["index"], call["id"], call["function"]["arguments"]) for call in calls if "id" in call] == [
        (0, "toolu_1", ""),
        (1, "toolu_2", ""),
    ]
    assert calls[-1]["function"]["arguments"] == "{}", "a call without arguments gets an empty object"


def test_chat_usage_comes_last_and_only_when_asked_for() -> None:
    chunks = streamed(ask(C, A), ANTHROPIC)
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["prompt_tokens_details"] == {
        "cached_tokens": 7,
        "cache_write_tokens": 5,
        "audio_tokens": 0,
    }
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    quiet = streamed(ask(C, A, stream_options=None), ANTHROPIC)
    assert all("usage" not in chunk for chunk in quiet)
    assert quiet[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_chat_marks_citations_in_the_joined_text() -> None:
    message = folded(ask(C, A), ANTHROPIC)["choices"][0]["message"]
    (annotation,) = message["annotations"]
    place = annotation["url_citation"]
    assert message["content"][place["start_index"] : place["end_index"]] == "As found."


def test_custom_calls_keep_their_kind() -> None:
    item = {
        "id": "ctc_1",
        "type": "custom_tool_call",
        "status": "completed",
        "call_id": "call_9",
        "name": "patch",
        "input": 'say "hi"\n',
    }
    body = json.dumps(response("completed", [item])).encode()
    _, _, chat = ask(C, R).whole(200, body)
    assert json.loads(chat)["choices"][0]["message"]["tool_calls"] == [
        {"id": "call_9", "type": "custom", "custom": {"name": "patch", "input": 'say "hi"\n'}}
    ]
    _, _, message = ask(A, R).whole(200, body)
    assert json.loads(message)["content"] == [
        {"type": "tool_use", "id": "call_9", "name": "patch", "input": {"input": 'say "hi"\n'}}
    ]
    deltas = "".join(
        event["delta"]["partial_json"]
        for event in _events(ask(A, R).whole_as_stream(body))
        if event["type"] == "content_block_delta"
    )
    assert json.loads(deltas) == {"input": 'say "hi"\n'}


@pytest.mark.parametrize(
    ("item", "name", "given"),
    [
        (
            {"type": "local_shell_call", "action": {"type": "exec", "command": ["ls"]}},
            "local_shell",
            {"type": "exec", "command": ["ls"]},
        ),
        (
            {"type": "apply_patch_call", "operation": {"type": "delete_file", "path": "a"}},
            "apply_patch",
            {"type": "delete_file", "path": "a"},
        ),
        (
            {"type": "shell_call", "action": {"commands": ["ls"]}, "environment": {"type": "local"}},
            "shell",
            {"commands": ["ls"]},
        ),
        ({"type": "tool_search_call", "arguments": {"q": 1}, "execution": "client"}, "tool_search", {"q": 1}),
        ({"type": "tool_search_call", "arguments": '{"q": 1}', "execution": "client"}, "tool_search", {"q": 1}),
    ],
    ids=range(5),
)
def test_calls_that_the_client_is_to_carry_out(item: Json, name: str, given: Json) -> None:
    whole = {"id": "x", "status": "completed", "call_id": "call_9", **item}
    events = [
        RESPONSES[0],
        {"type": "response.output_item.added", "output_index": 0, "item": {**whole, "status": "in_progress"}},
        {"type": "response.shell_call_command.delta", "output_index": 0, "delta": "l"},
        {"type": "response.output_item.done", "output_index": 0, "item": whole},
        {"type": "response.completed", "response": response("completed", [whole])},
    ]
    message = folded(ask(A, R), events)
    assert message["content"] == [{"type": "tool_use", "id": "call_9", "name": name, "input": given}]
    assert message["stop_reason"] == "tool_use"
    (call,) = folded(ask(C, R), events)["choices"][0]["message"]["tool_calls"]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == (name, given)


@pytest.mark.parametrize(
    "kind", ["shell_call", "shell_call_output", "code_interpreter_call", "mcp_call", "computer_call"]
)
def test_what_the_provider_carried_out_itself_is_no_call(kind: str) -> None:
    item = {
        "id": "x",
        "type": kind,
        "status": "completed",
        "call_id": "c",
        "environment": {"type": "container_reference"},
    }
    for client in (A, C):
        _, headers, body = ask(client, R).whole(200, json.dumps(response("completed", [item])).encode())
        assert headers["x-ccproxy-loss"] == f"output.{kind}"
        assert b"tool_use" not in body
        assert b"tool_calls" not in body


def _events(data: bytes) -> list[Json]:
    return [json.loads(text) for _, text in SseParser().feed(data) if text != "[DONE]"]


# --- the rules of Responses' stream ----------------------------------------------------------------------------------


@pytest.mark.parametrize("upstream", [A, C])
def test_responses_numbers_its_events_and_keeps_its_ids(upstream: Format) -> None:
    events = streamed(ask(R, upstream), EVENTS[upstream])
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert len({event["response"]["id"] for event in events if "response" in event}) == 1
    added = {
        event["output_index"]: event["item"]["id"] for event in events if event["type"] == "response.output_item.added"
    }
    done = {
        event["output_index"]: event["item"]["id"] for event in events if event["type"] == "response.output_item.done"
    }
    final = {i: item["id"] for i, item in enumerate(events[-1]["response"]["output"])}
    assert added == done == final
    assert len(set(final.values())) == len(final)


def test_consecutive_texts_are_contents_of_one_message() -> None:
    output = folded(ask(R, A), ANTHROPIC)["output"]
    (message,) = [item for item in output if item["type"] == "message"]
    assert [part["text"] for part in message["content"]] == ["Zürich is warm. ", "As found."]
    assert message["content"][1]["annotations"][0]["end_index"] == len("As found.")
    assert [item["type"] for item in output] == [
        "reasoning",
        "reasoning",
        "web_search_call",
        "message",
        "function_call",
        "function_call",
    ]


def test_sources_of_a_search_are_told_when_asked_for() -> None:
    search = next(item for item in folded(ask(R, A), ANTHROPIC)["output"] if item["type"] == "web_search_call")
    assert search["action"] == {
        "type": "search",
        "query": "weather",
        "sources": [{"type": "url", "url": "https://example.com/a"}],
    }
    quiet = next(
        item for item in folded(ask(R, A, include=[]), ANTHROPIC)["output"] if item["type"] == "web_search_call"
    )
    assert "sources" not in quiet["action"]


def test_a_response_echoes_what_was_asked() -> None:
    tool = {"type": "function", "name": "now", "parameters": {"type": "object"}}
    exchange = ask(
        R,
        A,
        instructions="Be brief.",
        tools=[tool],
        max_output_tokens=99,
        metadata={"a": "b"},
        text={"verbosity": "low"},
        store=True,
    )
    told = folded(exchange, ANTHROPIC)
    assert told["instructions"] == "Be brief."
    assert told["tools"] == [{**tool, "strict": False, "description": None}]
    assert told["max_output_tokens"] == 99
    assert told["metadata"] == {"a": "b"}
    assert told["text"] == {"format": {"type": "text"}, "verbosity": "low"}
    assert told["store"] is False
    sdk.check_answer(R, told)


RESPONSES_TOOLS: list[Json] = [
    {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}},
    {"type": "local_shell"},
    {"type": "shell", "environment": {"type": "local"}},
    {"type": "apply_patch"},
    {
        "type": "tool_search",
        "execution": "client",
        "description": "Find tools.",
        "parameters": {"type": "object", "properties": {"q": {"type": "string"}}},
    },
    {
        "type": "namespace",
        "name": "crm",
        "description": "Customers.",
        "tools": [{"type": "function", "name": "find", "parameters": {"type": "object"}, "strict": False}],
    },
]


@pytest.mark.parametrize(
    ("name", "given", "item"),
    [
        ("patch", {"input": 'a "b"\n\\ü😀'}, {"type": "custom_tool_call", "name": "patch", "input": 'a "b"\n\\ü😀'}),
        ("patch", {"other": 1}, {"type": "custom_tool_call", "name": "patch", "input": '{"other": 1}'}),
        (
            "local_shell",
            {"command": ["ls"]},
            {"type": "local_shell_call", "action": {"type": "exec", "env": {}, "command": ["ls"]}},
        ),
        ("shell", {"commands": ["ls"]}, {"type": "shell_call", "action": {"commands": ["ls"]}}),
        (
            "apply_patch",
            {"type": "delete_file", "path": "a"},
            {"type": "apply_patch_call", "operation": {"type": "delete_file", "path": "a"}},
        ),
        ("tool_search", {"q": "x"}, {"type": "tool_search_call", "arguments": {"q": "x"}, "execution": "client"}),
        ("crm__find", {}, {"type": "function_call", "name": "find", "namespace": "crm", "arguments": "{}"}),
    ],
    ids=range(7),
)
@pytest.mark.parametrize("upstream", [A, C])
def test_calls_of_a_responses_clients_own_tools_come_back_as_their_items(
    name: str, given: Json, item: Json, upstream: Format
) -> None:
    exchange = ask(R, upstream, tools=RESPONSES_TOOLS)
    written = json.dumps(given)
    pieces = [written[i : i + 3] for i in range(0, len(written), 3)]
    if upstream is A:
        block = anthropic_block(
            0,
            {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}},
            [{"type": "input_json_delta", "partial_json": p} for p in pieces],
        )
        events = anthropic_answer([block], {"stop_reason": "tool_use"}, {"output_tokens": 1})
    else:
        first = {"index": 0, "id": "toolu_1", "type": "function", "function": {"name": name, "arguments": ""}}
        events = [
            chat_chunk({"tool_calls": [first]}),
            *(chat_chunk({"tool_calls": [{"index": 0, "function": {"arguments": p}}]}) for p in pieces),
            chat_chunk({}, "tool_calls"),
        ]
    (found,) = folded(exchange, events)["output"]
    assert found["call_id"] == "toolu_1"
    assert {key: value for key, value in found.items() if key not in ("id", "status", "call_id")} == item
    stream = exchange.stream_translator()
    data = stream.feed(sse(upstream, events)) + stream.close()
    assert sdk.accumulate(R, data)["output"][0]["type"] == item["type"]


def test_free_text_streams_while_it_is_written() -> None:
    exchange = ask(R, A, tools=RESPONSES_TOOLS)
    stream = exchange.stream_translator()
    head = anthropic_answer([], {}, {})[:1]
    start = {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "tool_use", "id": "t", "name": "patch", "input": {}},
    }

    def delta(text: str) -> bytes:
        event = {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": text}}
        return stream.feed(sse(A, [event]))

    stream.feed(sse(A, [*head, start]))
    assert delta('{"inp') == b""
    assert b'"delta":"one ' in delta('ut": "one ')
    assert b'"delta":"two' in delta("two\\")
    assert b'"delta":"\\n' in delta("n\\ud83d")
    assert '"delta":"😀'.encode() in delta("\\ude00 three")
    assert delta('"}') == b""


# --- keep-alive ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("client", "upstream"), ROUTES)
def test_a_sign_of_life_passes_through(client: Format, upstream: Format) -> None:
    stream = ask(client, upstream).stream_translator()
    ping = b'event: ping\ndata: {"type":"ping"}\n\n' if client is A else b": ping\n\n"
    assert stream.ping() == ping
    assert stream.feed(b": keep-alive\n\n") == ping
    if upstream is A:
        assert stream.feed(b'event: ping\ndata: {"type": "ping"}\n\n') == ping
        assert stream.feed(b"event: ping\ndata:\n\n") == b""


@pytest.mark.parametrize("text", [5, ["a"], {"a": 1}, True])
def test_text_that_is_none_ends_a_folded_answer_in_an_error(text: object) -> None:
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    begun = next(at for at, event in enumerate(ANTHROPIC) if event["type"] == "content_block_delta")
    for client in (C, R):
        folder = ask(client, A).folder()
        folder.feed(sse(A, [*ANTHROPIC[:begun], delta, *ANTHROPIC[begun:]]))
        assert folder.result()[0] == 502


def test_an_answer_in_process_is_fed_as_events() -> None:
    for client in (C, R):
        by_event, by_bytes = ask(client, A).stream_translator(), ask(client, A).stream_translator()
        fed = b"".join(by_event.feed_event(event) for event in ANTHROPIC) + by_event.close()
        assert fed == by_bytes.feed(sse(A, ANTHROPIC)) + by_bytes.close()
        folder = ask(client, A).folder()
        for event in ANTHROPIC:
            folder.feed_event(event)
        assert json.loads(folder.result()[2]) == folded(ask(client, A), ANTHROPIC)


def test_a_whole_answer_may_come_as_a_stream_and_the_other_way_round() -> None:
    exchange = ask(A, R, stream=True)
    _, _, body = exchange.whole(200, sse(R, RESPONSES))
    assert json.loads(body) == folded(exchange, RESPONSES)
    data = exchange.whole_as_stream(json.dumps(WHOLE_RESPONSE).encode())
    assert sdk.plain(sdk.accumulate(A, data)) == sdk.plain(json.loads(body))
    assert exchange.whole_as_stream(sse(R, RESPONSES)).endswith(b'data: {"type":"message_stop"}\n\n')
    status, _, told = exchange.whole(429, b'{"error": {"message": "Slow down", "code": "rate_limit_exceeded"}}')
    assert status == 429
    assert json.loads(told)["error"]["type"] == "rate_limit_error"


def test_losses_of_an_answer_are_told_with_the_whole_of_it() -> None:
    item = {
        "id": "ci_1",
        "type": "code_interpreter_call",
        "status": "completed",
        "code": "1+1",
        "container_id": "c",
        "outputs": [],
    }
    exchange = ask(A, R, top_k=3)
    _, headers, _ = exchange.whole(200, json.dumps(response("completed", [item])).encode())
    assert headers["x-ccproxy-loss"] == "top_k, output.code_interpreter_call"


def test_an_empty_output_at_the_end_is_no_loss() -> None:
    last = {**RESPONSES[-1], "response": {**WHOLE_RESPONSE, "output": []}}
    assert folded(ask(A, R), [*RESPONSES[:-1], last]) == folded(ask(A, R), RESPONSES)


def test_items_that_the_stream_left_out_are_told_at_the_end() -> None:
    sparse = [RESPONSES[0], RESPONSES[-1]]
    assert folded(ask(A, R), sparse) == folded(ask(A, R), RESPONSES)


def test_deltas_that_were_left_out_are_told_at_the_end() -> None:
    thin = [
        event for event in RESPONSES if not event["type"].endswith((".delta", "content_part.added", "annotation.added"))
    ]
    assert facts(A, folded(ask(A, R), thin)) == facts(A, folded(ask(A, R), RESPONSES))


def test_reasoning_text_of_open_models_is_shown() -> None:
    item = {"id": "rs_1", "type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}
    events = [
        RESPONSES[0],
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
        {
            "type": "response.reasoning_text.delta",
            "output_index": 0,
            "content_index": 0,
            "item_id": "rs_1",
            "delta": "Hm.",
        },
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": response("completed", [item])},
    ]
    assert folded(ask(C, R), events)["choices"][0]["message"]["reasoning_content"] == "Hm."


def test_created_is_the_callers_time_when_the_upstream_tells_none() -> None:
    exchange = translate_request(C, A, ASKING[C], created=1_800_000_000)
    assert folded(exchange, ANTHROPIC)["created"] == 1_800_000_000
    assert folded(translate_request(C, R, ASKING[C], created=5), RESPONSES)["created"] == 1_700_000_000


def test_usage_that_anthropic_repeats_is_not_counted_twice() -> None:
    events = anthropic_answer([], {"stop_reason": "end_turn"}, {"input_tokens": 11, "output_tokens": 4})
    usage = folded(ask(R, A), events)["usage"]
    assert usage["input_tokens"] == 11 + 5 + 7
    assert usage["total_tokens"] == 27
