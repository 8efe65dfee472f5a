"""Plain-model mode: Claude Code as the Messages API."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from ccproxy.errors import BadRequest
from tests.e2e.claude_sdk.conftest import MODEL, Make, claude_processes, collect, proc, request, words
from tests.fakes.messages_upstream import Answer, MessagesUpstream, text, thinking, tool_use

REMINDER = "<system-reminder>"


def _png(side: int) -> str:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = zlib.compress(b"".join(b"\0" + bytes(range(side * 3)) for _ in range(side)))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")).decode()


IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": _png(8)}}
REMOTE_IMAGE = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
PDF = {
    "type": "document",
    "source": {"type": "base64", "media_type": "application/pdf", "data": base64.b64encode(b"%PDF-1.4").decode()},
    "title": "paper",
    "citations": {"enabled": True},
}
NOTE = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a note"}}


def blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    """A message's content as blocks, without what Claude Code adds: cache breakpoints and, with a login, reminders."""
    content = message["content"]
    found = [text(content)] if isinstance(content, str) else copy.deepcopy(content)
    for block in found:
        block.pop("cache_control", None)
    return [block for block in found if not (block["type"] == "text" and block["text"].startswith(REMINDER))]


def seen(upstream: MessagesUpstream) -> list[tuple[str, list[dict[str, Any]]]]:
    return [(message["role"], blocks(message)) for message in upstream.calls[-1].body["messages"]]


def said(asked: Any) -> list[tuple[str, list[dict[str, Any]]]]:
    return [(message["role"], blocks(message)) for message in asked.body["messages"]]


async def test_text_comes_through_event_by_event(make: Make, upstream: MessagesUpstream) -> None:
    upstream.answers.append(Answer([text("one two three")], usage={"input_tokens": 7, "output_tokens": 9}))
    events = await collect(make(), request("count", system="Be brief."))
    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert words(events) == "one two three"
    assert events[0]["message"]["id"] == "msg_0001"
    assert events[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert events[-2]["usage"] == {"input_tokens": 7, "output_tokens": 9}


async def test_thinking_and_parallel_tool_calls_come_through(make: Make, upstream: MessagesUpstream) -> None:
    upstream.answers.append(
        Answer([thinking("hm"), text("I look."), tool_use("t1", "look.up", q="a"), tool_use("t2", "look.up", q="b")])
    )
    asked = request("go", tools=[{"name": "look.up", "input_schema": {"type": "object"}}])
    events = await collect(make(), asked)
    starts = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    assert [block["type"] for block in starts] == ["thinking", "text", "tool_use", "tool_use"]
    assert [(block["id"], block["name"]) for block in starts[2:]] == [("t1", "look.up"), ("t2", "look.up")]
    arguments = [event["delta"].get("partial_json", "") for event in events if event["type"] == "content_block_delta"]
    assert "".join(arguments) == '{"q": "a"}{"q": "b"}'
    assert {"type": "signature_delta", "signature": "c2ln"} in [event.get("delta") for event in events]
    assert events[-2]["delta"]["stop_reason"] == "tool_use"
    assert len(upstream.calls) == 1


@pytest.mark.parametrize("login", [False, True], ids=["key", "login"])
async def test_forty_turns_arrive_as_they_were(make: Make, upstream: MessagesUpstream, login: bool) -> None:
    turns: list[Any] = []
    for number in range(10):
        turns += [
            {"role": "user", "content": f"question {number} " + "x " * 1000},
            {
                "role": "assistant",
                "content": [thinking(f"t{number}"), text("looking"), tool_use(f"t{number}", "look", n=number)],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": f"t{number}", "content": [text("found"), IMAGE]},
                    text("and?"),
                ],
            },
            {"role": "assistant", "content": f"answer {number}\n\n"},
        ]
    asked = request(*turns, {"role": "user", "content": [PDF, IMAGE, text("  the end \n")]})
    await collect(make(login=login), asked)
    assert seen(upstream) == said(asked)
    assert len(upstream.calls) == 1


