"""Odd JSON on the routes that are answered in this process: a 400 in the client's format or an answer, never a failure of ccproxy's."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.claude_sdk.conftest import MODEL, claude_processes, until
from tests.fakes.messages_upstream import MessagesUpstream
from tests.fakes.proxy import Proxy, running

pytestmark = pytest.mark.e2e

PLACE = "PLACE"


@pytest.fixture
async def proxy(
    upstream: MessagesUpstream, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Proxy]:
    monkeypatch.setenv("HOME", environment["HOME"])
    own = {"api_key": "sk-ant-dummy", "base_url": upstream.url}
    async with running(tmp_path, None, providers={"claude_sdk": own}) as started:
        yield started


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def nested_objects(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


VALUES = [
    '"\\ud800"',
    '"a\\udfffb"',
    '"a\\u0000b"',
    '""',
    '"  "',
    "null",
    "true",
    "0",
    "-1",
    "1.5",
    "1e400",
    "-1e400",
    "NaN",
    "Infinity",
    "9" * 400,
    "9" * 5000,
    "18446744073709551616",
    "{}",
    "[]",
    "[[]]",
    "[{}]",
    "[null]",
    '[{"type": {}}]',
    '[{"type": "text"}]',
    '[{"type": "text", "text": {}}]',
    '[{"type": "tool_result"}]',
    '[{"type": "tool_result", "tool_use_id": []}]',
    '[{"type": "tool_use", "id": {}, "name": []}]',
    '[{"type": "image"}]',
    '[{"type": "image", "source": 1}]',
    '{"type": []}',
    '{"\\ud800": 1}',
    nested(300),
    nested(5000),
    nested_objects(300),
    nested_objects(5000),
]

CHAT = '{"model": "%s", "messages": [{"role": "user", "content": "hi"}]%s}'
RESPONSES = '{"model": "%s", "input": [{"role": "user", "content": "hi"}]%s}'
MESSAGES = '{"model": "%s", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]%s}'

# Each has one place for an odd value.
BODIES: dict[str, list[str]] = {
    "messages": [
        '{"model": PLACE, "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}',
        '{"model": "%s", "max_tokens": PLACE, "messages": [{"role": "user", "content": "hi"}]}',
        '{"model": "%s", "max_tokens": 100, "messages": PLACE}',
        '{"model": "%s", "max_tokens": 100, "messages": [PLACE]}',
        '{"model": "%s", "max_tokens": 100, "messages": [{"role": PLACE, "content": "hi"}]}',
        '{"model": "%s", "max_tokens": 100, "messages": [{"role": "user", "content": PLACE}]}',
        '{"model": "%s", "max_tokens": 100, "messages": [{"role": "user", "content": [PLACE]}]}',
        *(MESSAGES.replace("%s}", f', "{name}": PLACE}}') for name in (
            "system", "tools", "tool_choice", "stop_sequences", "metadata", "thinking", "output_config", "stream",
            "temperature", "betas", "cache_control", "other",
        )),
        MESSAGES.replace("%s}", ', "tools": [{"name": "t", "input_schema": PLACE}]}'),
        MESSAGES.replace("%s}", ', "tools": [{"name": PLACE, "input_schema": {}}]}'),
        MESSAGES.replace("%s}", ', "tools": [PLACE], "tool_choice": {"type": "any"}}'),
    ],
    "chat/completions": [
        '{"model": "%s", "messages": [{"role": PLACE, "content": "hi"}]}',
        '{"model": "%s", "messages": [{"role": "user", "content": PLACE}]}',
        *(CHAT.replace("%s}", f', "{name}": PLACE}}') for name in ("tools", "stop", "max_tokens", "response_format", "other")),
    ],
    "responses": [
        '{"model": "%s", "input": PLACE}',
        '{"model": "%s", "input": [{"role": PLACE, "content": "hi"}]}',
        *(RESPONSES.replace("%s}", f', "{name}": PLACE}}') for name in ("tools", "instructions", "text", "reasoning", "other")),
    ],
}  # fmt: skip


async def outcome(client: httpx.AsyncClient, path: str, body: bytes) -> int:
    response = await client.post(path, content=body, headers={"content-type": "application/json"})
    shown = (path, body[:300], response.status_code, response.text[:500])
    assert response.status_code in {200, 400}, shown
    if response.status_code == 400:
        assert response.json()["error"]["message"], shown
    else:
        assert "error" not in response.text[:20], shown
    assert response.headers.get("x-ccproxy-loss", "").isprintable(), shown
    return response.status_code


async def all_outcomes(proxy: Proxy, prefix: str, model: str, way: str, bodies: list[str]) -> list[int]:
    seen = []
    async with httpx.AsyncClient(base_url=proxy.url, trust_env=False, timeout=60) as client:
        for body in bodies:
            text = body.replace("%s", model)
            for value in VALUES:
                seen.append(await outcome(client, f"{prefix}/v1/{way}", text.replace(PLACE, value).encode()))
    return seen


@pytest.mark.parametrize("way", ["messages", "messages/count_tokens", "chat/completions", "responses"])
async def test_the_mock(proxy: Proxy, way: str, caplog: pytest.LogCaptureFixture) -> None:
    bodies = BODIES[way.removesuffix("/count_tokens")]
    for model in ("mock-claude", "mock-stop"):
        seen = await all_outcomes(proxy, "/mock", model, way, bodies)
        assert {200, 400} == set(seen)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_counting_for_claude(proxy: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    await all_outcomes(proxy, "/claude", MODEL, "messages/count_tokens", BODIES["messages"])
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("way", ["messages", "chat/completions", "responses"])
async def test_values_that_claude_code_never_sees(proxy: Proxy, way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Values that no place of a request may have."""
    never = ['"\\ud800"', "1e400", "NaN", "9" * 400, "18446744073709551616", nested(300), nested(5000)]
    async with httpx.AsyncClient(base_url=proxy.url, trust_env=False, timeout=60) as client:
        for body in BODIES[way]:
            if '"stream": PLACE' in body:
                continue
            for value in never:
                text = body.replace("%s", MODEL).replace(PLACE, value)
                assert await outcome(client, f"/claude/v1/{way}", text.encode()) in {200, 400}
    await until(lambda: claude_processes() == [])  # where a translation leaves the odd part out, there is an answer
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


