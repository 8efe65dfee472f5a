"""The mock provider: the same answer to the same request, and each fault that its table promises."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import re
import tracemalloc
from typing import Any

import pytest

from ccproxy.errors import ExchangeError
from ccproxy.providers import mock as module
from ccproxy.providers.local import Dropped, LocalRequest
from ccproxy.providers.mock import FAULTS, MODELS, Mock

TOOLS = [
    {
        "name": "weather",
        "input_schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
    {"name": "clock", "input_schema": {"type": "object", "properties": {"zone": {"enum": ["UTC", "CET"]}}}},
]


def asked(text: str = "hello there", model: str = "mock-claude", **more: Any) -> LocalRequest:
    return LocalRequest({"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": text}], **more})


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


async def events(request: LocalRequest, mock: Mock | None = None) -> list[dict[str, Any]]:
    return [event async for event in (mock or Mock()).stream(request)]


def fold(found: list[dict[str, Any]]) -> dict[str, Any]:
    """A message from its events, checked to be in the order that the Messages API keeps."""
    assert found[0]["type"] == "message_start"
    assert [event["type"] for event in found[-2:]] == ["message_delta", "message_stop"]
    message = json.loads(json.dumps(found[0]["message"]))
    open_block: int | None = None
    for event in found[1:-2]:
        match event["type"]:
            case "content_block_start":
                assert open_block is None
                assert event["index"] == len(message["content"])
                open_block = event["index"]
                message["content"].append({**event["content_block"], "json": ""})
            case "content_block_delta":
                assert event["index"] == open_block
                block, delta = message["content"][-1], event["delta"]
                match delta["type"]:
                    case "text_delta":
                        block["text"] += delta["text"]
                    case "thinking_delta":
                        block["thinking"] += delta["thinking"]
                    case "signature_delta":
                        block["signature"] += delta["signature"]
                    case "input_json_delta":
                        block["json"] += delta["partial_json"]
                    case kind:
                        raise AssertionError(kind)
            case "content_block_stop":
                assert event["index"] == open_block
                open_block = None
            case kind:
                raise AssertionError(kind)
    assert open_block is None
    for block in message["content"]:
        partial = block.pop("json")
        if block["type"] == "tool_use":
            block["input"] = json.loads(partial)
    message |= found[-2]["delta"]
    message["usage"] = found[-2]["usage"]
    return message


async def test_it_echoes() -> None:
    message = fold(await events(asked("hello  there")))
    assert message["content"] == [{"type": "text", "text": "You said: hello  there"}]
    assert (message["stop_reason"], message["stop_sequence"], message["model"], message["role"]) == (
        "end_turn",
        None,
        "mock-claude",
        "assistant",
    )
    assert message["usage"]["input_tokens"] >= 1
    assert message["usage"]["output_tokens"] >= 1


async def test_the_same_request_has_the_same_answer_and_another_one_another() -> None:
    assert await events(asked()) == await events(asked())
    assert (await events(asked()))[0]["message"]["id"] != (await events(asked("other")))[0]["message"]["id"]


@pytest.mark.parametrize(
    ("text", "choice", "name", "arguments"),
    [
        ("Paris", {"type": "any"}, "weather", {"city": "Paris", "days": 1}),
        ("Paris", {"type": "tool", "name": "clock"}, "clock", {"zone": "UTC"}),
        ("Paris [[tool]]", None, "weather", {"city": "Paris", "days": 1}),
        ("[[tool:clock]]", {"type": "auto"}, "clock", {"zone": "UTC"}),
        ("[[tool:clock]]", {"type": "any"}, "clock", {"zone": "UTC"}),
    ],
)
async def test_it_calls_a_tool(text: str, choice: dict[str, Any] | None, name: str, arguments: dict[str, Any]) -> None:
    more = {"tool_choice": choice} if choice else {}
    message = fold(await events(asked(text, tools=TOOLS, **more)))
    call = message["content"][-1]
    assert (call["type"], call["name"], call["input"]) == ("tool_use", name, arguments)
    assert message["stop_reason"] == "tool_use"
    assert re.fullmatch(r"[a-zA-Z0-9_-]+", call["id"])


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("Paris", {"tools": TOOLS}), ("[[tool]]", {}), ("[[tool]]", {"tools": TOOLS, "tool_choice": {"type": "none"}}),
        ("[[tool:absent]]", {"tools": TOOLS}), ("x", {"tools": TOOLS, "tool_choice": {"type": "tool", "name": "absent"}}),
        ("x", {"tools": [{"type": "web_search_20250305"}], "tool_choice": {"type": "any"}}),
    ],
)  # fmt: skip
async def test_it_calls_none(text: str, more: dict[str, Any]) -> None:
    assert fold(await events(asked(text, **more)))["stop_reason"] == "end_turn"


async def test_it_tells_a_tools_result() -> None:
    messages = [
        {"role": "user", "content": "Paris [[tool]]"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "weather", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "rain"},
                                     {"type": "tool_result", "tool_use_id": "t2", "content": [{"type": "text", "text": "sun"}]}]},
    ]  # fmt: skip
    message = fold(await events(LocalRequest({"model": "m", "messages": messages, "tools": TOOLS})))
    assert message["content"][0]["text"] == "The tool said: rain; sun"


@pytest.mark.parametrize("thinking", [{"type": "enabled", "budget_tokens": 1024}, {"type": "adaptive"}])
async def test_it_thinks(thinking: dict[str, Any]) -> None:
    message = fold(await events(asked(thinking=thinking)))
    assert [block["type"] for block in message["content"]] == ["thinking", "text"]
    assert message["content"][0]["thinking"]
    assert message["content"][0]["signature"]
    assert fold(await events(asked(thinking={"type": "disabled"})))["content"][0]["type"] == "text"


async def test_it_says_what_else_was_sent() -> None:
    content = [{"type": "text", "text": "look"}, {"type": "image", "source": {"type": "base64", "data": "A" * 4000}}]
    request = LocalRequest({"model": "m", "messages": [{"role": "user", "content": content}]})
    assert "image" in fold(await events(request))["content"][0]["text"]
    assert (await Mock().count_tokens(request))["input_tokens"] < 100


# ---- faults


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 529])
async def test_error_statuses(status: int) -> None:
    with pytest.raises(ExchangeError) as caught:
        await events(asked(model=f"mock-{status}"))
    assert caught.value.status == status
    assert caught.value.kind in FAULTS[f"mock-{status}"]
    assert caught.value.headers == ({"retry-after": "1"} if status == 429 else {})


async def read(request: LocalRequest, seen: list[dict[str, Any]]) -> None:
    """Into a list of the caller's: what came before a fault is wanted."""
    async for event in Mock().stream(request):
        seen.append(event)


