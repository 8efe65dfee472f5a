"""Requests of any size: the work is linear in what the client sent, and what is too much is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from ccproxy.errors import BadRequest
from ccproxy.providers import json_edit
from ccproxy.translate import capsule, jsontext
from ccproxy.translate.exchange import Translated, translate_request
from ccproxy.translate.formats import Format
from ccproxy.translate.replay import ReplayCache
from tests.examples.answers import EVENTS, sse
from tests.fakes.scaling import assert_linear_work

Json = dict[str, Any]
A, C, R = Format
DIRECTIONS = [(client, upstream) for client in Format for upstream in Format if client is not upstream]
directions = pytest.mark.parametrize(("client", "upstream"), DIRECTIONS)
EMPTY = {"type": "object", "properties": {}}
SAID = {"role": "user", "content": "x"}


def asking(client: Format, messages: list[Json] | None = None, **more: Any) -> Json:
    body: Json = {"model": "m", "input" if client is R else "messages": messages or [SAID], **more}
    return {**body, "max_tokens": 10} if client is A else body


def tool(client: Format, name: str) -> Json:
    match client:
        case Format.ANTHROPIC:
            return {"name": name, "input_schema": EMPTY}
        case Format.OPENAI_CHAT:
            return {"type": "function", "function": {"name": name, "parameters": EMPTY}}
        case Format.OPENAI_RESPONSES:
            return {"type": "function", "name": name, "parameters": EMPTY}


def texts(client: Format, role: str, n: int) -> Json:
    kind = "text" if client is not R else "output_text" if role == "assistant" else "input_text"
    return {"role": role, "content": [{"type": kind, "text": "x"}] * n}


def calls(client: Format, n: int) -> list[Json]:
    """So many calls in one turn, and their results."""
    match client:
        case Format.ANTHROPIC:
            uses = [{"type": "tool_use", "id": f"c{i}", "name": "t", "input": {}} for i in range(n)]
            results = [{"type": "tool_result", "tool_use_id": f"c{i}", "content": "x"} for i in range(n)]
            return [SAID, {"role": "assistant", "content": uses}, {"role": "user", "content": results}]
        case Format.OPENAI_CHAT:
            function = {"name": "t", "arguments": "{}"}
            made = [{"id": f"c{i}", "type": "function", "function": function} for i in range(n)]
            results = [{"role": "tool", "tool_call_id": f"c{i}", "content": "x"} for i in range(n)]
            return [SAID, {"role": "assistant", "tool_calls": made}, *results]
        case Format.OPENAI_RESPONSES:
            made = [{"type": "function_call", "call_id": f"c{i}", "name": "t", "arguments": "{}"} for i in range(n)]
            results = [{"type": "function_call_output", "call_id": f"c{i}", "output": "x"} for i in range(n)]
            return [SAID, *made, *results]


def allowed(client: Format, n: int) -> Json:
    names = [f"tool{i}" for i in range(n)]
    functions = [{"type": "function", "name": name} for name in names]
    choice: Json = {"type": "allowed_tools", "mode": "auto", "tools": functions}
    if client is C:
        functions = [{"type": "function", "function": {"name": name}} for name in names]
        choice = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": functions}}
    return asking(client, tools=[tool(client, name) for name in names], tool_choice=choice)


CHAT_THOUGHT = capsule.seal(C, "m", {"reasoning_content": "word " * 40})
Shape = Callable[[Format, int], Json]
FOR_ALL: dict[str, tuple[Shape, int]] = {
    "tools": (lambda c, n: asking(c, tools=[tool(c, f"tool{i}") for i in range(n)]), 700),
    "tools of one name": (lambda c, n: asking(c, tools=[tool(c, "same")] * n), 700),
    "tools of long names": (lambda c, n: asking(c, tools=[tool(c, "x" * 200 + str(i)) for i in range(n)]), 700),
    "messages": (
        lambda c, n: asking(c, [SAID, *[{"role": ("user", "assistant")[i % 2], "content": "x"} for i in range(n)]]),
        2000,
    ),
    "messages of one role": (lambda c, n: asking(c, [SAID, *[{"role": "assistant", "content": "x"}] * n]), 2000),
    "instructions in between": (lambda c, n: asking(c, [SAID, *[{"role": "system", "content": "x"}] * n, SAID]), 2000),
    "parts": (lambda c, n: asking(c, [texts(c, "user", n)]), 2000),
    "parts of an answer": (lambda c, n: asking(c, [SAID, texts(c, "assistant", n)]), 2000),
    "calls": (lambda c, n: asking(c, calls(c, n)), 700),
    "unknown keys": (lambda c, n: asking(c, **{f"key{i}": 1 for i in range(n)}), 2000),
    "unknown keys in messages": (lambda c, n: asking(c, [{**SAID, "zz": 1}] * n), 700),
    "one long text": (lambda c, n: asking(c, [{"role": "user", "content": "é~\ud800" * 100 * n}]), 700),
    "blanks": (lambda c, n: asking(c, [{"role": "user", "content": " " * 1000 * n}, SAID]), 700),
}
FOR_ONE: dict[str, tuple[Format, Shape, int]] = {
    "thoughts of a chat server": (
        A,
        lambda c, n: asking(
            c,
            [
                SAID,
                {
                    "role": "assistant",
                    "content": [
                        *[{"type": "thinking", "thinking": "", "signature": CHAT_THOUGHT}] * n,
                        {"type": "text", "text": "x"},
                    ],
                },
            ],
        ),
        2000,
    ),
    "reasoning items": (
        R,
        lambda c, n: asking(
            c,
            [
                SAID,
                *[{"type": "reasoning", "summary": [], "encrypted_content": CHAT_THOUGHT}] * n,
                texts(c, "assistant", 1),
            ],
        ),
        2000,
    ),
    "reasoning before every part": (
        C,
        lambda c, n: asking(
            c,
            [
                SAID,
                {
                    **texts(c, "assistant", n),
                    "reasoning_details": [
                        {
                            "type": "reasoning.text",
                            "text": "t",
                            "signature": "s",
                            "format": "anthropic-claude-v1",
                            "pos": 0,
                        }
                    ]
                    * n,
                },
            ],
        ),
        2000,
    ),
    "tools that items bring along": (
        R,
        lambda c, n: asking(c, [SAID, *[{"type": "additional_tools", "tools": [tool(c, f"t{i}")]} for i in range(n)]]),
        700,
    ),
    "tools of a namespace": (
        R,
        lambda c, n: asking(
            c,
            tools=[
                {
                    "type": "namespace",
                    "name": "ns",
                    "description": "word",
                    "tools": [tool(c, f"t{i}") for i in range(n)],
                }
            ],
        ),
        700,
    ),
    "allowed tools": (R, allowed, 500),
    "allowed tools in Chat": (C, allowed, 500),
    "the name of an output format": (
        C,
        lambda c, n: asking(
            c,
            response_format={"type": "json_schema", "json_schema": {"name": "n" * 1000 * n, "schema": EMPTY}},
        ),
        700,
    ),
    "percent signs": (
        C,
        lambda c, n: asking(
            c,
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "file", "file": {"file_data": "data:text/plain," + "%41a" * 100 * n, "filename": "a"}}
                    ],
                }
            ],
        ),
        500,
    ),
    "examples of input": (
        A,
        lambda c, n: asking(c, tools=[{**tool(c, "t"), "input_examples": [{"a": 1}] * n}]),
        2000,
    ),
}


def check_linear(client: Format, upstream: Format, shape: Shape, size: int) -> None:
    cache = ReplayCache()

    def prepare(n: int) -> Callable[[], object]:
        body = shape(client, n)

        def work() -> None:
            exchange = translate_request(client, upstream, body, replay_cache=cache)
            exchange.encode()
            exchange.loss_header()
            exchange.stream_translator().close()

        return work

    assert_linear_work(prepare, size)


@directions
@pytest.mark.parametrize("shape", FOR_ALL)
def test_work_on_requests_is_linear(client: Format, upstream: Format, shape: str) -> None:
    check_linear(client, upstream, *FOR_ALL[shape])


@pytest.mark.parametrize("shape", FOR_ONE)
def test_work_on_special_requests_is_linear(shape: str) -> None:
    client, *work = FOR_ONE[shape]
    for upstream in Format:
        if upstream is not client:
            check_linear(client, upstream, *work)


# --- very large, very deep --------------------------------------------------------------------------------------------


@directions
def test_200_000_messages_are_translated(client: Format, upstream: Format) -> None:
    exchange = translate_request(client, upstream, asking(client, [SAID] * 200_000))
    assert len(exchange.encode()) > 1_000_000


@pytest.mark.parametrize("client", [A, C])
def test_100_000_stop_sequences_are_translated_or_refused_by_name(client: Format) -> None:
    field = "stop_sequences" if client is A else "stop"
    body = asking(client, **{field: [f"stop {i}" for i in range(100_000)]})
    for upstream in Format:
        if upstream is R:
            with pytest.raises(BadRequest) as refusal:
                translate_request(client, upstream, body)
            assert refusal.value.param == field
        elif upstream is not client:
            translate_request(client, upstream, body).encode()


def deep(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def refused(work: Callable[[], object]) -> BadRequest | None:
    try:
        work()
    except BadRequest as error:
        return error
    return None


def check_answered(exchange: Translated) -> None:
    assert exchange.encode()
    stream = exchange.stream_translator()
    out = stream.feed(sse(exchange.upstream, EVENTS[exchange.upstream])) + stream.close()
    assert stream.finished
    assert out


@directions
@pytest.mark.parametrize("depth", [100, 190, 300, 500, 900, 1000, 5000])
@pytest.mark.parametrize("place", ["tool", "argument", "unknown", "metadata", "choice", "message"])
def test_nesting_of_any_depth_is_translated_or_refused_by_its_path(
    client: Format, upstream: Format, depth: int, place: str
) -> None:
    inner = deep(depth)
    messages = [SAID]
    more: Json = {}
    match place:
        case "tool":
            described = tool(client, "t")
            holder = described["function"] if client is C else described
            holder["input_schema" if client is A else "parameters"] = {"type": "object", "properties": {"a": inner}}
            more["tools"] = [described]
        case "argument":
            messages = calls(client, 1)
            match client:
                case Format.ANTHROPIC:
                    messages[1]["content"][0]["input"] = {"a": inner}
                case Format.OPENAI_CHAT:
                    messages[1]["tool_calls"][0]["function"] = {"name": "t", "arguments": _json({"a": inner})}
                case Format.OPENAI_RESPONSES:
                    messages[1]["arguments"] = _json({"a": inner})
        case "unknown":
            more["unknown"] = inner
        case "metadata":
            more["metadata"] = {"a": inner}
        case "choice":
            more["tool_choice"] = {"type": "auto", "a": inner}
        case "message":
            messages = [{**SAID, "content": inner}]
    refusal = refused(lambda: check_answered(translate_request(client, upstream, asking(client, messages, **more))))
    if refusal is not None:
        assert refusal.param
        assert len(refusal.message) < 2000
        assert depth > 150 or place in ("message", "choice")
    while isinstance(inner, dict | list) and inner:  # taken apart by hand: the interpreter's own way is recursive
        inner = inner.pop() if isinstance(inner, list) else inner.popitem()[1]


def _json(value: Any) -> str:
    """JSON of any depth, which the standard library does not write."""
    opening, closing = [], []
    while isinstance(value, dict | list):
        opening.append('{"a":' if isinstance(value, dict) else "[")
        closing.append("}" if isinstance(value, dict) else "]")
        value = value["a"] if isinstance(value, dict) else value[0]
    return "".join(opening) + json.dumps(value) + "".join(reversed(closing))


@pytest.mark.parametrize("depth", [300, 1000, 5000, 100_000])
def test_deep_bodies_are_read_or_refused(depth: int) -> None:
    data = b'{"model": "m", "messages": ' + b"[" * depth + b"]" * depth + b"}"
    for client in Format:
        upstream = A if client is not A else C
        assert refused(lambda: translate_request(client, upstream, json_edit.loads(data)))  # noqa: B023 - called at once


def test_the_limit_of_depth_does_not_depend_on_the_stack() -> None:
    def at(level: int, work: Callable[[], object]) -> object:
        return at(level - 1, work) if level else work()

    body = asking(A, [SAID], tools=[{"name": "t", "input_schema": {"type": "object", "properties": {"a": deep(180)}}}])
    shallow = translate_request(A, C, body).encode()
    assert at(400, lambda: translate_request(A, C, body).encode()) == shallow
    assert at(400, lambda: jsontext.dump_bytes(deep(250))) == jsontext.dump_bytes(deep(250))
    for level in (0, 400):
        with pytest.raises(jsontext.TooDeep):
            at(level, lambda: jsontext.dump_bytes(deep(255)))
