"""A provider in this process that does not come to its end: the client sees an error or a cut, never an answer that looks complete."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.conftest import Serve
from tests.fakes.provider import END, START, Scripted

BLOCK: list[dict[str, Any]] = [
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}},
]
STOP = {"type": "content_block_stop", "index": 0}
DELTA = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn", "stop_sequence": None},
    "usage": {"output_tokens": 1},
}
PINGS = [{"type": "ping"}]

CUT: dict[str, list[dict[str, Any]]] = {
    "nothing": [],
    "a ping": PINGS,
    "a start": [START],
    "half a block": [START, *BLOCK],
    "a block": [START, *BLOCK, STOP],
    "a stop reason": [START, *BLOCK, STOP, DELTA],
    "a stop reason and a ping": [START, *BLOCK, STOP, DELTA, *PINGS],
}
WAYS = {"messages": "messages", "chat/completions": "messages", "responses": "input"}
ENDS = {"messages": "message_stop", "chat/completions": "[DONE]", "responses": "response.completed"}


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("name", list(CUT))
async def test_events_without_an_end(serve: Serve, way: str, name: str, streamed: bool) -> None:
    proxy = await serve()
    proxy.addon("gateway").shared.locals["mock"] = Scripted(CUT[name])
    body = {"model": "m", "max_tokens": 10, "stream": streamed, WAYS[way]: [{"role": "user", "content": "hi"}]}
    async with httpx.AsyncClient(base_url=proxy.url, trust_env=False, timeout=20) as client:
        response = await client.post(f"/mock/v1/{way}", json=body)
    if response.status_code == 200:
        assert streamed
        assert ENDS[way] not in response.text
        assert "complete" in response.text
        assert "error" in response.text
    else:
        assert response.status_code == 502
        assert "complete" in response.json()["error"]["message"]


@pytest.mark.parametrize("way", list(WAYS))
async def test_events_with_an_end(serve: Serve, way: str) -> None:
    proxy = await serve()
    proxy.addon("gateway").shared.locals["mock"] = Scripted([START, *BLOCK, STOP, DELTA, END])
    body = {"model": "m", "max_tokens": 10, "stream": True, WAYS[way]: [{"role": "user", "content": "hi"}]}
    async with httpx.AsyncClient(base_url=proxy.url, trust_env=False, timeout=20) as client:
        response = await client.post(f"/mock/v1/{way}", json=body)
    assert response.status_code == 200
    assert ENDS[way] in response.text
    assert json.dumps("error") not in response.text.replace('"error":null', "")
