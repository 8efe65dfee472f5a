"""What a client sees of the routes: errors in its own format, probes, refused upgrades, sessions, ccproxy's own endpoints, the log."""

from __future__ import annotations

import json
import logging
import re

import pytest

from ccproxy import __version__
from tests.conftest import Serve
from tests.fakes.client import message, request
from tests.fakes.proxy import Proxy
from tests.fakes.routes import NATIVE, RESPONSES_BODY
from tests.fakes.upstream import Received, Upstream, Wire

WEBSOCKET = (
    ("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
)  # fmt: skip


# ---- errors


@pytest.mark.parametrize(
    ("path", "anthropic"),
    [
        ("/v1/messages", True),
        ("/nothing", True),
        ("/v1/chat/completions", False),
        ("/v1/responses", False),
        ("/apis/codex/x", False),
    ],
)
async def test_404_in_the_format_that_the_path_suggests(proxy: Proxy, path: str, anthropic: bool) -> None:
    answer = await proxy.post(path, message())
    assert (answer.status, answer["content-type"]) == (404, "application/json")
    if anthropic:
        assert answer.json["type"] == "error"
        assert answer.json["error"]["type"] == "not_found_error"
        assert answer.json["request_id"] == f"req_{answer['x-ccproxy-flow']}"
    else:
        assert set(answer.json) == {"error"}
        assert set(answer.json["error"]) == {"message", "type", "param", "code"}
    assert "/" in answer.message


async def test_404_names_the_nearest(proxy: Proxy) -> None:
    assert "/claude/v1/messages" in (await proxy.post("/claude/v1/message", message())).message


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("GET", "/api/v1/messages", "POST"), ("DELETE", "/api/codex/responses", "POST"), ("POST", "/api/v1/models", "GET"), ("POST", "/health", "GET"),
     ("PUT", "/metrics", "GET"), ("OPTIONS", "/mock/v1/messages", "POST")],
)  # fmt: skip
async def test_405(proxy: Proxy, upstream: Upstream, method: str, path: str, allow: str) -> None:
    answer = await proxy.ask(request(path, b"", method=method))
    assert answer.status == 405
    assert allow in answer["allow"]
    assert answer.json["error"]["type"] == "invalid_request_error"
    assert upstream.connections == 0


@pytest.mark.parametrize(
    "path",
    ["/api", "/api/v1/messages", "/api/v1/whatever", "/api/codex/responses", "/claude/v1/messages", "/mock/x", "/zai/"],
)
async def test_head_is_200_without_an_upstream(proxy: Proxy, upstream: Upstream, path: str) -> None:
    async with proxy.connect() as client:
        for _ in range(2):
            answer = await client.ask(request(path, method="HEAD"))
            assert (answer.status, answer.body) == (200, b"")
            assert answer["x-ccproxy-flow"]
    assert upstream.connections == 0


async def test_head_has_no_body_where_get_has_one(proxy: Proxy) -> None:
    async with proxy.connect() as client:
        for path, status in (("/health", 200), ("/nothing", 404), ("/metrics", 200)):
            answer = await client.ask(request(path, method="HEAD"))
            assert answer.status == status
        assert (await client.ask(request("/health", method="GET"))).json["status"] == "ok"


# ---- upgrades


@pytest.mark.parametrize(
    "path", ["/api/codex/responses", "/api/codex/v1/responses", "/api/codex/s1/responses", "/api/v1/responses"]
)
async def test_a_websocket_is_refused_with_426_and_the_connection_lives_on(
    proxy: Proxy, upstream: Upstream, path: str
) -> None:
    async with proxy.connect() as client:
        answer = await client.ask(request(path, b"", *WEBSOCKET, method="GET"))
        assert (answer.status, answer.line) == (426, b"HTTP/1.1 426 Upgrade Required")
        assert answer["content-type"] == "application/json"
        assert (await client.ask(request("/api/codex/responses", RESPONSES_BODY))).status == 200
    assert len(upstream.requests) == 1


async def test_an_upgrade_of_another_kind_is_ignored(proxy: Proxy, upstream: Upstream) -> None:
    for kind in ("h2c", "TLS/1.0", "mqtt"):
        answer = await proxy.post("/api/codex/responses", RESPONSES_BODY, ("Connection", "Upgrade"), ("Upgrade", kind))
        assert answer.status == 200
        assert upstream.last.values("upgrade") == []


