"""Fakes of the two upstreams, with the standard library alone. They keep every request and every answer as bytes.

A `[[marker]]` in the last user text picks what happens: `[[tool]]`, `[[400]]`, `[[429]]`, `[[529]]`, `[[toolong]]`, `[[midstream]]`,
`[[failed]]`, `[[incomplete]]`. Both refuse what the real ones are known to refuse.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import re
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from tests.conformance.wire import Exchange, Message

Json = dict[str, Any]
COMMAND = "echo hello-from-tool"
CLAUDE_SAYS = "Hello from the fake Claude ✓"
CODEX_SAYS = "Hello from the fake Codex ✓"
TOOL_SAID = "The tool said hello-from-tool."
TOO_LONG = "prompt is too long: 210000 tokens > 200000 maximum"
SUMMARY = "Summary of what was said so far."

ANTHROPIC_QUOTA = {
    "anthropic-organization-id": "org-fake",
    "anthropic-ratelimit-unified-status": "allowed",
    "anthropic-ratelimit-unified-reset": "1893456000",
    "anthropic-ratelimit-unified-representative-claim": "five_hour",
    "anthropic-ratelimit-unified-5h-status": "allowed",
    "anthropic-ratelimit-unified-5h-utilization": "0.12",
    "anthropic-ratelimit-unified-7d-utilization": "0.34",
}
CODEX_QUOTA = {
    "x-codex-primary-used-percent": "12.5",
    "x-codex-primary-window-minutes": "300",
    "x-codex-primary-reset-at": "1893456000",
    "x-codex-secondary-used-percent": "40.0",
    "x-codex-secondary-window-minutes": "10080",
    "x-codex-plan-type": "pro",
    "x-codex-turn-state": "turn-state-fake",
    "x-models-etag": 'W/"fake-etag"',
}
CATALOGUE_ETAG = 'W/"fake-etag"'
REFUSED = frozenset({
    "max_output_tokens", "max_tokens", "max_completion_tokens", "temperature", "top_p", "presence_penalty", "frequency_penalty", "seed",
    "metadata", "top_logprobs", "truncation", "user", "context_management", "prompt_cache_retention", "prompt_cache_options",
    "safety_identifier", "previous_response_id",
})  # fmt: skip


@dataclass
class Upstream:
    """One fake and what it has seen."""

    url: str
    seen: list[Exchange] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    """The parsed bodies, one for each of `seen`."""

    def clear(self) -> None:
        self.seen.clear()
        self.bodies.clear()

    def requests(self, method: str, ending: str) -> list[tuple[Exchange, Any]]:
        """What was asked, with its parsed body."""
        return [
            (exchange, body)
            for exchange, body in zip(self.seen, self.bodies, strict=True)
            if exchange.request.method == method and exchange.request.path.endswith(ending)
        ]


@contextlib.contextmanager
def serving(handler: type[Fake]) -> Iterator[Upstream]:
    """A fake on a free port of 127.0.0.1."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    upstream = Upstream(f"http://127.0.0.1:{server.server_port}")
    server.upstream = upstream  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield upstream
    finally:
        server.shutdown()
        server.server_close()


class Fake(BaseHTTPRequestHandler):
    """Reads, keeps and answers requests; the upstreams differ in `answer`."""

    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle_one_request()

    def do(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0)) if "content-length" in self.headers else b""
        if "chunked" in (self.headers.get("transfer-encoding") or ""):
            raw = self._chunks()
        request = Message(self.requestline, list(self.headers.items()), raw)
        decoded = _decoded(self.headers.get("content-encoding", ""), raw)
        try:
            body = json.loads(decoded) if decoded else None
        except ValueError:
            body = None
        self.exchange = Exchange(request)
        upstream: Upstream = self.server.upstream  # type: ignore[attr-defined]
        upstream.seen.append(self.exchange)
        upstream.bodies.append(body)
        self.answer(request, body)

    do_GET = do_POST = do_HEAD = do

    def answer(self, request: Message, body: Any) -> None:
        raise NotImplementedError

    def whole(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body, ensure_ascii=False).encode()
        fields = [("Content-Type", "application/json"), *(headers or {}).items(), ("Content-Length", str(len(data)))]
        self._head(status, fields)
        self.wfile.write(data)
        self.exchange.response = Message(f"HTTP/1.1 {status} X", fields, data)

    def stream(self, events: list[Json], headers: dict[str, str]) -> None:
        fields = [
            ("Content-Type", "text/event-stream; charset=utf-8"),
            *headers.items(),
            ("Transfer-Encoding", "chunked"),
        ]
        self._head(200, fields)
        body = b""
        for event in events:
            data = f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode()
            body += data
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")
        self.exchange.response = Message("HTTP/1.1 200 X", fields, body)

    def log_message(self, *args: Any) -> None:
        return

    def _head(self, status: int, fields: list[tuple[str, str]]) -> None:
        self.send_response_only(status)
        for name, value in fields:
            self.send_header(name, value)
        self.end_headers()

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body


