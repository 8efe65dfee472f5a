"""Providers with teeth: they check what the real ones check, and mint thinking that is bound to the conversation before it.

Pure functions from a request body to an answer. Every answer asks for two tools at once until it has seen their results, then says what it saw.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

Json = dict[str, Any]

_SECRET = b"only the provider knows"


class Refused(Exception):
    """The provider answers with this error."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(body)
        self.status = status
        self.body = body


def _seal(*parts: Any) -> str:
    data = json.dumps(parts, sort_keys=True).encode()
    return hmac.new(_SECRET, data, hashlib.sha256).hexdigest()


def _plain(value: Any) -> Any:
    """Without cache breakpoints, which bind nothing."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if key != "cache_control"}
    return [_plain(item) for item in value] if isinstance(value, list) else value


# --- Claude ----------------------------------------------------------------------------------------------------------


def _claude_error(message: str) -> Refused:
    return Refused(
        400, {"type": "error", "error": {"type": "invalid_request_error", "message": message}, "request_id": "req_1"}
    )


class FakeClaude:
    """`POST /v1/messages` of a model with preserved thinking."""

    def __init__(self) -> None:
        self.requests: list[Json] = []

    def answer(self, body: Json) -> Json:
        """A whole message. Raises `Refused`."""
        self.requests.append(body)
        self._check(body)
        messages = body["messages"]
        prefix = self._prefix(body, len(messages))
        turn = len(messages)
        thought = f"Thought {turn}."
        blocks: list[Json] = [
            {"type": "thinking", "thinking": thought, "signature": _seal(prefix, thought)},
            {"type": "redacted_thinking", "data": _seal(prefix, "redacted")},
        ]
        results = (
            [block for block in messages[-1]["content"] if block["type"] == "tool_result"]
            if messages[-1]["role"] == "user"
            else []
        )
        tools = [tool["name"] for tool in body.get("tools", ())]
        if tools and not results:
            blocks.append({"type": "text", "text": "Let me see. "})
            blocks.append(
                {"type": "thinking", "thinking": "Both at once.", "signature": _seal(prefix, "Both at once.")}
            )
            blocks += [
                {"type": "tool_use", "id": f"toolu_{turn}_{i}", "name": name, "input": self._input(body, name)}
                for i, name in enumerate(tools[:2])
            ]
            stop = "tool_use"
        else:
            seen = ", ".join(self._text_of(block.get("content", "")) for block in results)
            blocks.append({"type": "text", "text": f"I saw: {seen}." if seen else f"Answer {turn}."})
            stop = "end_turn"
        usage = {
            "input_tokens": 10,
            "cache_creation_input_tokens": 2,
            "cache_read_input_tokens": 3,
            "output_tokens": 20,
            "output_tokens_details": {"thinking_tokens": 5},
        }
        return {
            "id": f"msg_{turn:02}",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": blocks,
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": usage,
        }

    def _input(self, body: Json, name: str) -> Json:
        schema = next(tool for tool in body["tools"] if tool["name"] == name)["input_schema"]
        return dict.fromkeys(schema.get("properties", {}), f"für {name}")

    @staticmethod
    def _text_of(content: Any) -> str:
        if isinstance(content, str):
            return content
        return " ".join(block.get("text", block["type"]) for block in content)

    @staticmethod
    def _prefix(body: Json, count: int) -> str:
        return _seal(_plain(body.get("system")), _plain(body.get("tools")), _plain(body["messages"][:count]))

    def _check(self, body: Json) -> None:
        for field in ("model", "max_tokens", "messages"):
            if field not in body:
                raise _claude_error(f"{field}: Field required")
        for field in ("temperature", "top_p", "top_k"):
            if field in body:
                raise _claude_error(f"{field}: not supported by this model")
        messages = body["messages"]
        if not messages or messages[0]["role"] != "user":
            raise _claude_error('messages: first message must use the "user" role')
        for block in body.get("system", ()):
            self._check_text(block, "system")
        for i, message in enumerate(messages):
            self._check_message(body, i, message)

    def _check_message(self, body: Json, i: int, message: Json) -> None:
        messages = body["messages"]
        if not message["content"]:
            raise _claude_error(f"messages.{i}: all messages must have non-empty content")
        before = messages[i - 1] if i else {"role": "", "content": []}
        if message["role"] == "system" and before["role"] != "user":
            raise _claude_error(f"messages.{i}: a system message must follow a user turn")
        if message["role"] == "system" and i + 1 < len(messages) and messages[i + 1]["role"] != "assistant":
            raise _claude_error(f"messages.{i}: a system message must be last or be followed by an assistant turn")
        asked = (
            [block["id"] for block in before["content"] if block["type"] == "tool_use"]
            if before["role"] == "assistant"
            else []
        )
        given = [block["tool_use_id"] for block in message["content"] if block["type"] == "tool_result"]
        if sorted(asked) != sorted(given):
            raise _claude_error(
                f"messages.{i}: `tool_use` ids were found without `tool_result` blocks immediately after: {asked} and {given}"
            )
        kinds = [block["type"] for block in message["content"]]
        if "tool_result" in kinds[len(given) :]:
            raise _claude_error(f"messages.{i}: tool results must come first")
        for block in message["content"]:
            self._check_block(body, i, block)

    def _check_block(self, body: Json, i: int, block: Json) -> None:
        self._check_text(block, f"messages.{i}")
        if block["type"] == "tool_use" and not isinstance(block["input"], dict):
            raise _claude_error(f"messages.{i}: tool_use.input: Input should be an object")
        prefix = self._prefix(body, i)
        if block["type"] == "thinking" and block["signature"] != _seal(prefix, block["thinking"]):
            raise _claude_error(
                f"messages.{i}: Invalid `signature` in `thinking` block. The block is bound to a different conversation"
            )
        if block["type"] == "redacted_thinking" and block["data"] != _seal(prefix, "redacted"):
            raise _claude_error(
                f"messages.{i}: Invalid `data` in `redacted_thinking` block. The block is bound to a different conversation"
            )

    @staticmethod
    def _check_text(block: Json, where: str) -> None:
        if block["type"] == "text" and not block["text"].strip():
            raise _claude_error(f"{where}: text content blocks must contain non-whitespace text")


def claude_stream(message: Json) -> list[Json]:
    """A message as its stream."""
    events: list[Json] = [
        {
            "type": "message_start",
            "message": {
                **message,
                "content": [],
                "stop_reason": None,
                "usage": {**message["usage"], "output_tokens": 1},
            },
        }
    ]
    for index, block in enumerate(message["content"]):
        start, deltas = dict(block), []
        match block["type"]:
            case "text":
                start["text"] = ""
                deltas = [{"type": "text_delta", "text": word} for word in _pieces(block["text"])]
            case "thinking":
                start.update(thinking="", signature="")
                deltas = [{"type": "thinking_delta", "thinking": word} for word in _pieces(block["thinking"])]
                deltas.append({"type": "signature_delta", "signature": block["signature"]})
            case "tool_use":
                start["input"] = {}
                deltas = [
                    {"type": "input_json_delta", "partial_json": word}
                    for word in _pieces(json.dumps(block["input"], ensure_ascii=False))
                ]
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    delta = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    return [*events, {"type": "message_delta", "delta": delta, "usage": message["usage"]}, {"type": "message_stop"}]


def _pieces(text: str) -> list[str]:
    return [text[i : i + 4] for i in range(0, len(text), 4)]


# --- Codex -----------------------------------------------------------------------------------------------------------

CODEX_ALLOWED = {
    "model",
    "instructions",
    "input",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning",
    "store",
    "stream",
    "include",
    "prompt_cache_key",
    "text",
    "service_tier",
    "client_metadata",
}


def _detail(text: str) -> Refused:
    return Refused(400, {"detail": text})


class FakeCodex:
    """`POST /responses` of the Codex backend: always streamed, nothing stored, an allow-list of parameters."""

    def __init__(self) -> None:
        self.requests: list[Json] = []

    def answer(self, body: Json) -> Json:
        """A whole response object, reasoning and two calls at once or a message. Raises `Refused`."""
        self.requests.append(body)
        self._check(body)
        items = body["input"]
        turn = len(items)
        output: list[Json] = [self._reasoning(body, turn, f"Thought {turn}.")]
        tools = self._tools(body)
        results = self._results(items)
        if tools and not results:
            output.append(self._message(turn, "Let me see."))
            output.append(self._reasoning(body, turn, ""))
            output += [self._call(turn, i, tool) for i, tool in enumerate(tools[:2])]
        else:
            output.append(self._message(turn, f"I saw: {', '.join(results)}." if results else f"Answer {turn}."))
        return {
            "id": f"resp_{turn:02}",
            "object": "response",
            "created_at": 1700000000,
            "model": body["model"],
            "status": "completed",
            "output": output,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": {
                "input_tokens": 15,
                "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
                "output_tokens": 20,
                "output_tokens_details": {"reasoning_tokens": 5},
                "total_tokens": 35,
            },
        }

    def _reasoning(self, body: Json, turn: int, text: str) -> Json:
        identity = f"rs_{turn}_{'a' if text else 'b'}"
        summary = (
            [{"type": "summary_text", "text": text}] if text and (body.get("reasoning") or {}).get("summary") else []
        )
        item: Json = {"id": identity, "type": "reasoning", "summary": summary}
        if "reasoning.encrypted_content" in body.get("include", ()):
            item["encrypted_content"] = _seal(identity)
        return item

    @staticmethod
    def _message(turn: int, text: str) -> Json:
        content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
        return {
            "id": f"msg_{turn}",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "phase": "final_answer",
            "content": content,
        }

    @staticmethod
    def _call(turn: int, i: int, tool: Json) -> Json:
        common = {"status": "completed", "call_id": f"call_{turn}_{i}", "name": tool["name"]}
        if tool["type"] == "custom":
            return {"id": f"ctc_{turn}_{i}", "type": "custom_tool_call", "input": 'say "hi"\n', **common}
        arguments = dict.fromkeys(tool["parameters"].get("properties", {}), f"für {tool['name']}")
        return {
            "id": f"fc_{turn}_{i}",
            "type": "function_call",
            "arguments": json.dumps(arguments, ensure_ascii=False),
            **common,
        }

    @staticmethod
    def _tools(body: Json) -> list[Json]:
        return list(body.get("tools", ()))

    @staticmethod
    def _results(items: list[Json]) -> list[str]:
        found: list[str] = []
        for item in reversed(items):
            if not item["type"].endswith("_output"):
                break
            output = item["output"]
            found.append(
                output if isinstance(output, str) else " ".join(part.get("text", part["type"]) for part in output)
            )
        return found[::-1]

    def _check(self, body: Json) -> None:
        for name in body:
            if name not in CODEX_ALLOWED:
                raise _detail(f"Unsupported parameter: {name}")
        if body.get("store") is not False:
            raise _detail("Store must be set to false")
        if body.get("stream") is not True:
            raise _detail("Stream must be set to true")
        if "instructions" not in body:
            raise _detail("Instructions are required")
        if not isinstance(body["input"], list) or not body["input"]:
            raise _detail("Input must be a list")
        for tool in self._tools(body):
            if tool["type"] == "function" and tool.get("strict", True) is not False:
                required = set(tool["parameters"].get("required", ()))
                if required != set(tool["parameters"].get("properties", {})):
                    raise _detail(f"Invalid schema for function '{tool['name']}': 'required' must name every property")
        self._check_items(body["input"])

    def _check_items(self, items: list[Json]) -> None:
        asked: dict[str, str] = {}
        for i, item in enumerate(items):
            kind = item["type"]
            if item.get("role") == "system":
                raise _detail("System messages are not allowed")
            if kind == "message":
                wanted = "output_text" if item["role"] == "assistant" else "input_"
                if not isinstance(item["content"], str) and not all(
                    part["type"].startswith(wanted) for part in item["content"]
                ):
                    raise _detail(f"input[{i}]: wrong content for role {item['role']}")
            if kind == "reasoning":
                if item.get("encrypted_content") != _seal(item.get("id")):
                    raise _detail(f"The encrypted content of item {item.get('id')} could not be verified")
                if i + 1 == len(items) or items[i + 1]["type"] not in (
                    "message",
                    "function_call",
                    "custom_tool_call",
                    "reasoning",
                ):
                    raise _detail(
                        f"Item '{item['id']}' of type 'reasoning' was provided without its required following item"
                    )
            if kind in ("function_call", "custom_tool_call"):
                asked[item["call_id"]] = kind
            if kind.endswith("_output") and asked.pop(item["call_id"], "") != kind.removesuffix("_output"):
                raise _detail(f"No tool call found for {kind} with call_id {item['call_id']}")
        if asked:
            raise _detail(f"No tool output found for function call {next(iter(asked))}")


def codex_stream(response: Json) -> list[Json]:
    """A response object as its stream, with the calls at its end interleaved."""
    events: list[Json] = [
        {"type": "response.created", "response": {**response, "status": "in_progress", "output": [], "usage": None}}
    ]
    lanes: list[list[Json]] = []
    for place, item in enumerate(response["output"]):
        lane = _codex_item(place, item)
        if item["type"] in ("function_call", "custom_tool_call"):
            lanes.append(lane)
        else:
            events += lane
    for step in range(max((len(lane) for lane in lanes), default=0)):
        events += [lane[step] for lane in lanes if step < len(lane)]
    events.append({"type": "response.completed", "response": response})
    return [{**event, "sequence_number": i} for i, event in enumerate(events)]


def _codex_item(place: int, item: Json) -> list[Json]:
    at = {"output_index": place, "item_id": item["id"]}
    begun, between = dict(item), []
    match item["type"]:
        case "reasoning":
            begun.update(summary=[], encrypted_content="")
            for number, part in enumerate(item["summary"]):
                between += [
                    {"type": "response.reasoning_summary_text.delta", **at, "summary_index": number, "delta": word}
                    for word in _pieces(part["text"])
                ]
        case "message":
            begun.update(content=[], status="in_progress")
            for number, part in enumerate(item["content"]):
                here = {**at, "content_index": number}
                between.append({"type": "response.content_part.added", **here, "part": {**part, "text": ""}})
                between += [
                    {"type": "response.output_text.delta", **here, "delta": word, "logprobs": [], "obfuscation": "x"}
                    for word in _pieces(part["text"])
                ]
                between.append({"type": "response.content_part.done", **here, "part": part})
        case "function_call":
            begun.update(arguments="", status="in_progress")
            between = [
                {"type": "response.function_call_arguments.delta", **at, "delta": word}
                for word in _pieces(item["arguments"])
            ]
        case "custom_tool_call":
            begun.update(input="", status="in_progress")
            between = [
                {"type": "response.custom_tool_call_input.delta", **at, "delta": word}
                for word in _pieces(item["input"])
            ]
    return [
        {"type": "response.output_item.added", "output_index": place, "item": begun},
        *between,
        {"type": "response.output_item.done", "output_index": place, "item": item},
    ]