# ---- sessions


@pytest.mark.parametrize("root", ["/api/codex", "/api/codex/s-1.a_b"])
async def test_a_session_becomes_a_header(proxy: Proxy, upstream: Upstream, root: str) -> None:
    answer = await proxy.post(f"{root}/responses?x=1", RESPONSES_BODY)
    assert answer.status == 200
    assert upstream.last.target == "/backend-api/codex/responses?x=1"
    assert upstream.last.values("session-id") == ([b"s-1.a_b"] if "s-1" in root else [])
    assert upstream.last.body == RESPONSES_BODY


async def test_a_clients_own_session_header_is_not_doubled(proxy: Proxy, upstream: Upstream) -> None:
    await proxy.post("/api/codex/s1/responses", RESPONSES_BODY, ("Session-Id", "mine"))
    assert upstream.last.values("session-id") == [b"mine"]


# ---- Codex: only what the backend would refuse


async def test_codex_changes_what_it_has_to_and_nothing_else(proxy: Proxy, upstream: Upstream) -> None:
    body = (
        b'{ "model": "gpt-x",\n "temperature" : 0.5, "input":"gr\\u00fc\xc3\x9fe", "stream":true,\n'
        b'  "metadata": {"a": "b"}, "text": { "verbosity" : "low" }, "max_output_tokens": 10 }\n'
    )
    answer = await proxy.post("/api/codex/responses", body)
    assert answer.status == 200
    sent = upstream.last
    assert sent.values("content-length") == [str(len(sent.body)).encode()]
    assert sent.json == {
        "model": "gpt-x", "stream": True, "text": {"verbosity": "low"}, "store": False, "instructions": "",
        "include": ["reasoning.encrypted_content"],  # the backend keeps no conversations, so the client has to
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "gr\u00fc\u00dfe"}]}],
    }  # fmt: skip
    assert b'{ "model": "gpt-x",\n' in sent.body
    assert b'"text": { "verbosity" : "low" }' in sent.body
    assert sent.body.endswith(b"}\n")


async def test_codex_compaction_is_left_alone(proxy: Proxy, upstream: Upstream) -> None:
    body = b'{"model":"gpt-x","input":"x","temperature":1}'
    for path in ("/api/codex/responses/compact", "/api/codex/v1/responses/input_tokens"):
        assert (await proxy.post(path, body)).status == 200
        assert upstream.last.body == body


# ---- model maps


async def test_a_model_map_changes_the_name_in_place(serve: Serve, upstream: Upstream) -> None:
    proxy = await serve(
        providers={
            name: {"models": {"gpt-*": "mapped", "claude-x": "claude-y"}} for name in ("claude_api", "codex", "chatty")
        }
    )
    body = b'{ "n" : 1.0, "model"\t: "claude-x" , "messages":[{"model":"claude-x"}] }'
    for path in ("/api/v1/messages", "/api/v1/messages/count_tokens"):
        assert (await proxy.post(path, body)).status == 200
        assert upstream.last.body == body.replace(b'"model"\t: "claude-x"', b'"model"\t: "claude-y"')
        assert upstream.last.values("content-length") == [str(len(upstream.last.body)).encode()]
    await proxy.post("/api/codex/responses", RESPONSES_BODY)
    assert upstream.last.body == RESPONSES_BODY.replace(b"gpt-x", b"mapped")
    other = message("unmapped-model")
    await proxy.post("/api/v1/messages", other)
    assert upstream.last.body == other


async def test_a_chunked_body_that_is_changed(serve: Serve, upstream: Upstream) -> None:
    proxy = await serve(providers={"claude_api": {"models": {"a": "b-longer-name"}}})
    data = (
        request("/api/v1/messages", b"", ("Transfer-Encoding", "chunked")) + b'c\r\n{"model":"a"\r\n1\r\n}\r\n0\r\n\r\n'
    )
    assert (await proxy.ask(data)).status == 200
    assert upstream.last.body == b'{"model":"b-longer-name"}'