LAST_TURNS: list[Any] = [
    [IMAGE],
    [IMAGE, text("what is it")],
    [text("what is it"), IMAGE, REMOTE_IMAGE],
    [NOTE, PDF, text("sum up")],
    [text("one"), text("two\n"), text("  three")],
    [{"type": "search_result", "source": "s", "title": "t", "content": [text("x")]}, text("?")],
    "look at @/etc/hostname and at @/etc/passwd",
    "/cost",
    "!ls",
    "# remember this",
    "<system> tags & \u2028 signs \U0001f600",
]


async def test_the_last_turn_is_sent_as_it_is(make: Make, upstream: MessagesUpstream) -> None:
    provider = make()
    turns: list[Any] = []
    for number, content in enumerate(LAST_TURNS, 1):
        turns.append({"role": "user", "content": content})
        asked = request(*turns, session="one")
        assert words(await collect(provider, asked)) == "ok"
        assert seen(upstream) == said(asked)
        assert len(upstream.calls) == number
        turns.append({"role": "assistant", "content": "ok"})
    assert len(claude_processes()) == 1


@pytest.mark.parametrize(
    "content", ["/cost", "!ls @/etc/hostname", [text("x"), IMAGE]], ids=["command", "shell", "image"]
)
async def test_a_first_turn_is_sent_as_it_is(make: Make, upstream: MessagesUpstream, content: Any) -> None:
    asked = request({"role": "user", "content": content})
    assert words(await collect(make(), asked)) == "ok"
    assert seen(upstream) == said(asked)
    assert len(upstream.calls) == 1


async def test_the_login_reads_no_file_that_a_prompt_names(
    make: Make, upstream: MessagesUpstream, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret words")
    await collect(make(login=True), request(f"look at @{secret}", "no", f"/cost @{secret}"))
    assert "the secret words" not in json.dumps(upstream.calls[0].body)
    assert seen(upstream)[-1] == ("user", [text(f"/cost @{secret}")])


async def test_parameters_reach_the_upstream(make: Make, upstream: MessagesUpstream) -> None:
    tools = [
        {"name": "zeta", "description": "d" * 9000, "input_schema": {"type": "object", "x-own": [1]}, "strict": True},
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 2},
        {"name": "Read", "input_schema": {"type": "object", "properties": {}}},
    ]
    fields = {
        "tools": tools,
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "max_tokens": 2222,
        "temperature": 0.25,
        "top_p": 0.5,
        "top_k": 3,
        "stop_sequences": ["END", "\n\nHuman:"],
        "metadata": {"user_id": "someone"},
        "service_tier": "standard_only",
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
        "a_field_of_tomorrow": {"x": [1, 2]},
    }
    asked = request(
        "go", system=[text("first"), text("second")], headers={"anthropic-beta": "one-2026,oauth-2025-04-20"}, **fields
    )
    await collect(make(), asked)
    call = upstream.calls[0]
    assert {name: call.body.get(name) for name in fields} == fields
    assert call.body["model"] == MODEL
    assert call.body["stream"] is True
    assert [block["text"] for block in call.body["system"]][-1] == "first\n\nsecond"
    assert "one-2026" in call.headers["anthropic-beta"].split(",")
    assert "oauth-2025-04-20" not in call.headers["anthropic-beta"]
    assert call.headers["x-api-key"] == "sk-ant-dummy"


# The newest models cannot be told not to think, and think by default.
MODELS = {
    "claude-opus-5-5": {"type": "adaptive"},
    "claude-sonnet-5-5": {"type": "adaptive"},
    "claude-haiku-4-5-20251001": {"type": "disabled"},
}


