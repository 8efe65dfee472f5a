"""Answers of each format in every other: the stream is the whole, both are what the SDKs take, and nothing of what was said is missing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccproxy.translate.exchange import Translated, translate_request
from ccproxy.translate.formats import Format
from tests.examples.answers import (
    ANTHROPIC,
    ASKING,
    EVENTS,
    RESPONSES,
    anthropic_answer,
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


# --- the rules of Anthropic's stream ---------------------------------------------------------------------------------


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
    answer = json.loads(responses)
    assert answer["status"] == status
    assert (answer["incomplete_details"] or {}).get("reason") == reason
    if stop in ("pause_turn", "compaction", "something_new"):
        assert "stop_reason" in headers["x-ccproxy-loss"]
        assert ("x-ccproxy-loss" in chat_headers) == (stop != "something_new")


def test_a_refusal_without_text_has_its_explanation() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "Not this."}
    message = {**ANTHROPIC[0]["message"], "content": [], "stop_reason": "refusal", "stop_details": details}
    _, _, chat = ask(C, A).whole(200, json.dumps(message).encode())
    assert json.loads(chat)["choices"][0]["message"]["refusal"] == "Not this."
    _, _, responses = ask(R, A).whole(200, json.dumps(message).encode())
    assert json.loads(responses)["output"][0]["content"] == [{"type": "refusal", "refusal": "Not this."}]


# --- the rules of Chat's stream --------------------------------------------------------------------------------------


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


# --- the rules of Responses' stream ----------------------------------------------------------------------------------


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
    status, _, answer = exchange.whole(429, b'{"error": {"message": "Slow down", "code": "rate_limit_exceeded"}}')
    assert status == 429
    assert json.loads(answer)["error"]["type"] == "rate_limit_error"


def test_losses_of_an_answer_are_listed_with_the_whole_answer() -> None:
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


def test_items_missing_in_the_stream_are_sent_at_the_end() -> None:
    sparse = [RESPONSES[0], RESPONSES[-1]]
    assert folded(ask(A, R), sparse) == folded(ask(A, R), RESPONSES)


def test_missing_deltas_are_sent_at_the_end() -> None:
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
