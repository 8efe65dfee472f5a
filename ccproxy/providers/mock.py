"""The mock provider: a deterministic model that needs no credentials and no network, and plays faults by model name.

Its answer depends on the request alone. It echoes the last user text; calls a declared tool when `tool_choice` requires one or the text has
`[[tool]]` or `[[tool:NAME]]`, and repeats the result once it comes; thinks when thinking is on. `FAULTS` lists the model names that play faults.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import orjson

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
from ccproxy.providers.json_limits import MOST_MESSAGES, MOST_NAME, check_values, member, refusal
from ccproxy.providers.local import Dropped, LocalRequest

Json = dict[str, Any]
_Result = TypeVar("_Result")

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
TOOL_MARK: Final = re.compile(r"\[\[tool(?::([^\[\]]{1,256}))?\]\]")
_MOST_ARGUMENTS: Final = 10_000  # of all tools together
_ARGUMENT: Final = 1000  # characters of an argument that is made of the user's text
_SMALL: Final = 200_000  # bytes of a body that is read on the event loop
_CREATED: Final = "2026-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class _Plan:
    """An answer before it is written."""

    identifier: str
    model: str
    content: list[Json]
    input_tokens: int
    stop: tuple[str, str | None]


class Mock:
    """The provider. `sleep` is asyncio's own unless a test passes another."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._sleep = sleep

    async def stream(self, request: LocalRequest) -> AsyncIterator[Json]:
        plan = await _off_loop(_make_plan, request.body)
        model = plan.model
        plays = model in {"mock-error", "mock-drop", "mock-hang"}
        middle = max(2, sum(1 for _ in _events(plan)) // 2) if plays else None
        for index, event in enumerate(_events(plan)):
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
        return {"input_tokens": await _off_loop(_count, request.body)}

    async def models(self) -> list[Json]:
        return [{"type": "model", "id": name, "display_name": name, "created_at": _CREATED} for name in MODELS]

    def status(self) -> Json:
        return {}

    async def aclose(self) -> None:
        return


async def _off_loop(work: Callable[[Json], _Result], body: Json) -> _Result:
    """`work(body)`, in a thread if the body is large.

    Raises:
        ExchangeError: from `work`, or a value is not accepted.

    """
    try:
        size = len(orjson.dumps(body))
    except TypeError:  # what it does not write is not portable, or nested deeper than is accepted
        await asyncio.to_thread(check_values, body)
        raise
    return work(body) if size < _SMALL else await asyncio.to_thread(work, body)


def _make_plan(body: Json) -> _Plan:
    _check(body)
    model = str(body["model"])
    if error := _ERRORS.get(model):
        raise error()
    digest = hashlib.sha256(_canonical(body)).hexdigest()[:24]
    content = _answer(body)
    return _Plan(f"msg_mock{digest}", model, content, _tokens(body), _stop(body, content))


def _count(body: Json) -> int:
    _check(body)
    _canonical(body)
    return _tokens(body)


def _canonical(body: Json) -> bytes:
    """The body as JSON with sorted keys.

    Raises:
        BadRequest: a number is infinite, which orjson writes as null.

    """
    try:
        return json.dumps(body, sort_keys=True, allow_nan=False).encode()
    except ValueError:
        check_values(body)
        raise


def _check(body: Json) -> None:
    messages = body.get("messages")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise refusal("model", "Field required")
    if len(model) > MOST_NAME:
        raise refusal("model", f"at most {MOST_NAME} characters are accepted")
    if not isinstance(messages, list) or not messages:
        raise refusal("messages", "at least one message is required")
    if len(messages) > MOST_MESSAGES:
        raise refusal("messages", f"at most {MOST_MESSAGES:,} messages are accepted")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ("user", "assistant", "system"):
            raise refusal(f"messages.{index}.role", "must be user, assistant or system")
        if not isinstance(message.get("content"), str | list):
            raise refusal(f"messages.{index}.content", "must be a string or a list")
    _check_options(body)


def _check_options(body: Json) -> None:
    for key in ("thinking", "tool_choice"):
        if body.get(key) and not isinstance(body[key], dict):
            raise refusal(key, "must be an object")
    for key in ("tools", "stop_sequences"):
        if body.get(key) and not isinstance(body[key], list):
            raise refusal(key, "must be a list")
    arguments = 0
    for index, tool in enumerate(body.get("tools") or []):
        if isinstance(tool, dict):
            arguments += _check_schema(tool.get("input_schema"), f"tools.{index}.input_schema")
    if arguments > _MOST_ARGUMENTS:
        raise refusal("tools", f"at most {_MOST_ARGUMENTS:,} arguments are accepted")


def _check_schema(schema: Any, path: str) -> int:
    """Check what `_arguments` reads of a schema, all the way down. Returns the number of arguments."""
    if schema is None:
        return 0
    if not isinstance(schema, dict):
        raise refusal(path, "must be an object")
    properties, required = schema.get("properties") or {}, schema.get("required") or []
    if not isinstance(properties, dict):
        raise refusal(f"{path}.properties", "must be an object")
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise refusal(f"{path}.required", "must be a list of names")
    if not isinstance(schema.get("enum") or [], list):
        raise refusal(f"{path}.enum", "must be a list")
    below = sum(_check_schema(inner, member(f"{path}.properties", name)) for name, inner in properties.items())
    return below + max(len(properties), len(set(required)))


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
    if (body.get("thinking") or {}).get("type") in ("enabled", "adaptive"):
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
        if text := TOOL_MARK.sub("", said).strip():
            content.append({"type": "text", "text": f"I use {tool['name']} for: {text}"})
        arguments = _arguments(tool.get("input_schema") or {}, TOOL_MARK.sub("", said).strip()[:_ARGUMENT])
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
    content = result.get("content")
    if isinstance(content, list):
        return _text([block for block in content if isinstance(block, dict)])
    return content if isinstance(content, str) else ""


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
    mark = TOOL_MARK.search(said)
    if mark or choice.get("type") == "any":
        return tools.get(mark[1]) if mark and mark[1] else next(iter(tools.values()))
    return None


def _arguments(schema: Json, text: str) -> Json:
    """Arguments that fit the required properties of a schema, made of the user's text."""
    properties = schema.get("properties") or {}
    names = dict.fromkeys(schema.get("required") or list(properties)[:1])  # each once, however often it is required
    return {name: _value(properties.get(name) or {}, text) for name in names}


def _value(schema: Json, text: str) -> Any:
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type")
    plain: dict[str, Any] = {"integer": 1, "number": 1.5, "boolean": True, "null": None, "array": []}
    if kind == "object":
        return _arguments(schema, text)
    return plain[kind] if isinstance(kind, str) and kind in plain else text


def _events(plan: _Plan) -> Iterator[Json]:
    usage = {
        "input_tokens": plan.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 1,
    }
    message: Json = {"id": plan.identifier, "type": "message", "role": "assistant", "model": plan.model, "content": [],
               "stop_reason": None, "stop_sequence": None, "usage": usage}  # fmt: skip
    yield {"type": "message_start", "message": message}
    written = 0
    for index, block in enumerate(plan.content):
        for event in _block_events(index, block):
            written += event["type"] == "content_block_delta"
            yield event
    stop, sequence = plan.stop
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
        for word in re.finditer(r"\S+\s*|\s+", block["text"]):
            yield delta({"type": "text_delta", "text": word[0]})
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
