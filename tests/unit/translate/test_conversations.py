"""Whole conversations of the official SDKs with providers that check everything, through the translator: tool loops, thinking, instructions in between."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anthropic
import openai
import pytest

from ccproxy.errors import ExchangeError
from ccproxy.providers import json_edit
from ccproxy.providers.codex import native_changes
from ccproxy.translate.errors import error_body, error_status
from ccproxy.translate.exchange import ReplayCache, Translated, translate_request
from ccproxy.translate.formats import Format
from ccproxy.translate.profiles import AnthropicProfile, Profile, ResponsesProfile
from tests.examples.answers import sse
from tests.fakes.providers import FakeClaude, FakeCodex, Refused, claude_stream, codex_stream
from tests.referees.sdk import httpx

Json = dict[str, Any]

TOOL_SCHEMA: Json = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}


class Gateway:
    """What stands between an SDK and a fake provider: the translator, and nothing else."""

    def __init__(self, client: Format, provider: FakeClaude | FakeCodex, profile: Profile) -> None:
        self.client = client
        self.provider = provider
        self.profile = profile
        self.upstream = Format.ANTHROPIC if isinstance(provider, FakeClaude) else Format.OPENAI_RESPONSES
        self.cache = ReplayCache()

    def __call__(self, request: Any) -> Any:
        try:
            body = json_edit.loads(request.content)
            exchange = translate_request(
                self.client, self.upstream, body, self.profile, replay_cache=self.cache, principal="me", provider="fake"
            )
            status, headers, out = self._answer(exchange)
        except ExchangeError as error:
            status, headers, out = error_status(self.client, error), {}, error_body(self.client, error)
        return httpx.Response(status, headers=headers, content=out, request=request)

    def _answer(self, exchange: Translated) -> tuple[int, dict[str, str], bytes]:
        sent = json.loads(exchange.encode())
        try:
            answer = self.provider.answer(sent)
        except Refused as refused:
            return exchange.error(refused.status, {}, json.dumps(refused.body).encode())
        if not sent.get("stream"):
            return exchange.whole(200, json.dumps(answer).encode())
        events = claude_stream(answer) if self.upstream is Format.ANTHROPIC else codex_stream(answer)
        data = sse(self.upstream, events)
        if exchange.stream:
            stream = exchange.stream_translator()
            return 200, {"content-type": "text/event-stream"}, stream.feed(data) + stream.close()
        folder = exchange.folder()
        folder.feed(data)
        return folder.result()

    @contextmanager
    def http(self) -> Iterator[Any]:
        with httpx.Client(transport=httpx.MockTransport(self)) as client:
            yield client


class Said:
    """One answer as a client sees it."""

    def __init__(self, text: str, calls: list[tuple[str, str, Any]]) -> None:
        self.text = text
        self.calls = calls


class AnthropicClient:
    """A conversation as the Anthropic SDK's users keep it."""

    def __init__(self, gateway: Gateway, http: Any, *, stream: bool) -> None:
        self.sdk = anthropic.Anthropic(
            api_key="dummy", base_url="http://gateway.invalid", max_retries=0, http_client=http
        )
        self.stream = stream
        self.messages: list[Json] = []

    def ask(self, text: str, *, tools: list[str], instruction: str = "") -> Said:
        self.messages.append({"role": "user", "content": text})
        if instruction:
            self.messages.append({"role": "system", "content": instruction})
        return self._send(tools)

    def results(self, results: dict[str, str], *, tools: list[str]) -> Said:
        content = [
            {"type": "tool_result", "tool_use_id": identity, "content": text} for identity, text in results.items()
        ]
        self.messages.append({"role": "user", "content": content})
        return self._send(tools)

    def _send(self, tools: list[str]) -> Said:
        request: Json = {
            "model": "claude-opus-5",
            "max_tokens": 2000,
            "system": "Be brief.",
            "messages": self.messages,
            "tools": [{"name": name, "input_schema": TOOL_SCHEMA} for name in tools],
            "extra_body": {"thinking": {"type": "adaptive", "display": "summarized"}},
        }
        if self.stream:
            with self.sdk.messages.stream(**request) as events:
                message = events.get_final_message()
        else:
            message = self.sdk.messages.create(**request)
        self.messages.append(
            {"role": "assistant", "content": [block.to_dict(mode="json") for block in message.content]}
        )
        calls = [(block.id, block.name, block.input) for block in message.content if block.type == "tool_use"]
        assert message.stop_reason == ("tool_use" if calls else "end_turn")
        assert message.usage.input_tokens == 10
        assert message.usage.cache_read_input_tokens == 3
        return Said("".join(block.text for block in message.content if block.type == "text"), calls)


