"""The Codex Responses backend with its teeth: its allow-list, its `{"detail"}` errors, tools that are strict by default, and reasoning that has
to come back as it was, directly before what it led to.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from tests.fakes.plot import (
    CACHED,
    THOUGHT,
    WRITTEN,
    Failure,
    Json,
    Refused,
    Said,
    canonical,
    demand,
    fresh,
    pieces,
    slices,
    spent,
    sse,
)
from tests.fakes.upstream import Received, Wire, chunk

LITE_HEADER: Final = "x-openai-internal-codex-responses-lite"
MODELS: Final = {"gpt-5.5": False, "gpt-6.1-sol": True}
"""The models, and whether they want the Lite shape."""
_FIELDS: Final = frozenset({
    "model", "instructions", "input", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "store", "stream", "include",
    "prompt_cache_key", "text", "service_tier", "client_metadata",
})  # fmt: skip
_EFFORTS: Final = ("none", "low", "medium", "high", "xhigh")
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_OUTPUTS: Final = {"function_call_output": "function_call", "custom_tool_call_output": "custom_tool_call"}


@dataclass
class Codex:
    """A script for `Upstream`. `said` is what the model says in each of its turns of a conversation."""

    said: list[Said]
    failures: list[Failure] = field(default_factory=list)
    """Given instead of the next answers."""
    breaks: str = ""
    """How streams end in the middle: "reset", "end" (properly framed, but not finished), "error" or "never"."""
    accepts: Callable[[str], bool] = bool
    """Whether a credential is good."""
    unsupported: set[str] = field(default_factory=set)
    """Parameters that it refuses by name, for today."""
    refused: list[str] = field(default_factory=list)
    """What it refused, in its own words."""
    bodies: list[Json] = field(default_factory=list)
    left: int = 0
    """How many streams that never end were given up by those who read them."""

    async def __call__(self, wire: Wire, request: Received) -> None:
        path = request.target.partition("?")[0].removeprefix("/backend-api/codex")
        if not any(self.accepts(key) for key in _credentials(request)):
            error = {"code": "token_expired", "message": "Provided authentication token is expired."}
            await wire.answer(401, json.dumps({"error": error}).encode())
            return
        if path == "/models":
            await wire.answer(200, json.dumps({"models": [_card(name) for name in MODELS]}).encode())
            return
        body = request.json
        self.bodies.append(body)
        try:
            for key in body:
                demand(key in _FIELDS and key not in self.unsupported, f"Unsupported parameter: {key}")
            lite = bool(request.values(LITE_HEADER))
            items = check(body, lite=lite)
            runs = _runs(items)
            self._remembers(runs, asks_for_summary=bool(body.get("reasoning", {}).get("summary")))
        except Refused as error:
            self.refused.append(str(error))
            await wire.answer(400, json.dumps({"detail": str(error)}).encode())
            return
        if self.failures:
            failure = self.failures.pop(0)
            await wire.answer(failure.status, json.dumps(failure.body).encode(), *failure.fields)
            return
        await self._stream(wire, self._response(body, len(runs)))

    def _remembers(self, runs: list[list[Json]], *, asks_for_summary: bool) -> None:
        for turn, run in enumerate(runs):
            demand(turn < len(self.said), f"turn {turn}: the model never said this")
            said = [_shown(item) for item in self._items(turn, summary=asks_for_summary, sealed=True)]
            came = [_shown(item) for item in run]
            demand(canonical(said) == canonical(came), f"turn {turn}: the model said {said}, not {came}")

    def _items(self, turn: int, *, summary: bool, sealed: bool) -> list[Json]:
        said = self.said[turn]
        items: list[Json] = []
        if said.thinking:
            parts = [{"type": "summary_text", "text": said.thinking}] if summary else []
            item: Json = {"id": f"rs_{turn}", "type": "reasoning", "summary": parts}
            if sealed:
                item["encrypted_content"] = hmac.new(b"key", canonical(item), hashlib.sha256).hexdigest()
            items.append(item)
        if said.text:
            part = {"type": "output_text", "text": said.text, "annotations": [], "logprobs": []}
            phase = "commentary" if said.calls else "final_answer"
            items.append({"id": f"msg_{turn}", "type": "message", "role": "assistant", "status": "completed", "phase": phase, "content": [part]})  # fmt: skip
        for i, call in enumerate(said.calls):
            items.append({
                "id": f"fc_{turn}_{i}", "type": "function_call", "status": "completed", "call_id": f"call_{turn}_{i}",
                "name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False),
            })  # fmt: skip
        return items

    def _response(self, body: Json, turn: int) -> Json:
        summary = bool(body.get("reasoning", {}).get("summary"))
        items = self._items(turn, summary=summary, sealed="reasoning.encrypted_content" in body.get("include", ()))
        if MODELS[body["model"]]:
            items = [{**item, "namespace": "functions"} if item["type"] == "function_call" else item for item in items]
        return {
            "id": f"resp_{turn}", "object": "response", "created_at": 1795000000, "status": "completed", "error": None, "incomplete_details": None,
            "instructions": body.get("instructions", ""), "metadata": {}, "model": body["model"], "output": items, "parallel_tool_calls": True,
            "temperature": 1.0, "tool_choice": "auto", "tools": body.get("tools", []), "top_p": 1.0, "store": False,
            "usage": {
                "input_tokens": fresh(turn) + CACHED + WRITTEN,
                "input_tokens_details": {"cached_tokens": CACHED, "cache_write_tokens": WRITTEN},
                "output_tokens": spent(turn),
                "output_tokens_details": {"reasoning_tokens": THOUGHT},
                "total_tokens": fresh(turn) + CACHED + WRITTEN + spent(turn),
            },
        }  # fmt: skip

    async def _stream(self, wire: Wire, response: Json) -> None:
        events = [{**event, "sequence_number": n} for n, event in enumerate(_events(response))]
        if self.breaks:
            events = events[: len(events) // 2]
        written = [sse(event["type"], event) for event in events]
        await wire.stream(*slices(b"".join(written)), end=not self.breaks)
        if self.breaks == "never":
            await wire.left()
            self.left += 1
            return
        if self.breaks == "error":
            error = {"code": "server_is_overloaded", "message": "Our servers are overloaded."}
            failed = {**response, "status": "failed", "error": error, "output": [], "usage": None}
            await wire.send(chunk(sse("response.failed", {"type": "response.failed", "response": failed})))
        if self.breaks == "reset":
            wire.reset()
        elif self.breaks:
            await wire.send(b"0\r\n\r\n")


def _credentials(request: Received) -> list[str]:
    return [value.decode().removeprefix("Bearer ") for value in request.values("authorization")]


def _card(name: str) -> Json:
    return {
        "slug": name,
        "display_name": name.upper(),
        "visibility": "list",
        "supported_in_api": True,
        "use_responses_lite": MODELS[name],
        "supported_reasoning_levels": [{"effort": effort, "description": ""} for effort in _EFFORTS],
    }


def _shown(item: Json) -> Json:
    """What must come back of an item."""
    match item["type"]:
        case "reasoning":
            return {key: item.get(key) for key in ("type", "id", "summary", "encrypted_content")}
        case "message":
            text = "".join(part["text"] for part in item["content"])
            return {"type": "message", "text": text, "phase": item.get("phase")}
        case _:
            return {"name": item["name"], "call_id": item["call_id"], "arguments": json.loads(item["arguments"])}


def _runs(items: list[Json]) -> list[list[Json]]:
    """The model's turns: what stands between what others said."""
    runs: list[list[Json]] = []
    before = False
    for item in items:
        own = item["type"] in {"reasoning", "function_call", "custom_tool_call"} or item.get("role") == "assistant"
        if own and not before:
            runs.append([])
        if own:
            runs[-1].append(item)
        before = own
    return runs