def _decoded(encoding: str, body: bytes) -> bytes:
    if encoding == "zstd":
        import zstandard

        return zstandard.ZstdDecompressor().decompressobj().decompress(body)
    return {"gzip": gzip.decompress, "deflate": zlib.decompress}.get(encoding, bytes)(body)


def _marker(text: str) -> str:
    found = re.findall(r"\[\[([a-z0-9]+)\]\]", text)
    return found[-1] if found else ""


# ---- Anthropic


class Anthropic(Fake):
    """api.anthropic.com, as far as Claude Code and the SDKs ask it."""

    errors: ClassVar[dict[str, tuple[int, str, str]]] = {
        "400": (400, "invalid_request_error", "messages.0: bad, as asked for"),
        "toolong": (400, "invalid_request_error", TOO_LONG),
        "401": (401, "authentication_error", "invalid x-api-key"),
        "429": (
            429,
            "rate_limit_error",
            "This request would exceed your account's rate limit. Please try again later.",
        ),
        "529": (529, "overloaded_error", "Overloaded"),
    }
    models = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5")

    def answer(self, request: Message, body: Any) -> None:
        path = request.path
        if request.method == "HEAD":
            self._head(200, [("Content-Length", "0")])
        elif path == "/v1/messages":
            self._message(body)
        elif path == "/v1/messages/count_tokens":
            self.whole(200, {"input_tokens": max(1, len(request.body) // 4)}, ANTHROPIC_QUOTA)
        elif path == "/v1/models":
            data = [
                {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"}
                for name in self.models
            ]
            self.whole(200, {"data": data, "has_more": False, "first_id": self.models[0], "last_id": self.models[-1]})
        elif path.startswith("/v1/models/"):
            name = path.rpartition("/")[2]
            self.whole(200, {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"})
        else:
            self._error(404, "not_found_error", "Not Found")

    def _error(self, status: int, kind: str, message: str, headers: dict[str, str] | None = None) -> None:
        body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_fake"}
        self.whole(status, body, {**ANTHROPIC_QUOTA, "request-id": "req_fake", **(headers or {})})

    def _message(self, body: Json) -> None:
        said, has_result = _last_said(body["messages"])
        marker = _marker(said)
        if marker in self.errors and not has_result:
            extra = {"retry-after": "3600", "x-should-retry": "false"} if marker == "429" else {}
            self._error(*self.errors[marker], extra)
            return
        if missing := _unanswered_tool(body["messages"]):
            self._error(400, "invalid_request_error", f"tool_use {missing} has no tool_result")
            return
        blocks = list(self._blocks(body, said, marker, has_result=has_result))
        usage = {
            "input_tokens": 100,
            "cache_creation_input_tokens": 10,
            "cache_read_input_tokens": 20,
            "output_tokens": 1,
        }
        stop = "tool_use" if blocks[-1]["type"] == "tool_use" else "end_turn"
        message = {
            "id": "msg_fake", "type": "message", "role": "assistant", "model": body["model"], "content": [],
            "stop_reason": None, "stop_sequence": None, "usage": usage,
        }  # fmt: skip
        headers = {**ANTHROPIC_QUOTA, "request-id": "req_fake"}
        if not body.get("stream"):
            self.whole(
                200,
                {**message, "content": blocks, "stop_reason": stop, "usage": {**usage, "output_tokens": 12}},
                headers,
            )
            return
        events = list(_message_events(message, blocks, stop))
        if marker == "midstream":
            error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
            events = [*events[: len(events) // 2], error]
        self.stream(events, headers)

    def _blocks(self, body: Json, said: str, marker: str, *, has_result: bool) -> Iterator[Json]:
        if (body.get("thinking") or {}).get("type") in {"enabled", "adaptive"}:
            yield {"type": "thinking", "thinking": "fake thoughts", "signature": "RmFrZVNpZ25hdHVyZQ=="}
        tools = {tool["name"]: tool for tool in body.get("tools") or () if "name" in tool}
        if marker == "tool" and not has_result and tools:
            name, arguments = _shell_call(tools)
            yield {"type": "tool_use", "id": "toolu_fake01", "name": name, "input": arguments}
        elif "<summary>" in said:
            yield {"type": "text", "text": f"<summary>{SUMMARY}</summary>"}
        else:
            yield {"type": "text", "text": TOOL_SAID if has_result else CLAUDE_SAYS}


def _last_said(messages: list[Json]) -> tuple[str, bool]:
    """The text of the last user message, and whether it brings a tool's result (the marker is then an earlier one's)."""
    last = next((each for each in reversed(messages) if each["role"] == "user"), {"content": ""})
    content = last["content"] if isinstance(last["content"], list) else [{"type": "text", "text": last["content"]}]
    said = " ".join(str(block.get("text", "")) for block in content if block.get("type") == "text")
    return said, any(block.get("type") == "tool_result" for block in content)


def _unanswered_tool(messages: list[Json]) -> str | None:
    """The real API refuses a call that the next message does not answer."""
    for message, following in zip(messages, [*messages[1:], {"content": []}], strict=True):
        if message["role"] != "assistant" or not isinstance(message["content"], list):
            continue
        calls = {block["id"] for block in message["content"] if block.get("type") == "tool_use"}
        content = following["content"] if isinstance(following["content"], list) else []
        if calls - {block.get("tool_use_id") for block in content}:
            return min(calls)
    return None


def _shell_call(tools: dict[str, Json]) -> tuple[str, Json]:
    """A call of whatever runs a command: Claude Code's Bash, Codex's exec_command, an SDK's only tool."""
    if "Bash" in tools:
        return "Bash", {"command": COMMAND, "description": "say hello"}
    name = next((each for each in tools if each.endswith(("exec_command", "shell"))), next(iter(tools)))
    schema = tools[name].get("input_schema") or tools[name].get("parameters") or {}
    wanted = schema.get("required") or list(schema.get("properties") or {})[:1]
    return name, dict.fromkeys(wanted, COMMAND)


def _message_events(message: Json, blocks: list[Json], stop: str) -> Iterator[Json]:
    yield {"type": "message_start", "message": message}
    yield {"type": "ping"}
    for index, block in enumerate(blocks):
        empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}, "tool_use": {"input": {}}}[
            block["type"]
        ]
        yield {"type": "content_block_start", "index": index, "content_block": {**block, **empty}}
        for delta in _deltas(block):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": stop, "stop_sequence": None},
        "usage": {**message["usage"], "output_tokens": 12},
    }
    yield {"type": "message_stop"}


def _deltas(block: Json) -> Iterator[Json]:
    if block["type"] == "text":
        yield from ({"type": "text_delta", "text": piece} for piece in re.findall(r"\S+\s*", block["text"]))
    elif block["type"] == "thinking":
        yield {"type": "thinking_delta", "thinking": block["thinking"]}
        yield {"type": "signature_delta", "signature": block["signature"]}
    else:
        text = json.dumps(block["input"])
        yield from ({"type": "input_json_delta", "partial_json": text[at : at + 9]} for at in range(0, len(text), 9))


# ---- Codex


class Codex(Fake):
    """The Codex backend below /backend-api/codex, and what else the Codex CLI requests from chatgpt.com."""

    errors: ClassVar[dict[str, tuple[int, Json]]] = {
        "400": (400, {"error": {
            "message": "Invalid value, as asked for.", "type": "invalid_request_error", "param": "input[0]", "code": "invalid_value",
        }}),
        "429": (429, {"error": {
            "type": "usage_limit_reached", "message": "The usage limit has been reached", "plan_type": "pro", "resets_at": 1893456000,
            "resets_in_seconds": 12345,
        }}),
    }  # fmt: skip

    def answer(self, request: Message, body: Any) -> None:
        path = request.path
        if request.get("upgrade").lower() == "websocket":
            self.whole(500, {"detail": "a WebSocket reached the upstream"})
        elif path.endswith("/responses") and request.method == "POST":
            self._respond(body, request)
        elif path.endswith("/codex/models"):
            self.whole(200, CATALOGUE, {"ETag": CATALOGUE_ETAG})
        elif path.endswith("/accounts/check"):
            account = {
                "id": ACCOUNT,
                "workspace_backend_origin": "NO_CONSTRAINT",
                "account_routing_override": "NO_CONSTRAINT",
            }
            self.whole(200, {"accounts": [account], "account_ordering": [ACCOUNT], "default_account_id": ACCOUNT})
        else:
            self.whole(404, {"detail": "Not Found"})

    def _respond(self, body: Json, request: Message) -> None:
        if refusal := _refusal(body, lite=bool(request.get("x-openai-internal-codex-responses-lite"))):
            self.whole(400, {"detail": refusal})
            return
        said, has_output = _last_input(body["input"])
        marker = _marker(said)
        if marker in self.errors and not has_output:
            status, error = self.errors[marker]
            self.whole(status, error, CODEX_QUOTA)
            return
        self.stream(list(_response_events(body, marker, has_output=has_output)), CODEX_QUOTA)


def _refusal(body: Json, *, lite: bool) -> str:
    """What public reports show the backend to refuse."""
    if body.get("store") is not False:
        return "Store must be set to false"
    if body.get("stream") is not True:
        return "Stream must be set to true"
    if not isinstance(body.get("input"), list):
        return "Input must be a list"
    if "instructions" not in body and not lite and not any(item.get("role") == "developer" for item in body["input"]):
        return "Instructions are required"
    if any(item.get("role") == "system" for item in body["input"]):
        return "System messages are not allowed"
    return next((f"Unsupported parameter: {name}" for name in body if name in REFUSED), "")


def _last_input(items: list[Json]) -> tuple[str, bool]:
    said, at = "", -1
    for index, item in enumerate(items):
        if item.get("role") == "user":
            content = item.get("content", "")
            parts = content if isinstance(content, list) else [{"text": content}]
            said, at = " ".join(str(part.get("text", "")) for part in parts), index
    kinds = [str(item.get("type", "")) for item in items[at + 1 :]]
    return said, any(kind.endswith("_output") or kind == "compaction" for kind in kinds)


def _response_events(body: Json, marker: str, *, has_output: bool) -> Iterator[Json]:
    """The events of a response, numbered as the real ones are."""
    for number, event in enumerate(_unnumbered(body, marker, has_output=has_output)):
        yield {**event, "sequence_number": number}


def _unnumbered(body: Json, marker: str, *, has_output: bool) -> Iterator[Json]:
    response: Json = {
        "id": "resp_fake", "object": "response", "created_at": 1767225600, "model": body.get("model"), "status": "in_progress", "output": [],
        "error": None, "incomplete_details": None, "instructions": None, "metadata": {}, "parallel_tool_calls": True, "temperature": 1.0,
        "tool_choice": "auto", "tools": [], "top_p": 1.0, "usage": None,
    }  # fmt: skip
    yield {"type": "response.created", "response": response}
    yield {"type": "response.in_progress", "response": response}
    if marker == "failed" and not has_output:
        failed = {**response, "status": "failed", "error": {"code": "server_error", "message": "failed, as asked for"}}
        yield {"type": "response.failed", "response": failed}
        return
    output = list(_output(body, marker, has_output=has_output))
    for index, item in enumerate(output):
        yield from _item_events(index, item)
    read = (
        100_000 if marker == "bigtool" and not has_output else 100
    )  # over the limit of the row about compaction, once
    usage = {
        "input_tokens": read, "input_tokens_details": {"cached_tokens": 20}, "output_tokens": 12,
        "output_tokens_details": {"reasoning_tokens": 3}, "total_tokens": read + 12,
    }  # fmt: skip
    done = {**response, "status": "completed", "output": output, "usage": usage}
    if marker == "incomplete":
        done |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    yield {"type": f"response.{done['status']}", "response": done}


def _output(body: Json, marker: str, *, has_output: bool) -> Iterator[Json]:
    if body["input"][-1].get("type") == "compaction_trigger":
        yield {"type": "compaction", "id": "cmp_fake", "encrypted_content": "fake-compaction"}
        return
    if "reasoning.encrypted_content" in (body.get("include") or ()):
        yield {
            "type": "reasoning",
            "id": "rs_fake",
            "summary": [{"type": "summary_text", "text": "fake thoughts"}],
            "encrypted_content": "fake-reasoning",
        }
    if marker in {"tool", "bigtool"} and not has_output:
        yield _tool_call(body, marker)
        return
    text = TOOL_SAID if has_output else CODEX_SAYS
    yield {
        "type": "message", "id": "msg_fake", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }  # fmt: skip


def _tool_call(body: Json, marker: str) -> Json:
    command = "seq 1 30000" if marker == "bigtool" else COMMAND
    tools = dict(_tools(body))
    if (own := tools.get("exec")) and own[1].get("type") == "custom":  # the Codex CLI in the Lite shape runs JavaScript
        script = f'const r = await tools.exec_command({{cmd: "{command}"}}); text(r.output);'
        return {
            "type": "custom_tool_call",
            "id": "ctc_fake",
            "call_id": "call_fake01",
            "name": "exec",
            "input": script,
            "status": "completed",
        }
    name, arguments = _shell_call({each: tool for each, (_, tool) in tools.items() if tool.get("type") == "function"})
    arguments = {key: command if value == COMMAND else value for key, value in arguments.items()}
    space = {"namespace": tools[name][0]} if tools[name][0] else {}
    return {
        "type": "function_call", "id": "fc_fake", "call_id": "call_fake01", "name": name, "arguments": json.dumps(arguments), "status": "completed",
        **space,
    }  # fmt: skip


def _tools(body: Json) -> Iterator[tuple[str, tuple[str, Json]]]:
    """Every tool by name, with the namespace that it stands in: the Lite shape has them in an item of the input."""
    extra = [tool for item in body["input"] if item.get("type") == "additional_tools" for tool in item["tools"]]
    for tool in (body.get("tools") or []) + extra:
        if tool.get("type") == "namespace":
            yield from ((inner["name"], (tool["name"], inner)) for inner in tool["tools"])
        elif "name" in tool:
            yield tool["name"], ("", tool)


def _item_events(index: int, item: Json) -> Iterator[Json]:
    kind = item["type"]
    empty = {
        "message": {"content": []},
        "function_call": {"arguments": ""},
        "custom_tool_call": {"input": ""},
        "reasoning": {"summary": []},
    }
    yield {
        "type": "response.output_item.added",
        "output_index": index,
        "item": {**item, **empty.get(kind, {}), "status": "in_progress"},
    }
    at = {"item_id": item["id"], "output_index": index}
    if kind == "message":
        part = item["content"][0]
        yield {"type": "response.content_part.added", **at, "content_index": 0, "part": {**part, "text": ""}}
        for piece in re.findall(r"\S+\s*", part["text"]):
            yield {"type": "response.output_text.delta", **at, "content_index": 0, "delta": piece, "logprobs": []}
        yield {"type": "response.output_text.done", **at, "content_index": 0, "text": part["text"], "logprobs": []}
        yield {"type": "response.content_part.done", **at, "content_index": 0, "part": part}
    elif kind == "reasoning":
        part = item["summary"][0]
        yield {"type": "response.reasoning_summary_part.added", **at, "summary_index": 0, "part": {**part, "text": ""}}
        yield {"type": "response.reasoning_summary_text.delta", **at, "summary_index": 0, "delta": part["text"]}
        yield {"type": "response.reasoning_summary_text.done", **at, "summary_index": 0, "text": part["text"]}
        yield {"type": "response.reasoning_summary_part.done", **at, "summary_index": 0, "part": part}
    elif kind == "function_call":
        yield {"type": "response.function_call_arguments.delta", **at, "delta": item["arguments"]}
        yield {
            "type": "response.function_call_arguments.done",
            **at,
            "name": item["name"],
            "arguments": item["arguments"],
        }
    elif kind == "custom_tool_call":
        yield {"type": "response.custom_tool_call_input.delta", **at, "delta": item["input"]}
        yield {"type": "response.custom_tool_call_input.done", **at, "input": item["input"]}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


# ---- a made-up ChatGPT login

ACCOUNT = "acct-fake-0001"


def jwt(kind: str) -> str:
    """A token in the shape of a ChatGPT login's, made here and good for nothing."""

    def part(value: Json) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    auth = {
        "chatgpt_account_id": ACCOUNT,
        "chatgpt_plan_type": "pro",
        "chatgpt_user_id": "user-fake",
        "user_id": "user-fake",
    }
    claims = {
        "exp": 4102444800, "iat": 1700000000, "sub": "auth0|dummy", "email": "dummy@example.invalid", "kind": kind,
        "https://api.openai.com/auth": auth, "https://api.openai.com/profile": {"email": "dummy@example.invalid"},
    }  # fmt: skip
    return ".".join([part({"alg": "none", "typ": "JWT"}), part(claims), part({})])


CATALOGUE: Json = {"models": []}
"""The Codex CLI falls back to its own catalogue when the backend lists nothing, which keeps this one small."""
