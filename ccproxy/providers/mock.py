"""The mock provider: a deterministic model that needs no credentials and no network, and plays faults by model name.

What it says depends on the request alone. It echoes the last user text; calls a declared tool when `tool_choice` demands one or the text says
`[[tool]]` or `[[tool:NAME]]`, and tells the result once it comes; thinks when thinking is on. `FAULTS` lists the model names that play faults.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Final

from ccproxy.errors import (
    BadRequest,
    ExchangeError,
    Forbidden,
    Overloaded,
    RequestTooLarge,
    RouteNotFound,
    TooManyRequests,
    Unauthenticated,
)
from ccproxy.providers.local import Dropped, LocalRequest

Json = dict[str, Any]

FAULTS: Final[dict[str, str]] = {
    "mock-400": "an invalid_request_error",
    "mock-401": "an authentication_error",
    "mock-403": "a permission_error",
    "mock-404": "a not_found_error",
    "mock-413": "a request_too_large",
    "mock-429": "a rate_limit_error with retry-after: 1",
    "mock-500": "an api_error",
    "mock-529": "an overloaded_error",
    "mock-error": "an error event in the middle of the stream",
    "mock-drop": "a connection cut in the middle of the stream",
    "mock-slow": "50 ms before each event",
    "mock-hang": "an answer that begins and never ends",
    "mock-empty": "an answer without content",
    "mock-long": "1,000 words",
    "mock-max-tokens": "an answer that stops with max_tokens",
    "mock-refusal": "an answer that stops with refusal",
    "mock-stop": "an answer that stops with stop_sequence, at the request's first one",
}
MODELS: Final = ("mock-claude", *FAULTS)

_ERRORS: Final[dict[str, Callable[[], ExchangeError]]] = {
    "mock-400": lambda: BadRequest("mock-400: the request is invalid, as asked for"),
    "mock-401": lambda: Unauthenticated("mock-401: the key is wrong, as asked for"),
    "mock-403": lambda: Forbidden("mock-403: not permitted, as asked for"),
    "mock-404": lambda: RouteNotFound("mock-404: no such model, as asked for"),
    "mock-413": lambda: RequestTooLarge("mock-413: too large, as asked for"),
    "mock-429": lambda: TooManyRequests("mock-429: too many requests, as asked for", headers={"retry-after": "1"}),
    "mock-500": lambda: ExchangeError("mock-500: internal error, as asked for"),
    "mock-529": lambda: Overloaded("mock-529: overloaded, as asked for"),
}
_TOOL_MARK: Final = re.compile(r"\[\[tool(?::([^\]]+))?\]\]")
_CREATED: Final = "2026-01-01T00:00:00Z"


class Mock:
    """See the module. `sleep` is asyncio's own unless a test gives another."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._sleep = sleep

    async def stream(self, request: LocalRequest) -> AsyncIterator[Json]:
        body = request.body
        _check(body)
        model = str(body["model"])
        if error := _ERRORS.get(model):
            raise error()
        events = list(_events(body))
        middle = max(2, len(events) // 2)
        for index, event in enumerate(events):
            if model == "mock-slow":
                await self._sleep(0.05)
            if index == middle:
                if model == "mock-error":
                    raise Overloaded("mock-error: overloaded in the middle, as asked for")
                if model == "mock-drop":
                    raise Dropped("mock-drop: cut, as asked for")
                if model == "mock-hang":
                    await self._sleep(86400)
            yield event

    async def count_tokens(self, request: LocalRequest) -> Json:
        _check(request.body)
        return {"input_tokens": _tokens(request.body)}

    async def models(self) -> list[Json]:
        return [{"type": "model", "id": name, "display_name": name, "created_at": _CREATED} for name in MODELS]

    def status(self) -> Json:
        return {}

    async def aclose(self) -> None:
        return


def _check(body: Json) -> None:
    messages = body.get("messages")
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise BadRequest("model: Field required", param="model")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages: at least one message is required", param="messages")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in {"user", "assistant", "system"}:
            raise BadRequest(
                f"messages.{index}.role: must be user, assistant or system", param=f"messages[{index}].role"
            )
        if not isinstance(message.get("content"), str | list):
            raise BadRequest(
                f"messages.{index}.content: must be a string or a list", param=f"messages[{index}].content"
            )
    for key in ("thinking", "tool_choice"):
        if not isinstance(body.get(key) or {}, dict):
            raise BadRequest(f"{key}: must be an object", param=key)
    for index, tool in enumerate(body.get("tools") or []):
        if isinstance(tool, dict) and not isinstance(tool.get("input_schema") or {}, dict):
            raise BadRequest(f"tools.{index}.input_schema: must be an object", param=f"tools[{index}].input_schema")


def _blocks(message: Json) -> list[Json]:
    content = message["content"]
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content if isinstance(block, dict)]


def _text(blocks: list[Json]) -> str:
    return " ".join(str(block.get("text", "")) for block in blocks if block.get("type") == "text")


