"""Conversations held with the official SDKs, each as its users hold them: what the model answered goes back as the SDK gave it."""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anthropic
import openai
from openai.lib.streaming.chat import ChatCompletionStreamState

from ccproxy.translate.formats import Format
from tests.fakes.plot import Json
from tests.fakes.upstream import PATIENCE
from tests.referees.sdk import NEW_OPENAI, httpx

SCHEMA: Json = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["C", "F"]}},
    "required": ["city"],
}
"""Of the tool `weather`; one of its properties is optional."""
NOTHING: Json = {"type": "object", "properties": {}}


@dataclass
class Heard:
    """One answer, in the terms that all formats share."""

    text: str
    thinking: str
    calls: list[tuple[str, str, Json]]
    """Id, name and arguments."""
    stop: str
    usage: tuple[int, int, int, int]
    """Input in all, of it from the cache, output, of it reasoning."""
    body: Json


@dataclass
class Talk:
    """A conversation of one client. Its keywords go with every request."""

    sdk: Any
    options: Json
    heads: list[Mapping[str, str]]
    """The heads of the answers so far."""
    echoes: bool = True
    """Does the client send back what it does not know?"""
    history: list[Any] = field(default_factory=list)

    @property
    def losses(self) -> list[str]:
        return [path.strip() for path in self.heads[-1].get("x-ccproxy-loss", "").split(",") if path.strip()]

    async def turn(self, *, streamed: bool) -> Heard:
        raise NotImplementedError

    def says(self, text: str) -> None:
        self.history.append({"role": "user", "content": text})

    def results(self, results: Mapping[str, tuple[str, bool]]) -> None:
        """By call: what the tool said, and whether that is an error."""
        raise NotImplementedError