class ChatClient:
    """A conversation as the OpenAI SDK's users keep it in Chat. A forgetful one drops the fields that it does not know."""

    def __init__(self, gateway: Gateway, http: Any, *, stream: bool, forgetful: bool = False) -> None:
        self.sdk = openai.OpenAI(api_key="dummy", base_url="http://gateway.invalid", max_retries=0, http_client=http)
        self.stream = stream
        self.forgetful = forgetful
        self.messages: list[Any] = [{"role": "developer", "content": "Be brief."}]

    def ask(self, text: str, *, tools: list[str], instruction: str = "") -> Said:
        self.messages.append({"role": "user", "content": text})
        if instruction:
            self.messages.append({"role": "system", "content": instruction})
        return self._send(tools)

    def results(self, results: dict[str, str], *, tools: list[str]) -> Said:
        self.messages += [
            {"role": "tool", "tool_call_id": identity, "content": text} for identity, text in results.items()
        ]
        return self._send(tools)

    def _send(self, tools: list[str]) -> Said:
        request: Json = {
            "model": "claude-opus-5",
            "messages": self.messages,
            "reasoning_effort": "high",
            "tools": [{"type": "function", "function": {"name": name, "parameters": TOOL_SCHEMA}} for name in tools]
            or openai.NOT_GIVEN,
        }
        if self.stream:
            with self.sdk.chat.completions.stream(**request, stream_options={"include_usage": True}) as events:
                completion = events.get_final_completion()
        else:
            completion = self.sdk.chat.completions.create(**request)
        message = completion.choices[0].message.to_dict(mode="json")
        message = {key: value for key, value in message.items() if key not in ("parsed", "refusal")}
        for call in message.get("tool_calls") or ():
            call.pop("index", None)
            call["function"].pop("parsed_arguments", None)
        if self.forgetful:
            message = {
                key: value for key, value in message.items() if key in ("role", "content", "tool_calls") and value
            }
        self.messages.append(message)
        calls = [
            (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in message.get("tool_calls") or ()
        ]
        assert completion.choices[0].finish_reason == ("tool_calls" if calls else "stop")
        assert completion.usage is not None
        assert completion.usage.prompt_tokens == 15
        return Said(message.get("content") or "", calls)


class ResponsesClient:
    """A conversation as the OpenAI SDK's users keep it in Responses, without a server's memory."""

    def __init__(self, gateway: Gateway, http: Any, *, stream: bool) -> None:
        self.sdk = openai.OpenAI(api_key="dummy", base_url="http://gateway.invalid", max_retries=0, http_client=http)
        self.stream = stream
        self.items: list[Any] = []

    def ask(self, text: str, *, tools: list[str], instruction: str = "") -> Said:
        self.items.append({"role": "user", "content": text})
        if instruction:
            self.items.append({"role": "developer", "content": instruction})
        return self._send(tools)

    def results(self, results: dict[str, str], *, tools: list[str]) -> Said:
        self.items += [
            {"type": "function_call_output", "call_id": identity, "output": text} for identity, text in results.items()
        ]
        return self._send(tools)

    def _send(self, tools: list[str]) -> Said:
        request: Json = {
            "model": "claude-opus-5",
            "input": self.items,
            "instructions": "Be brief.",
            "reasoning": {"effort": "high", "summary": "auto"},
            "store": False,
            "include": ["reasoning.encrypted_content"],
            "tools": [{"type": "function", "name": name, "parameters": TOOL_SCHEMA, "strict": False} for name in tools],
        }
        if self.stream:
            with self.sdk.responses.stream(**request) as events:
                response = events.get_final_response()
        else:
            response = self.sdk.responses.create(**request)
        assert response.status == "completed"
        output = [item.to_dict(mode="json") for item in response.output]
        for item in output:
            item.pop("parsed_arguments", None)
            for part in item.get("content") or ():
                part.pop("parsed", None)
        self.items += output
        calls = [
            (item["call_id"], item["name"], json.loads(item["arguments"]))
            for item in output
            if item["type"] == "function_call"
        ]
        assert response.usage is not None
        assert response.usage.input_tokens == 15
        return Said(response.output_text, calls)


Client = AnthropicClient | ChatClient | ResponsesClient
CLIENTS: dict[str, tuple[Format, Callable[..., Client]]] = {
    "anthropic": (Format.ANTHROPIC, AnthropicClient),
    "chat": (Format.OPENAI_CHAT, ChatClient),
    "chat that forgets": (
        Format.OPENAI_CHAT,
        lambda gateway, http, *, stream: ChatClient(gateway, http, stream=stream, forgetful=True),
    ),
    "responses": (Format.OPENAI_RESPONSES, ResponsesClient),
}
PROVIDERS: dict[str, Callable[[], tuple[FakeClaude | FakeCodex, Profile]]] = {
    "claude": lambda: (FakeClaude(), AnthropicProfile.of_model("claude-opus-5")),
    "older claude": lambda: (FakeClaude(), AnthropicProfile(mid_system=False)),
    "codex": lambda: (FakeCodex(), ResponsesProfile.of_model("gpt-5.5", codex=True)),
}
ROUTES = [
    pytest.param(client, provider, stream, id=f"{client}, {provider}, {'streamed' if stream else 'whole'}")
    for client in CLIENTS
    for provider in PROVIDERS
    for stream in (True, False)
    if (client, provider[-6:]) not in (("anthropic", "claude"), ("responses", "codex"))
]


def converse(client: Client) -> list[Said]:
    """Three questions; the first two with two tools at once, an instruction in between."""
    tools = ["weather", "clock"]
    texts = [client.ask("How is it in Zürich?", tools=tools)]
    for turn in range(2):
        calls = texts[-1].calls
        assert [name for _, name, _ in calls] == tools
        assert calls[0][2] == {"city": "für weather", "days": "für weather"}
        texts.append(client.results({identity: f"{name} {turn}" for identity, name, _ in calls}, tools=tools))
        assert texts[-1].text == f"I saw: weather {turn}, clock {turn}."
        texts.append(client.ask("And now?", tools=tools, instruction="Use Fahrenheit." if turn == 0 else ""))
    return texts


@pytest.mark.parametrize(("client", "provider", "stream"), ROUTES)
def test_a_tool_loop_with_a_provider_that_checks_everything(client: str, provider: str, stream: bool) -> None:
    fmt, make = CLIENTS[client]
    fake, profile = PROVIDERS[provider]()
    gateway = Gateway(fmt, fake, profile)
    with gateway.http() as http:
        converse(make(gateway, http, stream=stream))
    last = fake.requests[-1]
    if isinstance(fake, FakeClaude):
        thoughts = [
            block
            for message in last["messages"]
            if message["role"] == "assistant"
            for block in message["content"]
            if "thinking" in block["type"]
        ]
        assert len(thoughts) == 3 + 2 + 3 + 2, "every thought came back to the provider that had it"
    else:
        thoughts = [item for item in last["input"] if item["type"] == "reasoning"]
        assert len(thoughts) == 2 + 1 + 2 + 1


@pytest.mark.parametrize(("client", "provider", "stream"), ROUTES)
def test_what_was_sent_is_the_beginning_of_what_is_sent_next(client: str, provider: str, stream: bool) -> None:
    fmt, make = CLIENTS[client]
    fake, profile = PROVIDERS[provider]()
    gateway = Gateway(fmt, fake, profile)
    with gateway.http() as http:
        converse(make(gateway, http, stream=stream))
    key = "messages" if isinstance(fake, FakeClaude) else "input"
    for before, after in itertools.pairwise(fake.requests):
        assert after[key][: len(before[key])] == before[key]
        assert {name: value for name, value in before.items() if name != key} == {
            name: value for name, value in after.items() if name != key
        }


@pytest.mark.parametrize("stream", [True, False])
def test_a_conversation_that_moves_to_the_other_provider_leaves_its_thinking_behind(stream: bool) -> None:
    codex = FakeCodex()
    gateway = Gateway(Format.OPENAI_RESPONSES, FakeClaude(), AnthropicProfile.of_model("claude-opus-5"))
    with gateway.http() as http:
        client = ResponsesClient(gateway, http, stream=stream)
        client.ask("How is it?", tools=[])
        items = client.items
    body = {
        "model": "gpt-5.5",
        "input": [*items, {"role": "user", "content": "And you?"}],
        "include": ["reasoning.encrypted_content"],
    }
    exchange = translate_request(Format.OPENAI_RESPONSES, Format.OPENAI_RESPONSES, body | native_changes(body, {}))
    assert codex.answer({**exchange.body, "input": [{"type": "message", **item} for item in exchange.body["input"]]})
    assert [loss.path for loss in exchange.losses] == ["input[1]", "input[2]"]


def test_claude_code_goes_from_codex_back_to_claude() -> None:
    gateway = Gateway(Format.ANTHROPIC, FakeCodex(), ResponsesProfile.of_model("gpt-5.5", codex=True))
    with gateway.http() as http:
        client = AnthropicClient(gateway, http, stream=True)
        texts = client.ask("How is it?", tools=["weather", "clock"])
        client.results({identity: "fine" for identity, _, _ in texts.calls}, tools=["weather", "clock"])
    body = {
        "model": "claude-opus-5",
        "max_tokens": 10,
        "messages": [*client.messages, {"role": "user", "content": "And you?"}],
        "tools": [{"name": name, "input_schema": TOOL_SCHEMA} for name in ("weather", "clock")],
    }
    exchange = translate_request(Format.ANTHROPIC, Format.ANTHROPIC, body)
    assert exchange.changed
    blocks = [
        block["type"]
        for message in exchange.body["messages"]
        if message["role"] == "assistant"
        for block in message["content"]
    ]
    assert blocks == ["text", "tool_use", "tool_use", "text"]
    untouched = translate_request(Format.ANTHROPIC, Format.ANTHROPIC, exchange.body)
    assert not untouched.changed
    assert untouched.body is exchange.body
