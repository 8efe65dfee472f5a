from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mitmproxy import http, io

from ccproxy.translate.formats import Format
from tests.examples.answers import EVENTS, sse
from tests.fakes.proxy import Proxy
from tests.fakes.upstream import Received, Upstream, Wire
from tests.traffic.secrets import ACCOUNT, CLIENT_KEY, COOKIE, IN_ANSWER, IN_PROMPT, TOKEN

FIELDS = (("x-api-key", TOKEN), ("authorization", f"Bearer {CLIENT_KEY}"), ("cookie", f"a={COOKIE}"), ("content-type", "application/json"))  # fmt: skip
ANSWERED = (("Set-Cookie", f"a={COOKIE}"), ("chatgpt-account-id", ACCOUNT))
MODEL = "claude-sonnet-4-5"


def chat(**more: Any) -> bytes:
    question = [{"role": "user", "content": f"my key is {IN_PROMPT}"}]
    return json.dumps({"model": MODEL, "seed": 7, "messages": question, **more}).encode()


def messages(**more: Any) -> bytes:
    question = [{"role": "user", "content": f"my key is {IN_PROMPT}"}]
    return json.dumps({"model": MODEL, "max_tokens": 100, "messages": question, **more}).encode()


WHOLE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "stop_reason": "end_turn", "stop_sequence": None,
    "content": [{"type": "text", "text": f"yours is {IN_ANSWER}"}], "usage": {"input_tokens": 1000, "output_tokens": 200},
}  # fmt: skip
STREAM = sse(Format.ANTHROPIC, EVENTS[Format.ANTHROPIC])


async def anthropic(wire: Wire, request: Received) -> None:
    """A Messages upstream: streamed where it is asked to stream."""
    if request.method == "GET":
        await wire.answer(404, b'{"type":"error","error":{"type":"not_found_error","message":"no list"}}')
    elif request.json.get("stream"):
        await wire.stream(*(event + b"\n\n" for event in STREAM.split(b"\n\n") if event), fields=ANSWERED)
    else:
        await wire.answer(200, json.dumps(WHOLE).encode(), *ANSWERED)


async def everything(proxy: Proxy, upstream: Upstream) -> dict[str, tuple[str, bytes]]:
    """One exchange of each kind: the flow's id and the body that the client got."""
    upstream.script = anthropic
    asked = {
        "native": ("/api/v1/messages", messages()),
        "native stream": ("/api/v1/messages", messages(stream=True)),
        "translated": ("/api/v1/chat/completions", chat()),
        "translated stream": ("/api/v1/chat/completions", chat(stream=True)),
        "here": ("/mock/v1/chat/completions", chat(stream=True)),
        "unknown": ("/nowhere", messages()),
    }
    got = {}
    for name, (path, body) in asked.items():
        answer = await proxy.post(path, body, *FIELDS)
        assert answer.status == (404 if name == "unknown" else 200), answer
        got[name] = (answer["x-ccproxy-flow"], answer.body)
    assert IN_ANSWER.encode() in got["native"][1]  # what is redacted is only what is shown
    return got


def flows_in(file: Path) -> list[http.HTTPFlow]:
    with file.open("rb") as opened:
        return list(io.FlowReader(opened).stream())  # type: ignore[arg-type]
