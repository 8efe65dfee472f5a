"""The official SDKs through the gateway's native routes: what they send, what they make of answers, and each of their error classes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest

from tests.conftest import Serve
from tests.fakes import models
from tests.fakes.proxy import Proxy
from tests.fakes.upstream import Received, Script, Upstream, Wire, chunk

pytestmark = pytest.mark.e2e

DUMMY = "dummy-of-the-client"
WEATHER = {
    "name": "weather", "description": "The weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}  # fmt: skip
FUNCTION = {"type": "function", "name": "weather", "parameters": WEATHER["input_schema"], "strict": False}
ASKED: dict[str, Any] = {"model": "claude-x", "max_tokens": 64, "messages": [{"role": "user", "content": "Grüezi 😀"}]}


@pytest.fixture
async def claude(proxy: Proxy, upstream: Upstream) -> AsyncIterator[anthropic.AsyncAnthropic]:
    upstream.script = models.anthropic
    async with anthropic.AsyncAnthropic(base_url=f"{proxy.url}/api", api_key=DUMMY, max_retries=0) as client:
        yield client


@pytest.fixture
async def codex(proxy: Proxy, upstream: Upstream) -> AsyncIterator[openai.AsyncOpenAI]:
    upstream.script = models.codex
    async with openai.AsyncOpenAI(base_url=f"{proxy.url}/api/codex/v1", api_key=DUMMY, max_retries=0) as client:
        yield client


# ---- anthropic


async def test_messages_whole(claude: anthropic.AsyncAnthropic, upstream: Upstream) -> None:
    message = await claude.messages.create(**ASKED)
    assert message.content[0].text == "Grüße aus Zürich"  # type: ignore[union-attr]
    assert (message.stop_reason, message.usage.input_tokens, message.usage.cache_read_input_tokens) == (
        "end_turn",
        11,
        2,
    )
    sent = upstream.last
    assert sent.json == ASKED
    assert sent.values("user-agent")[0].startswith(b"AsyncAnthropic/Python ")
    assert sent.values("x-stainless-lang") == [b"python"]
    assert DUMMY.encode() not in sent.everything


async def test_messages_streamed(claude: anthropic.AsyncAnthropic, upstream: Upstream) -> None:
    async with claude.messages.stream(**ASKED, thinking={"type": "enabled", "budget_tokens": 1024}) as stream:
        text = "".join([piece async for piece in stream.text_stream])
        message = await stream.get_final_message()
    assert text == "Grüße aus Zürich "
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[0].signature == "sig"  # type: ignore[union-attr]
    assert (message.usage.input_tokens, message.usage.output_tokens) == (11, 7)
    assert upstream.last.json["stream"] is True


async def test_messages_as_raw_events(claude: anthropic.AsyncAnthropic) -> None:
    kinds = [event.type async for event in await claude.messages.create(**ASKED, stream=True)]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]


async def test_a_tool_turn(claude: anthropic.AsyncAnthropic, upstream: Upstream) -> None:
    messages: list[Any] = [*ASKED["messages"]]
    async with claude.messages.stream(model="claude-x", max_tokens=64, messages=messages, tools=[WEATHER]) as stream:  # type: ignore[list-item]
        first = await stream.get_final_message()
    call = first.content[-1]
    assert (first.stop_reason, call.type) == ("tool_use", "tool_use")
    assert call.input == {"city": "Zürich"}  # type: ignore[union-attr]
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "rain"}  # type: ignore[union-attr]
    messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = await claude.messages.create(model="claude-x", max_tokens=64, messages=messages, tools=[WEATHER])  # type: ignore[list-item]
    assert second.stop_reason == "end_turn"
    assert upstream.last.json["messages"][-1]["content"][0]["content"] == "rain"


async def test_betas_and_extra_headers_go_through(claude: anthropic.AsyncAnthropic, upstream: Upstream) -> None:
    await claude.beta.messages.create(
        **ASKED,
        betas=["interleaved-thinking-2025-05-14", "context-1m-2025-08-07"],
        extra_headers={"x-claude-code-session-id": "s1", "X-Mine": "1"},
        extra_query={"mine": "1"},
    )
    sent = upstream.last
    assert sent.target.startswith("/v1/messages?")
    assert "mine=1" in sent.target
    assert sent.values("anthropic-beta") == [b"interleaved-thinking-2025-05-14,context-1m-2025-08-07"]
    assert (sent.values("x-claude-code-session-id"), sent.values("X-Mine")) == ([b"s1"], [b"1"])


async def test_count_tokens_and_models(claude: anthropic.AsyncAnthropic, upstream: Upstream) -> None:
    counted = await claude.messages.count_tokens(model="claude-x", messages=ASKED["messages"])
    assert counted.input_tokens == 42
    assert upstream.last.target.startswith("/v1/messages/count_tokens")
    assert [model.id async for model in claude.models.list(limit=1000)] == ["claude-0", "claude-1", "claude-2"]
    assert upstream.last.target == "/v1/models?limit=1000"
    assert (await claude.models.retrieve("claude-1")).id == "claude-1"


async def test_headers_of_an_answer_go_through(claude: anthropic.AsyncAnthropic) -> None:
    raw = await claude.messages.with_raw_response.create(**ASKED)
    assert raw.headers["request-id"] == "req_upstream"
    assert raw.headers["anthropic-ratelimit-requests-remaining"] == "41"
    assert raw.headers["x-ccproxy-flow"]
    async with claude.messages.with_streaming_response.create(**ASKED, stream=True) as streamed:
        assert streamed.headers["request-id"] == "req_upstream"
        assert streamed.headers["content-type"] == "text/event-stream; charset=utf-8"


async def test_a_bearer_token_instead_of_a_key(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = models.anthropic
    async with anthropic.AsyncAnthropic(base_url=f"{proxy.url}/api", auth_token=DUMMY, max_retries=0) as client:
        assert (await client.messages.create(**ASKED)).stop_reason == "end_turn"
    assert DUMMY.encode() not in upstream.last.everything


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (400, "invalid_request_error", anthropic.BadRequestError),
        (401, "authentication_error", anthropic.AuthenticationError),
        (403, "permission_error", anthropic.PermissionDeniedError),
        (404, "not_found_error", anthropic.NotFoundError),
        (409, "conflict_error", anthropic.ConflictError),
        (413, "request_too_large", anthropic.APIStatusError),
        (422, "invalid_request_error", anthropic.UnprocessableEntityError),
        (429, "rate_limit_error", anthropic.RateLimitError),
        (500, "api_error", anthropic.InternalServerError),
        (503, "api_error", anthropic.InternalServerError),
        (529, "overloaded_error", anthropic.APIStatusError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_each_error_of_anthropic(
    claude: anthropic.AsyncAnthropic,
    upstream: Upstream,
    status: int,
    kind: str,
    error: type[anthropic.APIStatusError],
    stream: bool,
) -> None:
    upstream.script = models.anthropic_error(status, kind)
    with pytest.raises(error) as caught:
        await claude.messages.create(**ASKED, stream=stream)
    assert caught.value.status_code == status
    assert caught.value.body["error"]["type"] == kind  # type: ignore[index]
    assert "prompt is too long" in caught.value.message
    assert caught.value.request_id == "req_upstream"
    assert len(upstream.requests) == 1


async def test_errors_of_our_own_are_anthropics_classes_too(serve: Serve, proxy: Proxy, upstream: Upstream) -> None:
    def client(url: str) -> anthropic.AsyncAnthropic:
        return anthropic.AsyncAnthropic(base_url=url, api_key=DUMMY, max_retries=0)

    async with client(f"{proxy.url}/api/typo") as claude:
        with pytest.raises(anthropic.NotFoundError):
            await claude.messages.create(**ASKED)
    locked: Proxy = await serve(
        server={"auth_token": "t"}, providers={"claude_api": {"base_url": "http://127.0.0.1:1"}}
    )
    async with client(f"{locked.url}/api") as claude:
        with pytest.raises(anthropic.AuthenticationError):
            await claude.messages.create(**ASKED)
    async with anthropic.AsyncAnthropic(base_url=f"{locked.url}/api", api_key="t", max_retries=0) as claude:
        with pytest.raises(anthropic.InternalServerError) as caught:
            await claude.messages.create(**ASKED)
        assert caught.value.status_code == 502
        assert "127.0.0.1:1" in caught.value.message
    assert upstream.requests == []


async def test_a_stream_that_dies_is_an_error_for_anthropic(
    claude: anthropic.AsyncAnthropic, upstream: Upstream
) -> None:
    events = models.anthropic_stream([{"type": "text", "text": "one two three"}])

    def dies(*pieces: bytes) -> Script:
        async def script(wire: Wire, _: Received) -> None:
            await wire.stream(*pieces, end=False)
            wire.reset()

        return script

    upstream.script = dies(*events[:4])
    with pytest.raises(anthropic.APIStatusError, match="middle of its response"):
        async for _ in await claude.messages.create(**ASKED, stream=True):
            pass
    upstream.script = dies(*events[:4], events[4][:20])
    with pytest.raises(Exception, match=r"(?i)incomplete|closed|connection"):
        async for _ in await claude.messages.create(**ASKED, stream=True):
            pass


async def test_an_error_event_of_anthropics_own(claude: anthropic.AsyncAnthropic, upstream: Upstream) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "r"}

    async def script(wire: Wire, _: Received) -> None:
        await wire.stream(*models.anthropic_stream([{"type": "text", "text": "a"}])[:3], models.sse(error))

    upstream.script = script
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        async for _ in await claude.messages.create(**ASKED, stream=True):
            pass


async def test_the_sdks_own_retries_are_its_own(proxy: Proxy, upstream: Upstream) -> None:
    async def script(wire: Wire, request: Received) -> None:
        first = len(upstream.requests) == 1
        await (models.anthropic_error(529, "overloaded_error") if first else models.anthropic)(wire, request)

    upstream.script = script
    async with anthropic.AsyncAnthropic(base_url=f"{proxy.url}/api", api_key=DUMMY, max_retries=1) as client:
        assert (await client.messages.create(**ASKED)).stop_reason == "end_turn"
    assert [found.values("x-stainless-retry-count") for found in upstream.requests] == [[b"0"], [b"1"]]


async def test_the_mock_through_the_sdk(proxy: Proxy) -> None:
    async with anthropic.AsyncAnthropic(base_url=f"{proxy.url}/mock", api_key=DUMMY, max_retries=0) as client:
        async with client.messages.stream(**ASKED, tools=[WEATHER], tool_choice={"type": "any"}) as stream:  # type: ignore[list-item]
            message = await stream.get_final_message()
        assert message.content[-1].input == {"city": "Grüezi 😀"}  # type: ignore[union-attr]
        whole = await client.messages.create(**ASKED, tools=[WEATHER], tool_choice={"type": "any"})  # type: ignore[list-item]
        assert (
            [block.type for block in whole.content] == [block.type for block in message.content] == ["text", "tool_use"]
        )
        assert whole.content[-1].input == message.content[-1].input  # type: ignore[union-attr]
        assert (await client.messages.count_tokens(model="m", messages=ASKED["messages"])).input_tokens >= 1
        assert "mock-claude" in [model.id async for model in client.models.list()]
        with pytest.raises(anthropic.RateLimitError):
            await client.messages.create(**{**ASKED, "model": "mock-429"})


# ---- openai: Responses on the Codex backend


async def test_responses_streamed(codex: openai.AsyncOpenAI, upstream: Upstream) -> None:
    events = [
        event async for event in await codex.responses.create(model="gpt-x", input="Grüezi", stream=True, store=False)
    ]
    kinds = [event.type for event in events]
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert "codex.rate_limits" in kinds
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "Grüße aus Zürich "
    assert events[-1].response.usage.total_tokens == 18  # type: ignore[union-attr]
    sent = upstream.last
    assert sent.target == "/backend-api/codex/responses"
    assert sent.json["input"][0]["content"] == [{"type": "input_text", "text": "Grüezi"}]
    assert sent.values("user-agent")[0].startswith(b"AsyncOpenAI/Python ")
    assert DUMMY.encode() not in sent.everything


async def test_responses_with_what_the_backend_refuses(codex: openai.AsyncOpenAI, upstream: Upstream) -> None:
    stream = await codex.responses.create(
        model="gpt-x", input=[{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}], stream=True, temperature=0.5, top_p=0.9,
        max_output_tokens=100, metadata={"a": "b"}, truncation="auto", user="u", store=True,
        reasoning={"effort": "low"}, include=["reasoning.encrypted_content"],
    )  # fmt: skip
    assert [event.type async for event in stream][-1] == "response.completed"
    assert sorted(upstream.last.json) == ["include", "input", "instructions", "model", "reasoning", "store", "stream"]
    assert [item["role"] for item in upstream.last.json["input"]] == ["developer", "user"]


async def test_the_stream_of_the_sdk_with_a_tool(codex: openai.AsyncOpenAI, upstream: Upstream) -> None:
    said: list[Any] = [{"role": "user", "content": "weather?"}]
    async with codex.responses.stream(model="gpt-x", input=said, tools=[FUNCTION], store=False) as stream:  # type: ignore[list-item]
        final = await finished(stream)
    (call,) = final.output
    assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "weather", {"city": "Zürich"})
    said += [
        call.model_dump(exclude_none=True, exclude={"parsed_arguments"}),
        {"type": "function_call_output", "call_id": call.call_id, "output": "rain"},
    ]
    async with codex.responses.stream(model="gpt-x", input=said, tools=[FUNCTION], store=False) as stream:  # type: ignore[list-item]
        final = await finished(stream)
    assert final.output_text == "Grüße aus Zürich"
    assert upstream.last.json["input"][1]["call_id"] == "call_1"


async def finished(stream: Any) -> Any:
    async for _ in stream:
        pass
    return await stream.get_final_response()


async def test_headers_of_a_codex_answer_go_through(codex: openai.AsyncOpenAI) -> None:
    raw = await codex.responses.with_raw_response.create(model="gpt-x", input="x", stream=True, store=False)
    assert raw.headers["x-codex-turn-state"] == "state-1"
    assert raw.headers["openai-model"] == "gpt-x"
    assert raw.headers["x-ccproxy-flow"]
    await raw.http_response.aclose()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError), (401, openai.AuthenticationError), (403, openai.PermissionDeniedError), (404, openai.NotFoundError),
        (409, openai.ConflictError), (422, openai.UnprocessableEntityError), (429, openai.RateLimitError), (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)  # fmt: skip
async def test_each_error_of_openai(
    codex: openai.AsyncOpenAI, upstream: Upstream, status: int, error: type[openai.APIStatusError]
) -> None:
    upstream.script = models.openai_error(status, "some_code")
    with pytest.raises(error) as caught:
        await codex.responses.create(model="gpt-x", input="x", stream=True, store=False)
    assert (caught.value.status_code, caught.value.code, caught.value.request_id) == (
        status,
        "some_code",
        "req_upstream",
    )
    assert "The upstream's own words" in caught.value.message


async def test_a_refusal_in_the_backends_own_words(codex: openai.AsyncOpenAI, upstream: Upstream) -> None:
    async def script(wire: Wire, _: Received) -> None:
        await wire.answer(
            400,
            b'{"detail":"The \'x\' model is not supported when using Codex with a ChatGPT account."}',
            reason="Bad Request",
        )

    upstream.script = script
    with pytest.raises(openai.BadRequestError) as caught:
        await codex.responses.create(model="x", input="x", stream=True, store=False)
    assert "not supported when using Codex" in caught.value.response.json()["detail"]


async def test_errors_of_our_own_are_openais_classes_too(serve: Serve) -> None:
    locked: Proxy = await serve(server={"auth_token": "t"}, providers={"codex": {"base_url": "http://127.0.0.1:1/x"}})
    for key, error in (("wrong", openai.AuthenticationError), ("t", openai.InternalServerError)):
        async with openai.AsyncOpenAI(base_url=f"{locked.url}/api/codex/v1", api_key=key, max_retries=0) as client:
            with pytest.raises(error) as caught:
                await client.responses.create(model="gpt-x", input="x", stream=True, store=False)
            assert caught.value.body["message"]  # type: ignore[index]


async def test_a_stream_that_dies_is_an_error_for_openai(codex: openai.AsyncOpenAI, upstream: Upstream) -> None:
    part = {"type": "output_text", "text": "one two", "annotations": [], "logprobs": []}
    events = models.responses_stream(
        {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [part]}
    )

    async def script(wire: Wire, _: Received) -> None:
        await wire.stream(*events[:4], end=False)
        wire.reset()

    upstream.script = script
    seen = [event async for event in await codex.responses.create(model="gpt-x", input="x", stream=True, store=False)]
    assert seen[-1].type == "response.failed"
    assert seen[-1].response.error
    assert "middle of its response" in seen[-1].response.error.message

    async def within_an_event(wire: Wire, _: Received) -> None:
        await wire.stream(*events[:3], end=False)
        await wire.send(chunk(events[3][:30]))
        wire.reset()

    upstream.script = within_an_event
    with pytest.raises(Exception, match=r"(?i)incomplete|closed|connection"):
        async for _ in await codex.responses.create(model="gpt-x", input="x", stream=True, store=False):
            pass


# ---- openai: Chat Completions on a provider of the user's own


async def test_chat_completions(proxy: Proxy, upstream: Upstream) -> None:
    upstream.script = models.chat
    asked: Any = {"model": "gpt-x", "messages": [{"role": "user", "content": "Grüezi"}], "temperature": 0.5}
    async with openai.AsyncOpenAI(base_url=f"{proxy.url}/chatty/v1", api_key=DUMMY, max_retries=0) as client:
        whole = await client.chat.completions.create(**asked)
        assert whole.choices[0].message.content == "Grüße aus Zürich"
        assert upstream.last.json == asked
        assert upstream.last.values("authorization") == [b"Bearer own-configured"]
        chunks = [piece async for piece in await client.chat.completions.create(**asked, stream=True)]
        assert "".join(piece.choices[0].delta.content or "" for piece in chunks) == "Grüße aus Zürich"

        async def script(wire: Wire, _: Received) -> None:
            await wire.stream(*models.chat_chunks(["one ", "two"])[:2], end=False)
            wire.reset()

        upstream.script = script
        with pytest.raises(openai.APIError, match="middle of its response"):
            async for _ in await client.chat.completions.create(**asked, stream=True):
                pass