# --- the rules -------------------------------------------------------------------------------------------------------


def check(body: Json, *, lite: bool) -> list[Json]:
    """Refuse what the backend refuses; the conversation's items.

    Raises:
        Refused: with its words, or words like them.

    """
    model = body.get("model")
    demand(model in MODELS, f"The '{model}' model is not supported when using Codex with a ChatGPT account.")
    assert isinstance(model, str)
    demand(body.get("store") is False, "Store must be set to false")
    demand(body.get("stream") is True, "Stream must be set to true")
    demand(not lite or MODELS[model], "This model is not supported when using X-OpenAI-Internal-Codex-Responses-Lite.")
    demand(lite or not MODELS[model], "Model not found")
    demand(body.get("service_tier") in {None, "priority"}, "Unsupported service_tier")
    items = body.get("input")
    demand(isinstance(items, list), "Input must be a list")
    assert isinstance(items, list)
    reasoning = body.get("reasoning", {})
    demand(reasoning.get("effort") in {None, *_EFFORTS}, f"Unsupported value: {reasoning.get('effort')}")
    tools = body.get("tools", [])
    if lite:
        demand(
            "tools" not in body and "instructions" not in body, "Responses-Lite takes neither tools nor instructions"
        )
        demand(reasoning.get("context") == "all_turns", "reasoning.context must be all_turns")
        demand(body.get("parallel_tool_calls") is False, "parallel_tool_calls must be false")
        demand(body.get("tool_choice") == "auto", "tool_choice must be auto")
        if items and items[0].get("type") == "additional_tools":
            tools = [tool for group in items[0]["tools"] for tool in group["tools"]]
            items = items[1:]
    else:
        demand(isinstance(body.get("instructions"), str), "Instructions are required")
    for i, tool in enumerate(tools):
        _check_tool(tool, f"tools[{i}]")
    _check_items(items)
    return items