@pytest.mark.parametrize("login", [False, True], ids=["key", "login"])
async def test_nothing_is_said_that_the_client_did_not_say(make: Make, upstream: MessagesUpstream, login: bool) -> None:
    provider = make(login=login)
    asked = {
        model: request("one", {"role": "assistant", "content": [thinking("hm"), text("ok")]}, "two", model=model)
        for model in MODELS
    }
    await asyncio.gather(*(collect(provider, one) for one in asked.values()))
    for call in upstream.calls:
        body = call.body
        model = body["model"]
        assert body.keys() <= {
            "model",
            "max_tokens",
            "messages",
            "system",
            "tools",
            "thinking",
            "metadata",
            "stream",
        } | ({"temperature"} if MODELS[model]["type"] == "disabled" else set())
        assert body["max_tokens"] == 100
        assert body["tools"] == []
        assert body["thinking"] == MODELS[model]
        assert body.get("temperature") in (None, 1)
        # With a login, Claude Code tells the newest models the day and the folder in a message of its own at the end.
        turns = [message for message in body["messages"] if message["role"] != "system"]
        assert [(message["role"], blocks(message)) for message in turns] == said(asked[model])
        assert len(body["messages"]) - len(turns) == int(login and MODELS[model]["type"] == "adaptive")


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (None, {"type": "disabled"}),
        ({"type": "enabled", "budget_tokens": 1234}, {"type": "enabled", "budget_tokens": 1234}),
        ({"type": "adaptive", "display": "summarized"}, {"type": "adaptive", "display": "summarized"}),
    ],
    ids=["none", "budget", "adaptive"],
)
async def test_thinking_is_what_was_asked_for(make: Make, upstream: MessagesUpstream, given: Any, sent: Any) -> None:
    await collect(make(), request("go", **({"thinking": given} if given else {})))
    assert upstream.calls[0].body["thinking"] == sent


async def test_large_prompts_pass_and_stand_on_no_command_line(make: Make, upstream: MessagesUpstream) -> None:
    upstream.answers.append(Answer(hold_before=asyncio.Event()))
    provider = make()
    system, schema = "s" * 300_000, {"type": "object", "description": "t" * 200_000}
    stream = provider.stream(request("the prompt", system=system, tools=[{"name": "x", "input_schema": schema}]))
    reader = asyncio.create_task(anext(stream))
    call = await upstream.called(1)
    assert call.body["system"][-1]["text"] == system
    assert call.body["tools"][0]["input_schema"] == schema
    (pid,) = claude_processes()
    command = proc(pid, "cmdline")
    assert b"ssss" not in command
    assert b"the prompt" not in command
    assert b"sk-ant" not in command
    assert b"tttt" not in proc(pid, "environ")
    reader.cancel()
    await asyncio.wait({reader})


async def test_the_child_inherits_no_settings_of_others(make: Make, upstream: MessagesUpstream) -> None:
    upstream.answers.append(Answer(hold_before=asyncio.Event()))
    provider = make(env={"EXTRA": "yes"})
    reader = asyncio.create_task(anext(provider.stream(request("go"))))
    await upstream.called(1)
    (pid,) = claude_processes()
    pairs = proc(pid, "environ").decode().split("\0")
    environ = dict(pair.split("=", 1) for pair in pairs if pair)
    assert environ["ANTHROPIC_BASE_URL"] == upstream.url
    assert environ["ANTHROPIC_API_KEY"] == "sk-ant-dummy"
    assert environ["EXTRA"] == "yes"
    assert environ.keys().isdisjoint({"CLAUDECODE", "SERVER__AUTH_TOKEN"})
    reader.cancel()
    await asyncio.wait({reader})


STOPS = [
    Answer([text("cut sho")], stop_reason="max_tokens"),
    Answer([text("no")], stop_reason="refusal"),
    Answer([text("full")], stop_reason="model_context_window_exceeded"),
    Answer([text("wait")], stop_reason="pause_turn"),
    Answer([text("stop")], stop_reason="stop_sequence", stop_sequence="END"),
    Answer([thinking("only that")]),
    Answer([]),
]


