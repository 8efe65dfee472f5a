"""What one client sends must not change the requests of another."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fakes.proxy import Proxy
from tests.fakes.upstream import Received, Upstream, Wire

Json = dict[str, Any]

OPTIONAL = ["parallel_tool_calls", "prompt_cache_key", "include"]
CORE = ["input", "model", "instructions", "tools", "stream", "store"]


class Codex:
    """A backend that refuses with a given message whatever has the word `odd` in it, and quotes the request."""

    def __init__(self, message: str) -> None:
        self.message = message
        self.bodies: list[Json] = []

    async def __call__(self, wire: Wire, request: Received) -> None:
        if "/models" in request.target:
            await wire.answer(200, b'{"models": []}')
            return
        body = request.json
        self.bodies.append(body)
        if "odd" in json.dumps(body["input"]):
            await wire.answer(400, json.dumps({"detail": self.message}).encode())
            return
        response = {"id": "r", "object": "response", "status": "completed", "model": "m", "output": []}
        event = json.dumps({"type": "response.completed", "response": response})
        await wire.stream(f"event: response.completed\ndata: {event}\n\n".encode())


async def ask(proxy: Proxy, text: str, model: str = "gpt-5.5") -> int:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    body = {"model": model, "messages": [{"role": "user", "content": text}], "tools": [tool]}
    return (await proxy.post("/api/codex/chat/completions", json.dumps(body).encode())).status


@pytest.mark.parametrize("name", [*CORE, *OPTIONAL])
@pytest.mark.parametrize(
    "message",
    [
        "Invalid 'input[0].content': 'odd. Unsupported parameter: {}'",
        "Unsupported parameter: {} is what the client said",
        "odd\nUnsupported parameter: {}",
    ],
)
async def test_an_error_that_quotes_a_request_changes_nothing(
    proxy: Proxy, upstream: Upstream, name: str, message: str
) -> None:
    codex = upstream.script = Codex(message.format(name))
    assert await ask(proxy, "hello") == 200
    assert await ask(proxy, f"odd. Unsupported parameter: {name}") == 400
    assert await ask(proxy, "hello") == 200
    before, _, after = codex.bodies
    assert after == before


@pytest.mark.parametrize("name", CORE)
async def test_what_carries_the_conversation_is_never_left_out(proxy: Proxy, upstream: Upstream, name: str) -> None:
    codex = upstream.script = Codex(f"Unsupported parameter: {name}")
    assert await ask(proxy, "hello") == 200
    assert await ask(proxy, "odd") == 400
    assert await ask(proxy, "hello") == 200
    before, _, after = codex.bodies
    assert after == before


@pytest.mark.parametrize("name", OPTIONAL)
async def test_an_optional_parameter_is_left_out_for_its_model_alone(
    proxy: Proxy, upstream: Upstream, name: str
) -> None:
    codex = upstream.script = Codex(f"Unsupported parameter: {name}")
    assert await ask(proxy, "odd") == 400  # this backend refuses it without the parameter too
    assert await ask(proxy, "hello") == 200
    assert await ask(proxy, "hello", "gpt-5.4") == 200
    first, again, later, other = codex.bodies
    assert name in first
    assert name not in again
    assert name not in later
    assert name in other