LARGE = {
    "200,000 messages": {
        "messages": [{"role": ("user", "assistant")[at % 2], "content": "x"} for at in range(200_001)]
    },
    "messages of one role": {"messages": [{"role": "user", "content": "x"}] * 200_000},
    "100,000 stops": {"stop_sequences": ["abcdefghijklmnopqrstuvwxyz"] * 100_000},
    "100,000 tools": {"tools": [{"name": f"t{number}", "input_schema": {}} for number in range(100_000)]},
    "100,000 blocks": {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}] * 100_000}]},
    "one long word": {"messages": [{"role": "user", "content": "[[tool:" * 1_000_000}]},
    "5,000,000 values": {"other": [0] * 5_000_000},
}


@pytest.mark.parametrize("prefix", ["/mock", "/claude"])
@pytest.mark.parametrize("name", list(LARGE))
async def test_large_requests(proxy: Proxy, prefix: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    model = "mock-stop" if prefix == "/mock" else MODEL
    body = {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}], **LARGE[name]}
    async with httpx.AsyncClient(base_url=proxy.url, trust_env=False, timeout=60) as client:
        await outcome(client, f"{prefix}/v1/messages", json.dumps(body).encode())
        await outcome(client, f"{prefix}/v1/messages/count_tokens", json.dumps(body).encode())
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


ANSWERED: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "a\0b"}], "system": "a\0b"},
    {"metadata": None, "thinking": None, "tools": None, "stop_sequences": None, "system": None, "temperature": None},
    {"tools": [{"name": "t", "input_schema": {"type": "object", "maximum": 2**63}}]},
    {"stop_sequences": ["x"] * 10_000},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}] * 1000}]},
]


@pytest.mark.parametrize("fields", ANSWERED, ids=range(len(ANSWERED)))
async def test_what_claude_code_answers(proxy: Proxy, upstream: MessagesUpstream, fields: dict[str, Any]) -> None:
    body = {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}], **fields}
    async with httpx.AsyncClient(base_url=proxy.url, trust_env=False, timeout=60) as client:
        assert await outcome(client, "/claude/v1/messages", json.dumps(body).encode()) == 200
    assert len(upstream.calls) == 1