def _tokens(body: Json) -> int:
    """About four characters a token, counted over the text of the request without its images."""
    said = json.dumps([body.get("system"), body.get("tools"), body["messages"]], ensure_ascii=False)
    return max(1, len(re.sub(r'"data":\s*"[^"]*"', "", said)) // 4)


def _answer(body: Json) -> list[Json]:
    """The content blocks of the answer."""
    last = next((m for m in reversed(body["messages"]) if m["role"] == "user"), body["messages"][-1])
    blocks = _blocks(last)
    results = [block for block in blocks if block.get("type") == "tool_result"]
    said = _text(blocks)
    content: list[Json] = []
    if (body.get("thinking") or {}).get("type") in {"enabled", "adaptive"}:
        thought = f"The user said {len(said)} characters."
        content.append(
            {
                "type": "thinking",
                "thinking": thought,
                "signature": "mock-" + hashlib.sha256(thought.encode()).hexdigest()[:32],
            }
        )
    if body["model"] == "mock-empty":
        return []
    if results:
        return [
            *content,
            {"type": "text", "text": "The tool said: " + "; ".join(_result_text(result) for result in results)},
        ]
    if tool := _tool(body, said):
        if text := _TOOL_MARK.sub("", said).strip():
            content.append({"type": "text", "text": f"I use {tool['name']} for: {text}"})
        arguments = _arguments(tool.get("input_schema") or {}, said)
        digest = hashlib.sha256(json.dumps([tool["name"], said, len(body["messages"])]).encode()).hexdigest()
        return [
            *content,
            {"type": "tool_use", "id": f"toolu_mock{digest[:16]}", "name": tool["name"], "input": arguments},
        ]
    if body["model"] == "mock-long":
        return [*content, {"type": "text", "text": " ".join(f"word{n}" for n in range(1000))}]
    others = [str(block.get("type")) for block in blocks if block.get("type") != "text"]
    note = f" (and sent: {', '.join(others)})" if others else ""
    return [*content, {"type": "text", "text": f"You said: {said}{note}"}]


def _result_text(result: Json) -> str:
    content = result.get("content", "")
    return content if isinstance(content, str) else _text([block for block in content if isinstance(block, dict)])


def _tool(body: Json, said: str) -> Json | None:
    tools = {
        tool["name"]: tool
        for tool in body.get("tools") or []
        if isinstance(tool, dict) and isinstance(tool.get("name"), str)
    }
    choice = body.get("tool_choice") or {}
    if not tools or choice.get("type") == "none":
        return None
    if choice.get("type") == "tool":
        return tools.get(str(choice.get("name")))
    mark = _TOOL_MARK.search(said)
    if mark or choice.get("type") == "any":
        return tools.get(mark[1]) if mark and mark[1] else next(iter(tools.values()))
    return None


def _arguments(schema: Json, said: str) -> Json:
    """Arguments that fit the required properties of a schema, made of the user's text."""
    properties = schema.get("properties") or {}
    wanted = schema.get("required") or list(properties)[:1]
    return {name: _value(properties.get(name) or {}, said) for name in wanted}


def _value(schema: Json, said: str) -> Any:
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type")
    plain: dict[str, Any] = {"integer": 1, "number": 1.5, "boolean": True, "null": None, "array": []}
    if kind == "object":
        return _arguments(schema, said)
    return plain[kind] if isinstance(kind, str) and kind in plain else _TOOL_MARK.sub("", said).strip()


def _events(body: Json) -> Iterator[Json]:
    content = _answer(body)
    digest = hashlib.sha256(json.dumps(body, sort_keys=True, default=str).encode()).hexdigest()[:24]
    usage = {
        "input_tokens": _tokens(body),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 1,
    }
    stop, sequence = _stop(body, content)
    message = {"id": f"msg_mock{digest}", "type": "message", "role": "assistant", "model": body["model"], "content": [],
               "stop_reason": None, "stop_sequence": None, "usage": usage}  # fmt: skip
    yield {"type": "message_start", "message": message}
    written = 0
    for index, block in enumerate(content):
        for event in _block_events(index, block):
            written += event["type"] == "content_block_delta"
            yield event
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": stop, "stop_sequence": sequence},
        "usage": {**usage, "output_tokens": max(1, written)},
    }
    yield {"type": "message_stop"}


def _stop(body: Json, content: list[Json]) -> tuple[str, str | None]:
    named = {"mock-max-tokens": "max_tokens", "mock-refusal": "refusal"}
    if body["model"] in named:
        return named[body["model"]], None
    if body["model"] == "mock-stop" and body.get("stop_sequences"):
        return "stop_sequence", str(body["stop_sequences"][0])
    return ("tool_use" if any(block["type"] == "tool_use" for block in content) else "end_turn"), None


def _block_events(index: int, block: Json) -> Iterator[Json]:
    def start(empty: Json) -> Json:
        return {"type": "content_block_start", "index": index, "content_block": empty}

    def delta(what: Json) -> Json:
        return {"type": "content_block_delta", "index": index, "delta": what}

    if block["type"] == "text":
        yield start({"type": "text", "text": ""})
        for word in re.findall(r"\S+\s*|\s+", block["text"]):
            yield delta({"type": "text_delta", "text": word})
    elif block["type"] == "thinking":
        yield start({"type": "thinking", "thinking": "", "signature": ""})
        for word in re.findall(r"\S+\s*", block["thinking"]):
            yield delta({"type": "thinking_delta", "thinking": word})
        yield delta({"type": "signature_delta", "signature": block["signature"]})
    else:
        yield start({"type": "tool_use", "id": block["id"], "name": block["name"], "input": {}})
        text = json.dumps(block["input"], ensure_ascii=False)
        for at in range(0, len(text), 12):
            yield delta({"type": "input_json_delta", "partial_json": text[at : at + 12]})
    yield {"type": "content_block_stop", "index": index}
