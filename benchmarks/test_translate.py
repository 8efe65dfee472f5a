"""How long a translation takes. Outside the suite:

.venv/bin/pip install -c constraints.txt --group bench
.venv/bin/python -m pytest benchmarks -p no:cacheprovider --benchmark-sort=name --benchmark-columns=min,median,rounds
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccproxy.providers import json_edit
from ccproxy.translate import jsontext
from ccproxy.translate.exchange import ReplayCache, translate_request
from ccproxy.translate.formats import Format
from ccproxy.translate.profiles import AnthropicProfile, ChatProfile, Profile, ResponsesProfile

Json = dict[str, Any]
A, C, R = Format

WORDS = "the file path value returns a token for each stream event and the parser reads it from its buffer until nothing is left over; "
LINE = '   {n:5d}  def read_{n}(self, path: str) -> bytes:  # é ✓ "quoted"\n'


def prose(size: int) -> str:
    return (WORDS * (size // len(WORDS) + 1))[:size]


def code(size: int, seed: int) -> str:
    return "".join(LINE.format(n=seed + i) for i in range(size // len(LINE) + 1))[:size]


def tools() -> list[tuple[str, str, Json]]:
    schema = {
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": prose(120)},
            "limit": {"type": "integer"},
            "edits": {"type": "array", "items": {"type": "object"}},
        },
        "required": ["path"],
    }
    return [(f"Tool{i}", prose(600), schema) for i in range(24)]


def history(fmt: Format, messages: int = 218, size: int = 7600) -> Json:
    """A conversation of a coding client, about 1 MB: question, answer with a call, result, answer, …"""
    turns: list[Json] = []
    for k in range(messages - 1):
        call, step = f"toolu_{k // 4:024d}", k % 4
        if step in (0, 3):
            turns.append(_said(fmt, "user" if step == 0 else "assistant", prose(size // 2)))
        elif step == 1:
            turns += _called(fmt, call, f"Tool{k % 24}", {"path": f"src/file_{k}.py", "limit": k}, prose(size // 4))
        else:
            turns.append(_result(fmt, call, code(size, k)))
    turns.append(_said(fmt, "user", "Go on, please."))
    system = prose(6000)
    match fmt:
        case Format.ANTHROPIC:
            offered = [{"name": name, "description": text, "input_schema": schema} for name, text, schema in tools()]
            return {
                "model": "claude-opus-5",
                "max_tokens": 1024,
                "system": [{"type": "text", "text": system}],
                "messages": turns,
                "tools": offered,
            }
        case Format.OPENAI_CHAT:
            offered = [
                {"type": "function", "function": {"name": name, "description": text, "parameters": schema}}
                for name, text, schema in tools()
            ]
            return {
                "model": "claude-opus-5",
                "messages": [{"role": "system", "content": system}, *turns],
                "tools": offered,
            }
        case Format.OPENAI_RESPONSES:
            offered = [
                {"type": "function", "name": name, "description": text, "parameters": schema, "strict": False}
                for name, text, schema in tools()
            ]
            return {"model": "claude-opus-5", "instructions": system, "input": turns, "tools": offered, "store": False}


def _said(fmt: Format, role: str, text: str) -> Json:
    match fmt:
        case Format.ANTHROPIC:
            return {"role": role, "content": [{"type": "text", "text": text}]}
        case Format.OPENAI_CHAT:
            return {"role": role, "content": text}
        case Format.OPENAI_RESPONSES:
            kind = "input_text" if role == "user" else "output_text"
            return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def _called(fmt: Format, call: str, name: str, given: Json, text: str) -> list[Json]:
    match fmt:
        case Format.ANTHROPIC:
            return [
                {
                    "role": "assistant",
                    "content": [
                        {"type": "text", "text": text},
                        {"type": "tool_use", "id": call, "name": name, "input": given},
                    ],
                }
            ]
        case Format.OPENAI_CHAT:
            function = {"name": name, "arguments": json.dumps(given)}
            return [
                {
                    "role": "assistant",
                    "content": text,
                    "tool_calls": [{"id": call, "type": "function", "function": function}],
                }
            ]
        case Format.OPENAI_RESPONSES:
            item = {"type": "function_call", "call_id": call, "name": name, "arguments": json.dumps(given)}
            return [_said(fmt, "assistant", text), item]


def _result(fmt: Format, call: str, text: str) -> Json:
    match fmt:
        case Format.ANTHROPIC:
            return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call, "content": text}]}
        case Format.OPENAI_CHAT:
            return {"role": "tool", "tool_call_id": call, "content": text}
        case Format.OPENAI_RESPONSES:
            return {"type": "function_call_output", "call_id": call, "output": text}


CLAUDE = AnthropicProfile.of_model("claude-opus-5")
CODEX = ResponsesProfile.of_model("gpt-5.5", codex=True)
ROUTES: list[tuple[Format, Format, Profile]] = [
    (A, R, CODEX),
    (A, C, ChatProfile()),
    (C, A, CLAUDE),
    (C, R, CODEX),
    (R, A, CLAUDE),
    (R, C, ChatProfile()),
]
routes = pytest.mark.parametrize(
    ("client", "upstream", "profile"), ROUTES, ids=[f"{client}-to-{upstream}" for client, upstream, _ in ROUTES]
)


@routes
def test_history_of_218_messages_object_to_object(
    benchmark: Any, client: Format, upstream: Format, profile: Profile
) -> None:
    body = history(client)
    benchmark(lambda: translate_request(client, upstream, body, profile))


@routes
def test_history_of_218_messages_bytes_to_bytes(
    benchmark: Any, client: Format, upstream: Format, profile: Profile
) -> None:
    data = jsontext.dump_bytes(history(client))
    assert 900_000 < len(data) < 1_200_000
    benchmark(lambda: translate_request(client, upstream, json_edit.loads(data), profile).encode())


def test_history_of_218_messages_with_a_filled_replay_cache(benchmark: Any) -> None:
    body = history(C)
    cache = ReplayCache()
    folder = translate_request(C, A, body, CLAUDE, replay_cache=cache).folder()
    thinking = {"type": "thinking", "thinking": "", "signature": "c2ln"}
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [thinking, {"type": "text", "text": "x"}],
        "stop_reason": "end_turn",
    }
    folder.feed_whole(message)
    assert folder.result()[0] == 200
    assert len(cache) == 1
    benchmark(lambda: translate_request(C, A, body, CLAUDE, replay_cache=cache))


ASKING: dict[Format, Json] = {
    A: {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}], "stream": True},
    C: {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True},
    R: {"model": "m", "input": "hi", "stream": True},
}
STARTS: dict[Format, bytes] = {
    A: b'data: {"type":"message_start","message":{"id":"msg_1","model":"m","usage":{"input_tokens":1}}}\n\n'
    b'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n',
    C: b"",
    R: b'data: {"type":"response.created","response":{"id":"resp_1","model":"m"}}\n\n'
    b'data: {"type":"response.content_part.added","output_index":0,"content_index":0,"part":{"type":"output_text","text":""}}\n\n',
}
DELTAS: dict[Format, bytes] = {
    A: b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" word"}}\n\n',
    C: b'data: {"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1700000000,"model":"gpt-5.5","service_tier":"default",'
    b'"choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}],"obfuscation":"abcdefgh"}\n\n',
    R: b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","content_index":0,"delta":" word",'
    b'"item_id":"msg_0123456789abcdef0123456789abcdef","logprobs":[],"obfuscation":"abcdefghijk","output_index":0,"sequence_number":4}\n\n',
}


@routes
def test_stream_event_bytes_to_bytes(benchmark: Any, client: Format, upstream: Format, profile: Profile) -> None:
    stream = translate_request(client, upstream, ASKING[client], profile).stream_translator()
    stream.feed(STARTS[upstream])
    delta = DELTAS[upstream]
    assert b" word" in stream.feed(delta)
    benchmark(stream.feed, delta)


@routes
def test_16_stream_events_in_one_chunk(benchmark: Any, client: Format, upstream: Format, profile: Profile) -> None:
    stream = translate_request(client, upstream, ASKING[client], profile).stream_translator()
    stream.feed(STARTS[upstream])
    benchmark(stream.feed, DELTAS[upstream] * 16)


@routes
def test_small_exchange(benchmark: Any, client: Format, upstream: Format, profile: Profile) -> None:
    """A request of 1 KB and its whole answer."""
    asked = jsontext.dump_bytes({**ASKING[client], "stream": False, **({"system": prose(800)} if client is A else {})})
    answers: dict[Format, Json] = {
        A: {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [{"type": "text", "text": prose(500)}],
            "stop_reason": "end_turn",
            "usage": {},
        },
        C: {
            "id": "chatcmpl-1",
            "model": "m",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": prose(500)}, "finish_reason": "stop"}],
        },
        R: {
            "id": "resp_1",
            "model": "m",
            "status": "completed",
            "output": [
                {
                    "id": "m",
                    "type": "message",
                    "role": "assistant",
                    "content": [{"type": "output_text", "text": prose(500), "annotations": []}],
                }
            ],
        },
    }
    answer = jsontext.dump_bytes(answers[upstream])

    def exchange() -> None:
        found = translate_request(client, upstream, json_edit.loads(asked), profile)
        found.encode()
        assert found.whole(200, answer)[0] == 200

    benchmark(exchange)