async def test_a_large_body_is_mapped_too(serve: Serve, upstream: Upstream) -> None:
    proxy = await serve(providers={"claude_api": {"models": {"a": "b"}}})
    body = b'{"messages":"' + b"x" * 100_000 + b'","model":"a"}'
    assert (await proxy.post("/api/v1/messages", body)).status == 200
    assert upstream.last.body == body.replace(b'"model":"a"', b'"model":"b"')


# ---- base URLs of the user's own providers


@pytest.mark.parametrize(
    ("fmt", "base", "path", "target"),
    [
        ("anthropic", "", "/own/v1/messages", "/v1/messages"),
        ("anthropic", "/", "/own/v1/messages", "/v1/messages"),
        ("anthropic", "/v1", "/own/v1/messages", "/v1/messages"),
        ("anthropic", "/api/anthropic", "/own/v1/messages", "/api/anthropic/v1/messages"),
        ("openai_chat", "", "/own/v1/chat/completions", "/v1/chat/completions"),
        ("openai_chat", "/v1", "/own/v1/chat/completions", "/v1/chat/completions"),
        ("openai_chat", "/v1/", "/own/v1/models", "/v1/models"),
        ("openai_chat", "/api/paas/v4", "/own/v1/chat/completions", "/api/paas/v4/chat/completions"),
        ("openai_responses", "/openai/v1", "/own/v1/responses", "/openai/v1/responses"),
    ],
)
async def test_base_urls_are_written_as_the_fields_own_sdks_take_them(
    serve: Serve, upstream: Upstream, fmt: str, base: str, path: str, target: str
) -> None:
    proxy = await serve(providers={"own": {"prefix": "/own", "format": fmt, "base_url": upstream.url + base}})
    answer = await proxy.ask(request(path, b"{}", method="GET" if path.endswith("models") else "POST"))
    assert answer.status == 200
    assert upstream.last.target == target


# ---- our own endpoints


async def test_health(proxy: Proxy) -> None:
    for path in ("/health", "/"):
        answer = await proxy.get(path)
        assert answer.json["status"] == "ok"
        assert answer.json["version"] == __version__
        assert answer.json["providers"]["codex"]["prefix"] == "/api/codex"
        assert answer["x-ccproxy-flow"]
        assert "configured" not in answer.body.decode()
    for path in ("/health/live", "/health/ready"):
        assert (await proxy.get(path)).json == {"status": "ok"}
    assert (await proxy.get("/health?verbose=1")).status == 200


async def test_metrics(proxy: Proxy) -> None:
    answer = await proxy.get("/metrics")
    assert answer["content-type"].startswith("text/plain")
    assert f'version="{__version__}"' in answer.body.decode()
    for line in answer.body.decode().splitlines():
        assert re.fullmatch(r"#.*|[a-z_]+(\{.*\})? \S+", line)


async def test_models_of_the_mock(proxy: Proxy) -> None:
    listed = (await proxy.get("/mock/v1/models?limit=1000")).json
    ids = [model["id"] for model in listed["data"]]
    assert (listed["has_more"], listed["first_id"], listed["last_id"]) == (False, ids[0], ids[-1])
    for name in ids[:3]:
        assert (await proxy.get(f"/mock/v1/models/{name}")).json["id"] == name
    missing = await proxy.get("/mock/v1/models/absent")
    assert missing.json["error"]["type"] in {"not_found_error", "invalid_request_error"}
    assert missing.status in {400, 404}


async def test_an_estimate_says_so(proxy: Proxy) -> None:
    answer = await proxy.post("/mock/v1/messages/count_tokens", message())
    assert answer.json["input_tokens"] >= 1
    assert answer["x-ccproxy-estimate"] == "1"


