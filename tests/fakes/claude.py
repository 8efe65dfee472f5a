"""Anthropic's Messages API with its teeth: a request that breaks one of its rules gets the 400 that it would get there.

Thinking is signed over all that came before it (system, tools, earlier messages and blocks), as newer models do: a history that comes back in any other
form is refused. https://platform.claude.com/docs/en/build-with-claude/preserved-thinking
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
    objects,
    pieces,
    slices,
    spent,
    sse,
)
from tests.fakes.upstream import Received, Wire, chunk

_KEY: Final = b"the vendor's alone"
_FIELDS: Final = frozenset({
    "model", "max_tokens", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "stop_sequences", "stream", "metadata",
    "service_tier", "speed", "cache_control", "container", "diagnostics", "inference_geo",
})  # fmt: skip
_SAMPLING: Final = frozenset({"temperature", "top_p", "top_k"})
_TOOL_FIELDS: Final = frozenset({
    "type", "name", "description", "input_schema", "strict", "cache_control", "defer_loading", "input_examples", "eager_input_streaming",
    "allowed_callers",
})  # fmt: skip
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")
_EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")

MODELS: Final = {"claude-opus-5-5": ("adaptive", "disabled"), "claude-sonnet-4-5": ("enabled", "disabled")}
"""The models, and the kinds of thinking that they take."""
_OLD: Final = {"claude-sonnet-4-5"}
"""Models that take sampling parameters from clients of the old version."""


@dataclass
class Claude:
    """A script for `Upstream`. `said` is what the model says in each assistant turn of a conversation."""

    said: list[Said]
    failures: list[Failure] = field(default_factory=list)
    """Given instead of the next answers."""
    breaks: str = ""
    """How streams end in the middle: "reset", "end" (properly framed, but not finished) or "error"."""
    accepts: Callable[[str], bool] = bool
    """Whether a credential is good."""
    refused: list[str] = field(default_factory=list)
    """What it refused, in its own words."""
    bodies: list[Json] = field(default_factory=list)

    async def __call__(self, wire: Wire, request: Received) -> None:
        path = request.target.partition("?")[0]
        if not any(self.accepts(key) for key in _credentials(request)):
            await self._error(wire, 401, "authentication_error", "invalid x-api-key")
            return
        try:
            demand(request.values("anthropic-version"), "anthropic-version: header is required")
            if path.startswith("/v1/models"):
                await self._models(wire, path)
                return
            body = request.json
            self.bodies.append(body)
            check(body, request.values("anthropic-version")[0].decode(), counts=path.endswith("count_tokens"))
            self._remembers(body)
        except Refused as error:
            self.refused.append(str(error))
            await self._error(wire, 400, "invalid_request_error", str(error))
            return
        if path == "/v1/messages/count_tokens":
            await wire.answer(200, json.dumps({"input_tokens": 1234}).encode())
        elif self.failures:
            failure = self.failures.pop(0)
            await wire.answer(failure.status, json.dumps(failure.body).encode(), *failure.fields)
        elif body.get("stream"):
            await self._stream(wire, self._message(body))
        else:
            await wire.answer(200, json.dumps(self._message(body)).encode(), ("request-id", "req_fake"))

    async def _error(self, wire: Wire, status: int, kind: str, message: str) -> None:
        body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_fake"}
        await wire.answer(status, json.dumps(body).encode(), ("request-id", "req_fake"))

    async def _models(self, wire: Wire, path: str) -> None:
        cards = [_card(name) for name in MODELS]
        wanted = path.removeprefix("/v1/models").strip("/")
        if not wanted:
            body: Json = {"data": cards, "has_more": False, "first_id": cards[0]["id"], "last_id": cards[-1]["id"]}
            await wire.answer(200, json.dumps(body).encode())
        elif wanted in MODELS:
            await wire.answer(200, json.dumps(_card(wanted)).encode())
        else:
            await self._error(wire, 404, "not_found_error", f"model: {wanted}")

    def _remembers(self, body: Json) -> None:
        """The model's own turns come back as it said them, and its thinking where it was."""
        context = {"system": body.get("system"), "tools": body.get("tools")}
        thinks = _shows(body)
        turn = 0
        for i, message in enumerate(body["messages"]):
            if message["role"] != "assistant":
                continue
            blocks = _blocks(message["content"])
            for j, block in enumerate(blocks):
                before = {**context, "messages": body["messages"][:i], "before": blocks[:j]}
                if block["type"] == "thinking" and block["signature"] != _sign(before, block["thinking"]):
                    raise Refused(
                        f"messages.{i}.content.{j}: Invalid `signature` in `thinking` block. "
                        "The block is bound to a different conversation"
                    )
            demand(turn < len(self.said), f"messages.{i}: the model never said this")
            said = canonical([_without_signature(block) for block in self._content(turn, thinks=thinks)])
            came = canonical([_without_signature(block) for block in blocks])
            demand(said == came, f"messages.{i}: the model said {said!r}, not {came!r}")
            turn += 1

    def _content(self, turn: int, context: Json | None = None, *, thinks: bool | None) -> list[Json]:
        said = self.said[turn]
        blocks: list[Json] = []
        if said.thinking and thinks is not None:
            thinking = said.thinking if thinks else ""
            signature = _sign({**context, "before": []}, thinking) if context else ""
            blocks.append({"type": "thinking", "thinking": thinking, "signature": signature})
        if said.text:
            blocks.append({"type": "text", "text": said.text})
        for i, call in enumerate(said.calls):
            blocks.append({"type": "tool_use", "id": f"toolu_{turn}_{i}", "name": call.name, "input": call.arguments})
        return blocks

    def _message(self, body: Json) -> Json:
        turn = sum(message["role"] == "assistant" for message in body["messages"])
        context = {"system": body.get("system"), "tools": body.get("tools"), "messages": body["messages"]}
        thinks = _shows(body)
        content = self._content(turn, context, thinks=thinks)
        stop, sequence = ("tool_use" if self.said[turn].calls else "end_turn"), None
        for block in content:
            for wanted in body.get("stop_sequences", ()):
                if block["type"] == "text" and wanted in block["text"]:
                    block["text"] = block["text"].partition(wanted)[0]
                    stop, sequence = "stop_sequence", wanted
        return {
            "id": f"msg_{turn}",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": content,
            "stop_reason": stop,
            "stop_sequence": sequence,
            "usage": {
                "input_tokens": fresh(turn),
                "cache_read_input_tokens": CACHED,
                "cache_creation_input_tokens": WRITTEN,
                "output_tokens": spent(turn),
                "output_tokens_details": {"thinking_tokens": THOUGHT},
            },
        }

    async def _stream(self, wire: Wire, message: Json) -> None:
        events = [sse(event["type"], event) for event in _events(message)]
        if not self.breaks:
            await wire.stream(*slices(b"".join(events)), fields=[("request-id", "req_fake")])
            return
        await wire.stream(*slices(b"".join(events[: len(events) // 2])), end=False)
        if self.breaks == "error":
            error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
            await wire.send(chunk(sse("error", error)))
        if self.breaks == "reset":
            wire.reset()
        else:
            await wire.send(b"0\r\n\r\n")


def _credentials(request: Received) -> list[str]:
    found = [*request.values("x-api-key"), *request.values("authorization")]
    return [value.decode().removeprefix("Bearer ") for value in found]


def _card(name: str) -> Json:
    kinds = {kind: {"supported": kind in MODELS[name]} for kind in ("adaptive", "enabled", "disabled")}
    efforts = {effort: {"supported": name not in _OLD} for effort in _EFFORTS}
    return {
        "type": "model",
        "id": name,
        "display_name": name.title(),
        "created_at": "2026-10-01T00:00:00Z",
        "max_tokens": 64_000,
        "max_input_tokens": 200_000,
        "capabilities": {
            "thinking": {"supported": True, "types": kinds},
            "effort": {"supported": name not in _OLD, **efforts},
        },
    }


def _shows(body: Json) -> bool | None:
    """Whether thinking is shown; None without thinking. Newer models keep it to themselves unless asked."""
    thinking = body.get("thinking", {})
    if thinking.get("type") in {None, "disabled"}:
        return None
    return thinking["type"] == "enabled" or thinking.get("display") == "summarized"


def _blocks(content: Any) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _sign(before: Json, thinking: str) -> str:
    # A string is short for one block of text: that spelling does not count.
    messages = [{**message, "content": _blocks(message["content"])} for message in before["messages"]]
    return hmac.new(_KEY, canonical({**before, "messages": messages, "thinking": thinking}), hashlib.sha256).hexdigest()


def _without_signature(block: Json) -> Json:
    return {key: value for key, value in block.items() if key != "signature"}


# --- the rules -------------------------------------------------------------------------------------------------------


def check(body: Json, version: str, *, counts: bool = False) -> None:
    """Refuse what the API refuses.

    Raises:
        Refused: with its words, or words like them.

    """
    model = body.get("model")
    demand(model in MODELS, f"model: {model}")
    for key in body:
        if key in _SAMPLING:
            allowed = version < "2026-10-21" and model in _OLD
            demand(allowed, f"`{key}` is not supported with this version or model")
        else:
            demand(key in _FIELDS, f"{key}: Extra inputs are not permitted")
    demand(counts or isinstance(body.get("max_tokens"), int), "max_tokens: Field required")
    demand(counts or 0 < body["max_tokens"] <= 64_000, "max_tokens: out of range")
    marks = sum("cache_control" in found for found in objects({**body, "tools": _tools_without_schemas(body)}))
    demand(marks <= 4, f"A maximum of 4 blocks with cache_control may be provided. Found {marks}.")
    _check_thinking(body)
    _check_tools(body)
    for block in _blocks(body.get("system") or []):
        _check_text(block, "system")
    _check_messages(body)


def _tools_without_schemas(body: Json) -> list[Json]:
    return [{k: v for k, v in tool.items() if k != "input_schema"} for tool in body.get("tools", ())]


def _check_thinking(body: Json) -> None:
    thinking = body.get("thinking")
    if thinking is not None:
        kind = thinking.get("type")
        demand(kind in MODELS[body["model"]], f'"thinking.type.{kind}" is not supported for this model')
        if kind == "enabled":
            budget = thinking.get("budget_tokens", 0)
            demand(1024 <= budget < body.get("max_tokens", 0), "`max_tokens` must be greater than `budget_tokens`")
            demand(body.get("tool_choice", {}).get("type") not in {"any", "tool"}, "Thinking may not force tool use")
    effort = body.get("output_config", {}).get("effort")
    demand(effort is None or (effort in _EFFORTS and body["model"] not in _OLD), f"effort: {effort}")


def _check_tools(body: Json) -> None:
    names = set()
    for i, tool in enumerate(body.get("tools", ())):
        demand(set(tool) <= _TOOL_FIELDS, f"tools.{i}: {set(tool) - _TOOL_FIELDS}: Extra inputs are not permitted")
        demand(_NAME.fullmatch(tool.get("name", "")), f"tools.{i}.name: String should match pattern")
        demand(tool.get("input_schema", {}).get("type") == "object", f"tools.{i}.input_schema.type: Field required")
        demand(tool["name"] not in names, "tools: Tool names must be unique.")
        names.add(tool["name"])
    choice = body.get("tool_choice")
    demand(choice is None or names, "tool_choice may only be specified while providing tools")
    if choice and choice["type"] == "tool":
        demand(choice["name"] in names, f"Tool '{choice['name']}' not found in provided tools")


def _check_messages(body: Json) -> None:
    messages = body.get("messages")
    demand(messages, "messages: at least one message is required")
    assert messages is not None
    demand(messages[0]["role"] == "user", "messages: first message must use the user role")
    demand(messages[-1]["role"] != "assistant", "This model does not support assistant message prefill.")
    pending: list[str] = []
    before = ""
    for i, message in enumerate(messages):
        role, blocks = message["role"], _blocks(message["content"])
        demand(set(message) <= {"role", "content"}, f"messages.{i}: Extra inputs are not permitted")
        demand(role in {"user", "assistant", "system"}, f"messages.{i}.role: Input should be 'user' or 'assistant'")
        demand(role != before, f"messages.{i}: roles must alternate")
        demand(blocks, f"messages.{i}: all messages must have non-empty content")
        if role == "system":
            demand(before == "user", f"messages.{i}: a system message must follow a user turn")
            demand(i + 1 == len(messages) or messages[i + 1]["role"] == "assistant", f"messages.{i}: system in between")
            demand(body["model"] not in _OLD, f"messages.{i}.role: system is not supported by this model")
        results = [block.get("tool_use_id") for block in blocks if block["type"] == "tool_result"]
        missing = set(pending) - set(results)
        demand(
            not missing,
            f"messages.{i}: `tool_use` ids were found without `tool_result` blocks immediately after: {missing}",
        )
        demand(set(results) <= set(pending), f"messages.{i}: unexpected `tool_use_id` found: {results}")
        demand(len(results) == len(set(results)), f"messages.{i}: each tool_use must have a single result")
        first = [block["type"] for block in blocks[: len(results)]]
        demand(not pending or set(first) == {"tool_result"}, f"messages.{i}: tool_result blocks must come first")
        for j, block in enumerate(blocks):
            _check_block(block, role, f"messages.{i}.content.{j}")
        pending = [block["id"] for block in blocks if block["type"] == "tool_use"]
        before = role


def _check_block(block: Json, role: str, path: str) -> None:
    match block["type"]:
        case "text":
            _check_text(block, path)
        case "tool_result":
            demand(role == "user", f"{path}: `tool_result` blocks can only be in `user` messages")
            demand(
                set(block) <= {"type", "tool_use_id", "content", "is_error", "cache_control"}, f"{path}: Extra inputs"
            )
            for inner in _blocks(block.get("content") or []):
                demand(inner["type"] != "text" or inner["text"], f"{path}: text content blocks must be non-empty")
        case "tool_use":
            demand(role == "assistant", f"{path}: `tool_use` blocks can only be in `assistant` messages")
            demand(isinstance(block.get("input"), dict), f"{path}.input: Input should be a valid dictionary")
            demand(_ID.fullmatch(block["id"]), f"{path}.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
        case "thinking":
            demand(role == "assistant", f"{path}: thinking in a {role} message")
            demand(isinstance(block.get("signature"), str), f"{path}.signature: Field required")
        case kind:
            demand(kind in {"image", "document", "redacted_thinking"}, f"{path}: Input tag '{kind}' found")


def _check_text(block: Json, path: str) -> None:
    demand(set(block) <= {"type", "text", "cache_control", "citations"}, f"{path}: Extra inputs are not permitted")
    demand(block.get("text"), f"{path}: text content blocks must be non-empty")
    demand(block["text"].strip(), f"{path}: text content blocks must contain non-whitespace text")


# --- the stream ------------------------------------------------------------------------------------------------------


def _events(message: Json) -> list[Json]:
    usage = message["usage"]
    start = {
        **message,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**usage, "output_tokens": 1},
    }
    events: list[Json] = [{"type": "message_start", "message": start}, {"type": "ping"}]
    for index, block in enumerate(message["content"]):
        empty, deltas = _deltas(block)
        events.append({"type": "content_block_start", "index": index, "content_block": empty})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    stop = {"stop_reason": message["stop_reason"], "stop_sequence": message["stop_sequence"]}
    return [*events, {"type": "message_delta", "delta": stop, "usage": usage}, {"type": "message_stop"}]


def _deltas(block: Json) -> tuple[Json, list[Json]]:
    match block["type"]:
        case "text":
            return {**block, "text": ""}, [{"type": "text_delta", "text": part} for part in pieces(block["text"])]
        case "thinking":
            parts: list[Json] = [{"type": "thinking_delta", "thinking": part} for part in pieces(block["thinking"])]
            parts.append({"type": "signature_delta", "signature": block["signature"]})
            return {**block, "thinking": "", "signature": ""}, parts
        case _:  # a call without arguments has no delta
            written = json.dumps(block["input"], ensure_ascii=False) if block["input"] else ""
            return {**block, "input": {}}, [
                {"type": "input_json_delta", "partial_json": part} for part in pieces(written)
            ]
