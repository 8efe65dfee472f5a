"""What the three APIs answer, as scripts for an `Upstream`: written by their documentation, and as strict as their backends."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tests.fakes.upstream import Received, Script, Wire

Json = dict[str, Any]

ANTHROPIC_HEADERS = (
    ("request-id", "req_upstream"),
    ("anthropic-ratelimit-requests-remaining", "41"),
    ("anthropic-organization-id", "org-1"),
)
OPENAI_HEADERS = (("x-request-id", "req_upstream"), ("openai-model", "gpt-x"), ("x-codex-turn-state", "state-1"))


def sse(event: Json) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode()


# ---- Anthropic Messages


def anthropic_message(content: list[Json], stop: str = "end_turn") -> Json:
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": content, "stop_reason": stop, "stop_sequence": None,
        "usage": {"input_tokens": 11, "output_tokens": 7, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 2},
    }  # fmt: skip


def anthropic_stream(content: list[Json], stop: str = "end_turn") -> list[bytes]:
    message = anthropic_message([], stop)
    events: list[Json] = [{"type": "message_start", "message": {**message, "stop_reason": None}}, {"type": "ping"}]
    for index, block in enumerate(content):
        kind = block["type"]
        empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}, "tool_use": {"input": {}}}[kind]
        events.append({"type": "content_block_start", "index": index, "content_block": {**block, **empty}})
        if kind == "text":
            deltas = [{"type": "text_delta", "text": word + " "} for word in block["text"].split()]
        elif kind == "thinking":
            deltas = [
                {"type": "thinking_delta", "thinking": block["thinking"]},
                {"type": "signature_delta", "signature": block["signature"]},
            ]
        else:
            text = json.dumps(block["input"])
            deltas = [{"type": "input_json_delta", "partial_json": text[at : at + 5]} for at in range(0, len(text), 5)]
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    events.append(
        {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": 7}}
    )
    events.append({"type": "message_stop"})
    return [sse(event) for event in events]


async def anthropic(wire: Wire, request: Received) -> None:
    """The Messages API: text, a tool call if there are tools and no result yet, thinking if it is on; models; count_tokens."""
    path = request.target.partition("?")[0]
    if request.values("x-api-key") != [b"sk-ant-configured"] or len(request.values("anthropic-version")) != 1:
        await anthropic_error(401, "authentication_error")(wire, request)
    elif path == "/v1/models":
        listed = [
            {"type": "model", "id": f"claude-{n}", "display_name": f"Claude {n}", "created_at": "2026-01-01T00:00:00Z"}
            for n in range(3)
        ]
        page = {"data": listed, "has_more": False, "first_id": "claude-0", "last_id": "claude-2"}
        await wire.answer(200, json.dumps(page).encode(), *ANTHROPIC_HEADERS)
    elif path.startswith("/v1/models/"):
        model = {
            "type": "model",
            "id": path.rpartition("/")[2],
            "display_name": "Claude",
            "created_at": "2026-01-01T00:00:00Z",
        }
        await wire.answer(200, json.dumps(model).encode(), *ANTHROPIC_HEADERS)
    elif path.endswith("/count_tokens"):
        await wire.answer(200, b'{"input_tokens": 42}', *ANTHROPIC_HEADERS)
    else:
        body = request.json
        content: list[Json] = [{"type": "text", "text": "Grüße aus Zürich"}]
        stop = "end_turn"
        if body.get("thinking", {}).get("type") == "enabled":
            content.insert(0, {"type": "thinking", "thinking": "hm", "signature": "sig"})
        if body.get("tools") and "tool_result" not in json.dumps(body["messages"]):
            content.append(
                {"type": "tool_use", "id": "toolu_1", "name": body["tools"][0]["name"], "input": {"city": "Zürich"}}
            )
            stop = "tool_use"
        if body.get("stream"):
            await wire.stream(*anthropic_stream(content, stop), fields=ANTHROPIC_HEADERS)
        else:
            await wire.answer(200, json.dumps(anthropic_message(content, stop)).encode(), *ANTHROPIC_HEADERS)


def anthropic_error(
    status: int, kind: str, message: str = "prompt is too long: 210000 tokens > 200000 maximum"
) -> Script:
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_upstream"}

    async def script(wire: Wire, _: Received) -> None:
        await wire.answer(
            status, json.dumps(body).encode(), ("request-id", "req_upstream"), ("retry-after", "0"), reason="Error"
        )

    return script


# ---- OpenAI Responses, as the Codex backend speaks it

REFUSED = ("max_output_tokens", "temperature", "top_p", "metadata", "truncation", "user", "previous_response_id")


def response(status: str, output: list[Json], **more: Any) -> Json:
    return {
        "id": "resp_1", "object": "response", "created_at": 1_790_000_000, "status": status, "error": None, "incomplete_details": None,
        "instructions": None, "metadata": {}, "model": "gpt-x", "output": output, "parallel_tool_calls": True, "temperature": 1.0,
        "tool_choice": "auto", "tools": [], "top_p": 1.0, "usage": None, **more,
    }  # fmt: skip


USAGE = {
    "input_tokens": 11, "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0}, "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 1}, "total_tokens": 18,
}  # fmt: skip


def responses_stream(item: Json) -> list[bytes]:
    """The events of an answer with one output item: a message or a function call."""
    events: list[Json] = [
        {"type": "response.created", "response": response("in_progress", [])},
        {"type": "response.in_progress", "response": response("in_progress", [])},
    ]
    at = {"output_index": 0, "item_id": item["id"]}
    if item["type"] == "message":
        (part,) = item["content"]
        empty = {**part, "text": ""}
        events.append(
            {
                "type": "response.output_item.added",
                "output_index": 0,
                "item": {**item, "content": [], "status": "in_progress"},
            }
        )
        events.append({"type": "response.content_part.added", "content_index": 0, **at, "part": empty})
        events += [
            {"type": "response.output_text.delta", "content_index": 0, **at, "delta": word + " ", "logprobs": []}
            for word in part["text"].split()
        ]
        events.append(
            {"type": "response.output_text.done", "content_index": 0, **at, "text": part["text"], "logprobs": []}
        )
        events.append({"type": "response.content_part.done", "content_index": 0, **at, "part": part})
    else:
        events.append(
            {
                "type": "response.output_item.added",
                "output_index": 0,
                "item": {**item, "arguments": "", "status": "in_progress"},
            }
        )
        text = item["arguments"]
        events += [
            {"type": "response.function_call_arguments.delta", **at, "delta": text[start : start + 4]}
            for start in range(0, len(text), 4)
        ]
        events.append({"type": "response.function_call_arguments.done", **at, "arguments": text, "name": item["name"]})
    events.append({"type": "response.output_item.done", "output_index": 0, "item": item})
    events.append({"type": "codex.rate_limits", "plan_type": "plus"})  # an event that no SDK knows
    events.append({"type": "response.completed", "response": response("completed", [item], usage=USAGE)})
    return [sse({**event, "sequence_number": number}) for number, event in enumerate(events)]


async def codex(wire: Wire, request: Received) -> None:
    """The Codex backend: refuses what the real one refuses."""
    if request.target.partition("?")[0].endswith("/models"):
        await wire.answer(200, b'{"models": [{"slug": "gpt-x", "display_name": "GPT"}]}', *OPENAI_HEADERS)
        return
    body = request.json
    refused = None
    if request.values("authorization") != [b"Bearer codex-configured"]:
        await openai_error(401, "token_expired")(wire, request)
        return
    if body.get("store") is not False:
        refused = "Store must be set to false"
    elif body.get("stream") is not True:
        refused = "Stream must be set to true"
    elif body.get("instructions") is None:
        refused = "Instructions are required"
    elif not isinstance(body.get("input"), list):
        refused = "Input must be a list"
    elif any(item.get("role") == "system" for item in body["input"]):
        refused = "System messages are not allowed"
    elif found := [key for key in REFUSED if key in body]:
        refused = f"Unsupported parameter: {found[0]}"
    if refused:
        await wire.answer(400, json.dumps({"detail": refused}).encode(), *OPENAI_HEADERS, reason="Bad Request")
        return
    if body.get("tools") and "function_call_output" not in json.dumps(body["input"]):
        name = body["tools"][0]["name"]
        item: Json = {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": name,
            "arguments": '{"city": "Zürich"}',
            "status": "completed",
        }
    else:
        part = {"type": "output_text", "text": "Grüße aus Zürich", "annotations": [], "logprobs": []}
        item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}
    await wire.stream(*responses_stream(item), fields=OPENAI_HEADERS)


def openai_error(status: int, code: str, message: str = "The upstream's own words") -> Script:
    body = {"error": {"message": message, "type": "upstream_type", "param": None, "code": code}}

    async def script(wire: Wire, _: Received) -> None:
        await wire.answer(
            status, json.dumps(body).encode(), ("x-request-id", "req_upstream"), ("retry-after", "0"), reason="Error"
        )

    return script


# ---- OpenAI Chat Completions


def chat_chunks(words: Iterable[str]) -> list[bytes]:
    base = {"id": "chatcmpl_1", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": "gpt-x"}
    chunks: list[Json] = [
        {**base, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}
    ]
    chunks += [{**base, "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]} for word in words]
    chunks.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return [*(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks), b"data: [DONE]\n\n"]


async def chat(wire: Wire, request: Received) -> None:
    if request.json.get("stream"):
        await wire.stream(*chat_chunks(["Grüße ", "aus ", "Zürich"]))
        return
    message = {"role": "assistant", "content": "Grüße aus Zürich", "refusal": None}
    whole = {
        "id": "chatcmpl_1", "object": "chat.completion", "created": 1_790_000_000, "model": "gpt-x",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    }  # fmt: skip
    await wire.answer(200, json.dumps(whole).encode())