async def test_the_mock_streamed_and_whole_say_the_same(proxy: Proxy) -> None:
    tools = [
        {"name": "t", "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}}
    ]
    more = {"tools": tools, "tool_choice": {"type": "any"}, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    streamed = await proxy.post("/mock/v1/messages", message(text="one two", stream=True, **more))
    whole = await proxy.post("/mock/v1/messages", message(text="one two", stream=False, **more))
    assert streamed["content-type"].startswith("text/event-stream")
    assert whole["content-type"] == "application/json"
    events = [json.loads(line[6:]) for line in streamed.body.decode().splitlines() if line.startswith("data: ")]
    names = [line[7:] for line in streamed.body.decode().splitlines() if line.startswith("event: ")]
    assert names == [event["type"] for event in events]
    assert [block["type"] for block in whole.json["content"]] == ["thinking", "text", "tool_use"]
    assert whole.json["content"][-1]["input"] == {"a": "one two"}
    text = "".join(event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta")
    assert text == whole.json["content"][1]["text"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 529])
@pytest.mark.parametrize("stream", [True, False])
async def test_the_mocks_error_answers(proxy: Proxy, status: int, stream: bool) -> None:
    answer = await proxy.post("/mock/v1/messages", message(f"mock-{status}", stream=stream))
    assert (answer.status, answer["content-type"]) == (status, "application/json")
    assert answer.json["type"] == "error"
    assert answer.values("retry-after") == ([b"1"] if status == 429 else [])


async def test_a_field_of_any_bytes_in_a_translated_error(proxy: Proxy, upstream: Upstream) -> None:
    async def script(wire: Wire, _: Received) -> None:
        body = b'{"type": "error", "error": {"type": "rate_limit_error", "message": "later"}}'
        await wire.answer(429, body, ("request-id", "r\xe9q"), ("retry-after", "3"))

    upstream.script = script
    answer = await proxy.post("/api/v1/chat/completions", message())
    assert (answer.status, answer["retry-after"]) == (429, "3")


# ---- every answer tells its flow


async def test_every_answer_tells_its_flow(proxy: Proxy) -> None:
    requests = (
        request("/api/v1/messages", message()),
        request("/mock/v1/messages", message(stream=True)),
        request("/health", method="GET"),
        request("/nothing"),
        request("/api/v1/messages", message(), host="evil.test"),
        request("/api/v1/models", method="POST"),
        request("/api/v1/messages", b"{"),
        b"nonsense\r\n\r\n",
    )
    async with proxy.connect() as client:
        seen = [(await client.ask(data))["x-ccproxy-flow"] for data in requests]
    assert len(set(seen)) == len(seen)
    assert all(re.fullmatch(r"[0-9a-f-]{36}", flow) for flow in seen)


# ---- the log


async def test_one_line_for_each_exchange(proxy: Proxy, upstream: Upstream, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ccproxy.access")

    async def script(wire: Wire, _: Received) -> None:
        await wire.stream(b"data: 1\n\n", b"data: 2\n\n")

    await proxy.post("/api/v1/messages?beta=true", message("claude-whole"))
    upstream.script = script
    await proxy.post("/api/codex/responses", RESPONSES_BODY)
    await proxy.post("/mock/v1/messages", message("mock-claude", stream=True))
    await proxy.post("/nothing", b"{}")
    await proxy.get("/health")
    whole, streamed, local, missing, health = caplog.messages
    assert re.fullmatch(r"POST /api/v1/messages claude_api/anthropic claude-whole 200 2B first=\S+ total=\d+ms", whole)
    assert re.fullmatch(
        r"POST /api/codex/responses codex/openai_responses gpt-x 200 18B first=\d+ms total=\d+ms", streamed
    )
    assert re.fullmatch(r"POST /mock/v1/messages mock/anthropic mock-claude 200 \d+B first=\d+ms total=\d+ms", local)
    assert re.fullmatch(r"POST /nothing - - 404 \d+B .*", missing)
    assert health.startswith("GET /health - - 200 ")


async def test_the_model_of_a_large_body_is_found_without_parsing_it(
    proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ccproxy.access")
    filler = b'"messages":"' + b"x" * 100_000 + b'"'
    for body in (b'{"model":"front",' + filler + b"}", b"{" + filler + b',"model" : "back"}', b"{" + filler + b"}"):
        await proxy.post("/api/v1/messages", body)
    assert [line.split()[3] for line in caplog.messages] == ["front", "back", "-"]


@pytest.mark.parametrize("route", NATIVE, ids=lambda route: route.name)
async def test_the_log_names_route_and_model(proxy: Proxy, route: object, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ccproxy.access")
    await proxy.post(route.path, route.body)  # type: ignore[attr-defined]
    assert json.loads(route.body)["model"] in caplog.messages[0]  # type: ignore[attr-defined]
