"""The official SDKs' rows."""

from __future__ import annotations

from typing import Any

from tests.conformance.bench import Bench, Proxy, check
from tests.conformance.rows import CLAUDE_MODEL, INSIDE, MESSAGES, NATIVE, TRANSLATED, row
from tests.conformance.upstreams import CLAUDE_SAYS, CODEX_SAYS, COMMAND, TOOL_SAID

OPENAI, ANTHROPIC = "OpenAI SDK", "Anthropic SDK"
KEY = "client-codex-dummy"
CODEX_MODEL = "gpt-5.5"
USER = {"role": "user", "content": "say hi"}
SCHEMA = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}


def openai(proxy: Proxy, prefix: str) -> Any:
    from openai import OpenAI

    return OpenAI(base_url=f"{proxy.url}{prefix}/v1", api_key=KEY, max_retries=0)


def anthropic(proxy: Proxy, prefix: str) -> Any:
    from anthropic import Anthropic

    return Anthropic(base_url=f"{proxy.url}{prefix}", api_key="sk-ant-client-dummy", max_retries=0)


def raises(call: Any, name: str, status: int, words: str) -> None:
    """See that the SDK raises its own error class for this status."""
    try:
        call()
    except Exception as error:
        kind = type(error).__name__
        check(kind == name, f"{kind} instead of {name}: {error}")
        check(getattr(error, "status_code", None) == status, f"status {getattr(error, 'status_code', None)}")
        check(words in str(error), f"says {error}")
    else:
        check(False, f"no {name} was raised")


def response_text(client: Any, model: str, *, stream: bool, asked: Any = "say hi") -> tuple[str, Any]:
    if not stream:
        response = client.responses.create(model=model, input=asked)
        return response.output_text, response.usage
    said, usage = "", None
    for event in client.responses.create(model=model, input=asked, stream=True):
        if event.type == "response.output_text.delta":
            said += event.delta
        elif event.type == "response.completed":
            usage = event.response.usage
    return said, usage


def chat_text(client: Any, model: str, *, stream: bool) -> tuple[str, Any]:
    if not stream:
        answer = client.chat.completions.create(model=model, messages=[USER])
        return answer.choices[0].message.content, answer.usage
    said, usage = "", None
    for chunk in client.chat.completions.create(
        model=model, messages=[USER], stream=True, stream_options={"include_usage": True}
    ):
        said += "".join(choice.delta.content or "" for choice in chunk.choices)
        usage = chunk.usage or usage
    return said, usage


def both_ways(text: Any, client: Any, model: str, words: str) -> None:
    for stream in (True, False):
        said, usage = text(client, model, stream=stream)
        check(words in said, f"{'streamed' if stream else 'whole'}: {said!r}")
        check(usage is not None and (getattr(usage, "total_tokens", 0) or usage.output_tokens) > 0, f"usage is {usage}")


# ---- OpenAI SDK


@row(OPENAI, "/api/codex", NATIVE, "Responses, streamed and whole")
def _(b: Bench) -> None:
    both_ways(response_text, openai(b.keyed, "/api/codex"), CODEX_MODEL, CODEX_SAYS)
    b.no_client_key_at(b.codex)


@row(OPENAI, "/api/codex", NATIVE, "Responses: an incomplete answer, and 400 and 429 as errors of the SDK")
def _(b: Bench) -> None:
    client = openai(b.keyed, "/api/codex")
    incomplete = client.responses.create(model=CODEX_MODEL, input="[[incomplete]]")
    check(incomplete.status == "incomplete" and incomplete.incomplete_details.reason == "max_output_tokens", incomplete)
    raises(
        lambda: client.responses.create(model=CODEX_MODEL, input="[[400]]", stream=True),
        "BadRequestError",
        400,
        "as asked for",
    )
    raises(
        lambda: client.responses.create(model=CODEX_MODEL, input="[[429]]", stream=True),
        "RateLimitError",
        429,
        "usage limit",
    )


@row(OPENAI, "/api/codex", TRANSLATED, "Chat Completions, streamed and whole")
def _(b: Bench) -> None:
    both_ways(chat_text, openai(b.keyed, "/api/codex"), CODEX_MODEL, CODEX_SAYS)


@row(OPENAI, "/api/codex", TRANSLATED, "Chat Completions: tool turn, errors")
def _(b: Bench) -> None:
    client = openai(b.keyed, "/api/codex")
    chat_tool_turn(client, CODEX_MODEL)
    asked = [{"role": "user", "content": "[[400]]"}]
    raises(
        lambda: client.chat.completions.create(model=CODEX_MODEL, messages=asked),
        "BadRequestError",
        400,
        "as asked for",
    )


def chat_tool_turn(client: Any, model: str) -> None:
    tools = [{"type": "function", "function": {"name": "shell", "description": "Run a command.", "parameters": SCHEMA}}]
    messages: list[Any] = [{"role": "user", "content": "[[tool]]"}]
    answer = client.chat.completions.create(model=model, messages=messages, tools=tools).choices[0]
    check(answer.finish_reason == "tool_calls", f"finish_reason {answer.finish_reason}")
    call = answer.message.tool_calls[0]
    check(call.function.name == "shell" and COMMAND in call.function.arguments, call)
    messages += [answer.message, {"role": "tool", "tool_call_id": call.id, "content": "hello-from-tool"}]
    last = client.chat.completions.create(model=model, messages=messages, tools=tools)
    check(TOOL_SAID in (last.choices[0].message.content or ""), last)


@row(OPENAI, "/api/codex", NATIVE, "models")
def _(b: Bench) -> None:
    names = [model.id for model in openai(b.keyed, "/api/codex").models.list()]
    check(CODEX_MODEL in names, f"{CODEX_MODEL} is not among {names}")


