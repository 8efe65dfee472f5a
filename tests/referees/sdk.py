"""Streams through the SDKs' own accumulators and bodies through their types, without a network."""

from __future__ import annotations

import collections.abc
import functools
from typing import Any

import anthropic
import openai
from pydantic import TypeAdapter

from ccproxy.translate.formats import Format

try:
    import httpx2 as httpx  # anthropic 2, openai 3
except ImportError:
    import httpx  # type: ignore[no-redef]

Json = dict[str, Any]

NEW_ANTHROPIC = int(anthropic.__version__.split(".")[0]) >= 2
NEW_OPENAI = int(openai.__version__.split(".")[0]) >= 3


def _client(content: bytes) -> Any:
    def answer(request: Any) -> Any:
        return httpx.Response(200, content=content, headers={"content-type": "text/event-stream"}, request=request)

    return httpx.Client(transport=httpx.MockTransport(answer))


def accumulate(fmt: Format, stream: bytes, **request: Any) -> Json:
    """What the SDK's stream accumulator makes of a stream; raises what it raises."""
    match fmt:
        case Format.ANTHROPIC:
            return _anthropic(stream)
        case Format.OPENAI_CHAT:
            return _chat(stream, **request)
        case Format.OPENAI_RESPONSES:
            return _responses(stream, **request)


def _anthropic(stream: bytes) -> Json:
    with (
        _client(stream) as http,
        anthropic.Anthropic(api_key="dummy", base_url="http://sdk.invalid", max_retries=0, http_client=http) as client,
        client.messages.stream(model="m", max_tokens=1, messages=[{"role": "user", "content": "hi"}]) as events,
    ):
        message: Json = events.get_final_message().to_dict(mode="json")
    return message


def _chat(stream: bytes, **request: Any) -> Json:
    with (
        _client(stream) as http,
        openai.OpenAI(api_key="dummy", base_url="http://sdk.invalid", max_retries=0, http_client=http) as client,
        client.chat.completions.stream(model="m", messages=[{"role": "user", "content": "hi"}], **request) as events,
    ):
        completion: Json = events.get_final_completion().to_dict(mode="json")
    return completion


def _responses(stream: bytes, **request: Any) -> Json:
    with (
        _client(stream) as http,
        openai.OpenAI(api_key="dummy", base_url="http://sdk.invalid", max_retries=0, http_client=http) as client,
        client.responses.stream(model="m", input="hi", **request) as events,
    ):
        last = None
        for event in events:
            last = event
        if last is not None and last.type in ("response.incomplete", "response.failed"):
            found: Json = last.response.to_dict(mode="json")
            return found
        response: Json = events.get_final_response().to_dict(mode="json")
    return response


# --- types -----------------------------------------------------------------------------------------------------------


def check_answer(fmt: Format, body: Json) -> None:
    """Validate a whole answer against the SDK's model."""
    match fmt:
        case Format.ANTHROPIC:
            anthropic.types.Message.model_validate(body)
        case Format.OPENAI_CHAT:
            openai.types.chat.ChatCompletion.model_validate(body)
        case Format.OPENAI_RESPONSES:
            openai.types.responses.Response.model_validate(body)


@functools.cache
def _adapter(name: str) -> TypeAdapter[Any]:
    from anthropic.types import message_create_params as a
    from openai.types.chat import completion_create_params as c
    from openai.types.responses import response_create_params as r

    # The annotations of TypedDicts are strings to be resolved where they stand; `Iterable` would be validated lazily.
    types: dict[str, Any] = {
        "anthropic": a.MessageCreateParamsNonStreaming,
        "openai_chat": c.CompletionCreateParamsNonStreaming,
        "openai_responses": r.ResponseCreateParamsNonStreaming,
    }
    return TypeAdapter(types[name])


def check_request(fmt: Format, body: Json) -> None:
    """Validate a request against the SDK's parameters. Whether it streams is not their business."""
    force(
        _adapter(fmt.value).validate_python(
            {key: value for key, value in body.items() if key not in ("stream", "stream_options")}
        )
    )


def force(value: Any) -> None:
    """Walk through a validated value: pydantic checks the items of an `Iterable` only when they are taken."""
    if isinstance(value, dict):
        for item in value.values():
            force(item)
    elif isinstance(value, list | tuple | collections.abc.Iterator):
        for item in value:
            force(item)


def plain(value: Any) -> Any:
    """A body without what an accumulator adds or leaves out by its nature: nulls, empty content, parsed copies, indices of calls."""
    if isinstance(value, dict):
        found = {key: plain(item) for key, item in value.items() if item is not None and not key.startswith("parsed")}
        if found.get("content") == "":
            del found["content"]
        for call in found.get("tool_calls", ()):
            call.pop("index", None)
        return found
    return [plain(item) for item in value] if isinstance(value, list) else value


def with_image_detail(body: Json) -> Json:
    """The body with `detail` on every image."""

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            found = {key: walk(item) for key, item in value.items()}
            return {"detail": "auto", **found} if found.get("type") == "input_image" else found
        return [walk(item) for item in value] if isinstance(value, list) else value

    result: Json = walk(body)
    return result