def _check_tool(tool: Json, path: str) -> None:
    if tool["type"] != "function":
        return
    demand(_NAME.fullmatch(tool["name"]), f"Invalid '{path}.name': string does not match pattern")
    if tool.get("strict") is not False:  # strict is what the backend takes an unwritten one for
        demand(
            _is_strict(tool["parameters"]), f"Invalid schema for function '{tool['name']}': 'required' must name all"
        )


def _is_strict(schema: Any) -> bool:
    if not isinstance(schema, dict) or schema.get("type") != "object":
        return True
    properties = schema.get("properties", {})
    closed = schema.get("additionalProperties") is False and set(schema.get("required", ())) == set(properties)
    return closed and all(_is_strict(inner) for inner in properties.values())


def _check_items(items: list[Json]) -> None:
    open_calls: dict[str, str] = {}
    for i, item in enumerate(items):
        kind = item.get("type", "message")
        item.setdefault("type", kind)
        follower = items[i + 1] if i + 1 < len(items) else {}
        match kind:
            case "message":
                _check_message(item, f"input[{i}]")
            case "reasoning":
                own = (
                    follower.get("type") in {"function_call", "custom_tool_call"} or follower.get("role") == "assistant"
                )
                demand(
                    own,
                    f"Item '{item.get('id')}' of type 'reasoning' was provided without its required following item.",
                )
                demand(item.get("encrypted_content"), f"Item with id '{item.get('id')}' not found.")
                demand("content" not in item or not item["content"], f"input[{i}].content: reasoning has none")
            case "function_call" | "custom_tool_call":
                demand(len(item["call_id"]) <= 64, f"input[{i}].call_id: string too long")
                demand(item["call_id"] not in open_calls, f"Duplicate item found with call_id {item['call_id']}.")
                open_calls[item["call_id"]] = kind
            case "function_call_output" | "custom_tool_call_output":
                found = open_calls.get(item["call_id"]) == _OUTPUTS[kind]
                demand(found, f"No tool call found for function call output with call_id {item['call_id']}.")
                open_calls[item["call_id"]] = ""
            case _:
                demand(kind in {"compaction", "additional_tools"}, f"Unknown input item {kind}")
    for call, kind in open_calls.items():
        demand(not kind, f"No tool output found for function call {call}.")