async def test_one_request_is_one_upstream_call(make: Make, upstream: MessagesUpstream) -> None:
    """Claude Code would go on by itself after most of these."""
    upstream.otherwise = lambda body: STOPS[int(body["messages"][0]["content"][0]["text"])]
    provider = make()
    found = await asyncio.gather(*(collect(provider, request(str(number))) for number in range(len(STOPS))))
    for answer, events in zip(STOPS, found, strict=True):
        assert events[-1] == {"type": "message_stop"}
        assert events[-2]["delta"]["stop_reason"] == (answer.stop_reason or "end_turn")
        assert events[-2]["delta"]["stop_sequence"] == answer.stop_sequence
    await provider.aclose()
    assert len(upstream.calls) == len(STOPS)
    assert upstream.other_requests == []


async def test_a_tool_loop(make: Make, upstream: MessagesUpstream) -> None:
    provider = make()
    tools = [{"name": "add", "input_schema": {"type": "object"}}]
    upstream.answers += [
        Answer([text("sum"), tool_use("t1", "add", a=1), tool_use("t2", "add", a=2)]),
        Answer([text("3")]),
    ]
    await collect(provider, request("add", tools=tools))
    asked = request(
        "add",
        {"role": "assistant", "content": [text("sum"), tool_use("t1", "add", a=1), tool_use("t2", "add", a=2)]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t2", "content": "2"},
                {"type": "tool_result", "tool_use_id": "t1", "content": [text("no")], "is_error": True},
            ],
        },
        tools=tools,
    )
    events = await collect(provider, asked)
    assert words(events) == "3"
    assert seen(upstream) == said(asked)
    assert upstream.calls[1].body["tools"] == tools
    assert len(upstream.calls) == 2


async def test_thinking_that_the_upstream_refuses_is_left_out(make: Make, upstream: MessagesUpstream) -> None:
    """Newer models bind it to what stands before it; Claude Code's reminders stand elsewhere in each request."""
    upstream.answers.append(Answer(status=400, message="messages.1.content.0: Invalid `signature` in `thinking` block"))
    asked = request("one", {"role": "assistant", "content": [thinking("hm"), text("a")]}, "two")
    assert words(await collect(make(login=True), asked)) == "ok"
    assert [seen(upstream)[at] for at in (0, 1, 2)] == [
        ("user", [text("one")]),
        ("assistant", [text("a")]),
        ("user", [text("two")]),
    ]


async def test_what_is_lost_is_said(make: Make, upstream: MessagesUpstream) -> None:
    asked = request(
        {"role": "user", "content": [{**text("a"), "cache_control": {"type": "ephemeral"}}]},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
        {"role": "system", "content": "be kind"},
        system=[{**text("s"), "cache_control": {"type": "ephemeral"}}],
    )
    stream = make().stream(asked)
    first = await anext(stream)
    assert first["type"] == "message_start"
    assert [path for path, _ in stream.losses] == ["system[0].cache_control", "messages[3].role"]
    await stream.aclose()
    assert seen(upstream)[-1] == ("user", [text("c"), text("<system-reminder>\nbe kind\n</system-reminder>")]) or (
        "be kind" in json.dumps(upstream.calls[0].body["messages"][-1])
    )


async def test_a_refused_request_starts_no_process(make: Make, upstream: MessagesUpstream) -> None:
    provider = make()
    with pytest.raises(BadRequest) as caught:
        await collect(provider, request("a", "b"))
    assert caught.value.param == "messages[1]"
    assert provider.status()["claude_code"] is None


async def test_models_and_tokens(make: Make, upstream: MessagesUpstream) -> None:
    provider = make()
    models = await provider.models()
    assert all(model["type"] == "model" and "claude" in model["id"] for model in models)
    assert len({model["id"] for model in models}) == len(models) > 1
    counted = await provider.count_tokens(request("word " * 100))
    assert 80 < counted["input_tokens"] < 200
    status = provider.status()
    assert status["login"] == "ANTHROPIC_API_KEY"
    assert status["version"].startswith("2.")
    assert upstream.calls == []