async def test_mock_error_and_mock_drop() -> None:
    for model, kind in (("mock-error", ExchangeError), ("mock-drop", Dropped)):
        seen: list[dict[str, Any]] = []
        with pytest.raises(kind):
            await read(asked("one two three four", model), seen)
        assert [event["type"] for event in seen[:2]] == ["message_start", "content_block_start"]
        assert "message_stop" not in {event["type"] for event in seen}


async def test_mock_slow() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    found = await events(asked(model="mock-slow"), Mock(sleep))
    assert slept == [0.05] * len(found)


async def test_mock_hang() -> None:
    hangs = asyncio.Event()

    async def sleep(seconds: float) -> None:
        hangs.set()
        await asyncio.Event().wait()

    seen: list[str] = []

    async def read() -> None:
        async for event in Mock(sleep).stream(asked(model="mock-hang")):
            seen.append(event["type"])

    task = asyncio.create_task(read())
    await hangs.wait()
    assert seen[0] == "message_start"
    assert "message_stop" not in seen
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("mock-max-tokens", "max_tokens"),
        ("mock-refusal", "refusal"),
        ("mock-empty", "end_turn"),
        ("mock-long", "end_turn"),
    ],
)
async def test_other_ends(model: str, reason: str) -> None:
    message = fold(await events(asked(model=model)))
    assert message["stop_reason"] == reason
    if model == "mock-empty":
        assert message["content"] == []
    if model == "mock-long":
        assert len(message["content"][0]["text"].split()) == 1000


async def test_mock_stop() -> None:
    message = fold(await events(asked(model="mock-stop", stop_sequences=["END", "X"])))
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "END")
    assert fold(await events(asked(model="mock-stop")))["stop_reason"] == "end_turn"