def _check_message(item: Json, path: str) -> None:
    role = item["role"]
    demand(role != "system", "System messages are not allowed")
    demand(role in {"user", "assistant", "developer"}, f"{path}.role: {role}")
    content = item["content"]
    if isinstance(content, str):
        return
    allowed = {"output_text", "refusal"} if role == "assistant" else {"input_text", "input_image", "input_file"}
    for part in content:
        demand(part["type"] in allowed, f"Invalid value: '{part['type']}'. Supported values are: {allowed}.")


# --- the stream ------------------------------------------------------------------------------------------------------


def _events(response: Json) -> list[Json]:
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    events: list[Json] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    calls = []
    for index, item in enumerate(response["output"]):
        if item["type"] == "function_call":
            calls.append(_call(index, item))
        else:
            events += _reasoning(index, item) if item["type"] == "reasoning" else _message(index, item)
    events += [event for step in zip(*calls, strict=True) for event in step]  # parallel calls interleave
    return [*events, {"type": "response.completed", "response": response}]


def _reasoning(index: int, item: Json) -> list[Json]:
    place = {"item_id": item["id"], "output_index": index}
    events: list[Json] = [
        {"type": "response.output_item.added", "output_index": index, "item": {**item, "summary": []}}
    ]
    for n, part in enumerate(item["summary"]):
        here = {**place, "summary_index": n}
        events.append({"type": "response.reasoning_summary_part.added", **here, "part": {**part, "text": ""}})
        delta = {"type": "response.reasoning_summary_text.delta", **here, "obfuscation": "x7"}
        events += [{**delta, "delta": piece} for piece in pieces(part["text"])]
        events.append({"type": "response.reasoning_summary_text.done", **here, "text": part["text"]})
        events.append({"type": "response.reasoning_summary_part.done", **here, "part": part})
    return [*events, {"type": "response.output_item.done", "output_index": index, "item": item}]


def _message(index: int, item: Json) -> list[Json]:
    (part,) = item["content"]
    here = {"item_id": item["id"], "output_index": index, "content_index": 0}
    added = {**item, "status": "in_progress", "content": []}
    events: list[Json] = [
        {"type": "response.output_item.added", "output_index": index, "item": added},
        {"type": "response.content_part.added", **here, "part": {**part, "text": ""}},
    ]
    delta = {"type": "response.output_text.delta", **here, "logprobs": [], "obfuscation": "x"}
    events += [{**delta, "delta": piece} for piece in pieces(part["text"])]
    return [
        *events,
        {"type": "response.output_text.done", **here, "text": part["text"], "logprobs": []},
        {"type": "response.content_part.done", **here, "part": part},
        {"type": "response.output_item.done", "output_index": index, "item": item},
    ]


def _call(index: int, item: Json) -> list[Json]:
    """Always as many events, so that calls can be interleaved."""
    here = {"item_id": item["id"], "output_index": index}
    written = item["arguments"]
    half = len(written) // 2
    added = {**item, "status": "in_progress", "arguments": ""}
    return [
        {"type": "response.output_item.added", "output_index": index, "item": added},
        {"type": "response.function_call_arguments.delta", **here, "delta": written[:half], "obfuscation": "x"},
        {"type": "response.function_call_arguments.delta", **here, "delta": written[half:], "obfuscation": "xyz"},
        {"type": "response.function_call_arguments.done", **here, "name": item["name"], "arguments": written},
        {"type": "response.output_item.done", "output_index": index, "item": item},
    ]