class AnthropicTalk(Talk):
    async def turn(self, *, streamed: bool) -> Heard:
        request = {"messages": self.history, **self.options}
        if streamed:
            async with self.sdk.messages.stream(**request) as stream:
                message = await stream.get_final_message()
        else:
            message = await self.sdk.messages.create(**request)
        self.history.append({"role": "assistant", "content": message.content})
        body: Json = message.to_dict(mode="json")
        blocks, usage = body["content"], body["usage"]
        cached = usage.get("cache_read_input_tokens") or 0
        return Heard(
            "".join(block["text"] for block in blocks if block["type"] == "text"),
            "".join(block["thinking"] for block in blocks if block["type"] == "thinking"),
            [(block["id"], block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"],
            body["stop_reason"],
            (
                usage["input_tokens"] + cached + (usage.get("cache_creation_input_tokens") or 0),
                cached,
                usage["output_tokens"],
                (usage.get("output_tokens_details") or {}).get("thinking_tokens", 0),
            ),
            body,
        )

    def results(self, results: Mapping[str, tuple[str, bool]]) -> None:
        blocks = [
            {"type": "tool_result", "tool_use_id": call, "content": text, "is_error": failed}
            for call, (text, failed) in results.items()
        ]
        self.history.append({"role": "user", "content": blocks})


class ChatTalk(Talk):
    async def turn(self, *, streamed: bool) -> Heard:
        request = {"messages": self.history, **self.options}
        if streamed:
            request["stream_options"] = {"include_usage": True}
            completion = await (self._streamed if NEW_OPENAI else self._accumulated)(request)
        else:
            completion = await self.sdk.chat.completions.create(**request)
        body: Json = completion.to_dict(mode="json")
        message, usage = body["choices"][0]["message"], body["usage"]
        calls = message.get("tool_calls") or []
        if self.echoes:
            self.history.append(completion.choices[0].message)
        else:
            known: Json = {"role": "assistant", "content": message.get("content")}
            if calls:
                known["tool_calls"] = [
                    {
                        "id": call["id"],
                        "type": "function",
                        "function": {"name": call["function"]["name"], "arguments": call["function"]["arguments"]},
                    }
                    for call in calls
                ]
            self.history.append(known)
        return Heard(
            message.get("content") or "",
            message.get("reasoning_content") or "",
            [(call["id"], call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls],
            body["choices"][0]["finish_reason"],
            (
                usage["prompt_tokens"],
                usage["prompt_tokens_details"]["cached_tokens"],
                usage["completion_tokens"],
                usage["completion_tokens_details"]["reasoning_tokens"],
            ),
            body,
        )

    async def _streamed(self, request: Json) -> Any:
        async with self.sdk.chat.completions.stream(**request) as stream:
            return await stream.get_final_completion()

    async def _accumulated(self, request: Json) -> Any:
        """The same accumulator, by hand: older SDKs refuse to stream with tools that are not strict."""
        state: Any = ChatCompletionStreamState()
        async for chunk in await self.sdk.chat.completions.create(stream=True, **request):
            state.handle_chunk(chunk)
        return state.get_final_completion()

    def results(self, results: Mapping[str, tuple[str, bool]]) -> None:
        for call, (text, _) in results.items():
            self.history.append({"role": "tool", "tool_call_id": call, "content": text})


class ResponsesTalk(Talk):
    async def turn(self, *, streamed: bool) -> Heard:
        request = {"input": self.history, "store": False, "include": ["reasoning.encrypted_content"], **self.options}
        if streamed:
            async with self.sdk.responses.stream(**request) as stream:
                response = await stream.get_final_response()
        else:
            response = await self.sdk.responses.create(**request)
        self.history += response.output
        body: Json = response.to_dict(mode="json")
        output, usage = body["output"], body["usage"]
        parts = [part for item in output if item["type"] == "message" for part in item["content"]]
        thoughts = [part for item in output if item["type"] == "reasoning" for part in item["summary"]]
        return Heard(
            "".join(part["text"] for part in parts),
            "".join(part["text"] for part in thoughts),
            [
                (item["call_id"], item["name"], json.loads(item["arguments"]))
                for item in output
                if item["type"] == "function_call"
            ],
            body["status"],
            (
                usage["input_tokens"],
                usage["input_tokens_details"]["cached_tokens"],
                usage["output_tokens"],
                usage["output_tokens_details"]["reasoning_tokens"],
            ),
            body,
        )

    def results(self, results: Mapping[str, tuple[str, bool]]) -> None:
        for call, (text, _) in results.items():
            self.history.append({"type": "function_call_output", "call_id": call, "output": text})


def _options(fmt: Format) -> Json:
    """A system prompt, two tools and thinking, in this format."""
    system, about = "You tell the weather.", "The weather in a city"
    match fmt:
        case Format.ANTHROPIC:
            return {
                "system": system,
                "max_tokens": 4000,
                "thinking": {"type": "adaptive", "display": "summarized"},
                "tools": [
                    {"name": "weather", "description": about, "input_schema": SCHEMA},
                    {"name": "now", "input_schema": NOTHING},
                ],
            }
        case Format.OPENAI_CHAT:
            tools = [{"name": "weather", "description": about, "parameters": SCHEMA}, {"name": "now"}]
            return {
                "reasoning_effort": "high",
                "tools": [{"type": "function", "function": tool} for tool in tools],
            }
        case Format.OPENAI_RESPONSES:
            tools = [
                {"name": "weather", "description": about, "parameters": SCHEMA},
                {"name": "now", "parameters": NOTHING},
            ]
            return {
                "instructions": system,
                "reasoning": {"effort": "high", "summary": "auto"},
                "tools": [{"type": "function", "strict": False, **tool} for tool in tools],
            }


@asynccontextmanager
async def talking(
    fmt: Format,
    base: str,
    model: str,
    *,
    key: str = "dummy",
    echoes: bool = True,
    patience: float = PATIENCE,
    **options: Any,
) -> AsyncIterator[Talk]:
    """A client of this format at a provider's prefix. An option of None leaves out what is there by default."""
    heads: list[Mapping[str, str]] = []

    async def note(answer: Any) -> None:
        heads.append(answer.headers)

    chosen = {k: v for k, v in {"model": model, **_options(fmt), **options}.items() if v is not None}
    # `verify`: reading all the certificates of the world takes longer than a test, and nothing here speaks TLS.
    http = httpx.AsyncClient(trust_env=False, verify=False, timeout=patience, event_hooks={"response": [note]})
    sdk: Any
    if fmt is Format.ANTHROPIC:
        sdk = anthropic.AsyncAnthropic(base_url=base, api_key=key, max_retries=0, http_client=http)
    else:
        sdk = openai.AsyncOpenAI(base_url=f"{base}/v1", api_key=key, max_retries=0, http_client=http)
    kinds: dict[Format, type[Talk]] = {
        Format.ANTHROPIC: AnthropicTalk,
        Format.OPENAI_CHAT: ChatTalk,
        Format.OPENAI_RESPONSES: ResponsesTalk,
    }
    async with sdk:
        talk = kinds[fmt](sdk, chosen, heads, echoes)
        if fmt is Format.OPENAI_CHAT:
            talk.history.append({"role": "system", "content": "You tell the weather."})
        yield talk


async def settle(value: Any) -> Any:
    """The value, awaited where this SDK's version made it awaitable."""
    return await value if inspect.isawaitable(value) else value