async def test_every_fault_is_listed_as_a_model() -> None:
    ids = [model["id"] for model in await Mock().models()]
    assert ids == list(MODELS)
    assert set(FAULTS) <= set(ids)
    source = inspect.getsource(module)
    assert set(re.findall(r'"(mock-[a-z0-9-]+)"', source)) <= set(ids)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "model"),
        ({"model": ""}, "model"),
        ({"model": 3, "messages": []}, "model"),
        ({"model": "m"}, "messages"),
        ({"model": "m", "messages": []}, "messages"),
        ({"model": "m", "messages": ["x"]}, "messages[0].role"),
        ({"model": "m", "messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"model": "m", "messages": [{"role": "user"}]}, "messages[0].content"),
        ({"model": "m", "messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"model": "m", "messages": [{"role": {}, "content": "x"}]}, "messages[0].role"),
        ({"model": "m" * 300, "messages": [{"role": "user", "content": "x"}]}, "model"),
        ({"model": "\ud800", "messages": [{"role": "user", "content": "x"}]}, "model"),
        ({"model": "m", "messages": [{"role": "user", "content": "a\udfffb"}]}, "messages[0].content"),
        ({**asked().body, "tools": 1}, "tools"),
        ({**asked().body, "stop_sequences": {"a": 1}}, "stop_sequences"),
        ({**asked().body, "temperature": float("inf")}, "temperature"),
        ({**asked().body, "temperature": float("nan")}, "temperature"),
        ({**asked().body, "max_tokens": 10**400}, "max_tokens"),
        ({**asked().body, "x": nested(5000)}, "x" + "[0]" * 19),
        ({**asked().body, "messages": [{"role": "user", "content": "x"}] * 200_000}, "messages"),
        ({**asked().body, "a\r\nb\ud800": 1}, '["a\\r\\nb\\ud800"]'),
    ],
    ids=itertools.count(),
)
async def test_what_is_no_request(body: dict[str, Any], param: str) -> None:
    for ask in (lambda: events(LocalRequest(body)), lambda: Mock().count_tokens(LocalRequest(body))):
        with pytest.raises(ExchangeError) as caught:
            await ask()
        assert (caught.value.status, caught.value.param) == (400, param)


async def outcome(request: LocalRequest) -> int:
    try:
        fold(await events(request))
    except ExchangeError as error:
        return error.status
    return 200


@pytest.mark.parametrize(
    "odd",
    [
        {"thinking": "yes"},
        {"thinking": None},
        {"tools": "x"},
        {"tools": [3, {"name": 4}], "tool_choice": {"type": "any"}},
        {"tool_choice": "any", "tools": TOOLS},
        {"stop_sequences": "END", "model": "mock-stop"},
        {"tools": [{"name": "t", "input_schema": {"properties": {"a": {"enum": []}}}}], "tool_choice": {"type": "any"}},
        {"tools": [{"name": "t", "input_schema": {"required": "a"}}], "tool_choice": {"type": "any"}},
        {"tools": [{"name": "t", "input_schema": 3}], "tool_choice": {"type": "any"}},
        {"tools": [{"name": "t", "input_schema": {"properties": []}}], "tool_choice": {"type": "any"}},
        {"system": 3},
        {"tool_choice": {"type": "tool", "name": []}, "tools": TOOLS},
        {"thinking": {"type": {}}},
        {"tools": [{"name": "t", "input_schema": {"required": [[]]}}], "tool_choice": {"type": "any"}},
        {"tools": [{"name": "t", "input_schema": {"required": {"a": 1}}}], "tool_choice": {"type": "any"}},
        {"tools": [{"name": "t", "input_schema": {"properties": {"a": 5}}}], "tool_choice": {"type": "any"}},
        {
            "tools": [{"name": "t", "input_schema": {"properties": {"a": {"enum": {"b": 1}}}}}],
            "tool_choice": {"type": "any"},
        },
        {
            "tools": [{"name": "t", "input_schema": {"type": {}, "properties": {"a": {"type": {}}}}}],
            "tool_choice": {"type": "any"},
        },
        {"stop_sequences": [{}], "model": "mock-stop"},
        {"stop_sequences": ["x"] * 100_000, "model": "mock-stop"},
        {"messages": [{"role": "user", "content": [1, None, {"type": {}}, {"type": "text", "text": {}}, {}]}]},
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": 5}]}]},
        {"messages": [{"role": "user", "content": "a\0b"}]},
        {"system": nested(150)},
    ],
    ids=itertools.count(),
)
async def test_odd_requests_are_answered_or_refused_and_break_nothing(odd: dict[str, Any]) -> None:
    assert await outcome(LocalRequest({**asked().body, **odd})) in {200, 400}


def test_the_mark_of_a_tool_is_searched_in_linear_work() -> None:
    """A mark is given up at the next bracket, so no letter is looked at twice: each start of a mark took all that follows before."""
    assert module.TOOL_MARK.search("[[tool:" * 300_000) is None
    assert module.TOOL_MARK.search("[[tool:" + "x" * 3_000_000) is None


async def test_arguments_grow_with_the_request_and_no_faster() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(12):  # 10**12 arguments if each name counted as often as it is required
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"] * 10}
    body = {"tools": [{"name": "t", "input_schema": schema}], "tool_choice": {"type": "any"}}
    (block,) = [block for block in fold(await events(asked(**body)))["content"] if block["type"] == "tool_use"]
    assert json.dumps(block["input"]).count('"a"') == 12
    many = {"properties": {f"p{number}": {} for number in range(20_000)}}
    with pytest.raises(ExchangeError) as caught:
        await events(asked(tools=[{"name": "t", "input_schema": many}]))
    assert (caught.value.status, caught.value.param) == (400, "tools")
    few = {"required": [f"p{number}" for number in range(1000)]}
    request = asked("x" * 1_000_000, tools=[{"name": "t", "input_schema": few}], tool_choice={"type": "any"})
    (call,) = [block for block in fold(await events(request))["content"] if block["type"] == "tool_use"]
    assert len(json.dumps(call["input"])) < 2_000_000


async def test_an_answer_is_made_as_it_is_read() -> None:
    """A text of many short words has an event for each of them: they are not all there at once."""
    stream = Mock().stream(asked("a " * 1_000_000))
    tracemalloc.start()
    async for event in stream:
        if event["type"] == "content_block_delta":
            break
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()