@row(OPENAI, "/api", TRANSLATED, "Chat Completions, streamed and whole")
def _(b: Bench) -> None:
    both_ways(chat_text, openai(b.keyed, "/api"), CLAUDE_MODEL, CLAUDE_SAYS)
    b.no_client_key_at(b.anthropic)


@row(OPENAI, "/api", TRANSLATED, "Chat Completions: tool turn, errors")
def _(b: Bench) -> None:
    client = openai(b.keyed, "/api")
    chat_tool_turn(client, CLAUDE_MODEL)
    asked = [{"role": "user", "content": "[[429]]"}]
    raises(
        lambda: client.chat.completions.create(model=CLAUDE_MODEL, messages=asked), "RateLimitError", 429, "rate limit"
    )


@row(OPENAI, "/api", TRANSLATED, "Responses, streamed and whole")
def _(b: Bench) -> None:
    both_ways(response_text, openai(b.keyed, "/api"), CLAUDE_MODEL, CLAUDE_SAYS)


@row(OPENAI, "/api", TRANSLATED, "Responses: tool turn")
def _(b: Bench) -> None:
    client = openai(b.keyed, "/api")
    tools = [
        {"type": "function", "name": "shell", "description": "Run a command.", "parameters": SCHEMA, "strict": False}
    ]
    items: list[Any] = [{"role": "user", "content": "[[tool]]"}]
    first = client.responses.create(model=CLAUDE_MODEL, input=items, tools=tools)
    call = next(item for item in first.output if item.type == "function_call")
    check(call.name == "shell" and COMMAND in call.arguments, call)
    items += [
        *(item.model_dump(exclude_none=True) for item in first.output),
        {"type": "function_call_output", "call_id": call.call_id, "output": "hello-from-tool"},
    ]
    check(
        TOOL_SAID in client.responses.create(model=CLAUDE_MODEL, input=items, tools=tools).output_text, "no last word"
    )


@row(OPENAI, "/mock", INSIDE, "Chat Completions and Responses, streamed and whole")
def _(b: Bench) -> None:
    client = openai(b.keyed, "/mock")
    both_ways(chat_text, client, "mock-claude", "say hi")
    both_ways(response_text, client, "mock-claude", "say hi")


# ---- Anthropic SDK


def message_text(client: Any, model: str, *, stream: bool) -> tuple[str, Any]:
    if not stream:
        message = client.messages.create(model=model, max_tokens=100, messages=[USER])
        return "".join(block.text for block in message.content if block.type == "text"), message.usage
    with client.messages.stream(model=model, max_tokens=100, messages=[USER]) as events:
        said = "".join(events.text_stream)
        return said, events.get_final_message().usage


@row(ANTHROPIC, "/api", NATIVE, "Messages, streamed and whole; byte for byte")
def _(b: Bench) -> None:
    both_ways(message_text, anthropic(b.keyed, "/api"), CLAUDE_MODEL, CLAUDE_SAYS)
    b.unchanged(b.keyed, b.anthropic, "POST", MESSAGES, at_least=2)
    b.no_client_key_at(b.anthropic)


@row(ANTHROPIC, "/api", NATIVE, "count_tokens, models, and errors of the SDK")
def _(b: Bench) -> None:
    client = anthropic(b.keyed, "/api")
    check(client.messages.count_tokens(model=CLAUDE_MODEL, messages=[USER]).input_tokens > 0, "no count")
    check(CLAUDE_MODEL in [model.id for model in client.models.list()], "the model is not listed")
    check(client.models.retrieve(CLAUDE_MODEL).id == CLAUDE_MODEL, "the model is not found")
    raises(lambda: ask(client, "[[400]]"), "BadRequestError", 400, "as asked for")
    raises(lambda: ask(client, "[[429]]"), "RateLimitError", 429, "rate limit")
    raises(lambda: ask(client, "[[529]]"), "OverloadedError", 529, "Overloaded")


def ask(client: Any, text: str, model: str = CLAUDE_MODEL, **more: Any) -> Any:
    return client.messages.create(model=model, max_tokens=100, messages=[{"role": "user", "content": text}], **more)


@row(ANTHROPIC, "/api/codex", TRANSLATED, "Messages, streamed and whole")
def _(b: Bench) -> None:
    both_ways(message_text, anthropic(b.keyed, "/api/codex"), CODEX_MODEL, CODEX_SAYS)
    b.no_client_key_at(b.codex)


@row(ANTHROPIC, "/api/codex", TRANSLATED, "Messages: tool turn, errors")
def _(b: Bench) -> None:
    client = anthropic(b.keyed, "/api/codex")
    tools = [{"name": "shell", "description": "Run a command.", "input_schema": SCHEMA}]
    first = ask(client, "[[tool]]", CODEX_MODEL, tools=tools)
    check(first.stop_reason == "tool_use", f"stop_reason {first.stop_reason}")
    call = next(block for block in first.content if block.type == "tool_use")
    check(call.name == "shell" and call.input == {"command": COMMAND}, call)
    messages = [
        {"role": "user", "content": "[[tool]]"},
        {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in first.content]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "hello-from-tool"}]},
    ]
    last = client.messages.create(model=CODEX_MODEL, max_tokens=100, messages=messages, tools=tools)
    check(TOOL_SAID in "".join(block.text for block in last.content if block.type == "text"), last)
    raises(lambda: ask(client, "[[400]]", CODEX_MODEL), "BadRequestError", 400, "as asked for")
    raises(lambda: ask(client, "[[429]]", CODEX_MODEL), "RateLimitError", 429, "limit")


@row(ANTHROPIC, "/mock", INSIDE, "Messages, streamed and whole")
def _(b: Bench) -> None:
    both_ways(message_text, anthropic(b.keyed, "/mock"), "mock-claude", "say hi")
