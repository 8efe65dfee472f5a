r"""Requests and responses of the three formats in a form for human readers: messages, thinking, tool calls, usage. Pure.

    readable(b'{"model": …, "messages": [...]}')      readable(b"event: message_start\ndata: {...}\n\n…")

It shows as JSON what it does not know, and no other code depends on its output.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from ccproxy.translate.fold import fold_any

Json = dict[str, Any]

_TEXTS: Final = {"text", "input_text", "output_text", "summary_text", "reasoning_text", "refusal"}
_CALLS: Final = {"tool_use", "server_tool_use", "mcp_tool_use", "function_call", "custom_tool_call"}
_RESULTS: Final = {"tool_result", "function_call_output", "custom_tool_call_output"}
_FILES: Final = {"image", "image_url", "input_image", "document", "file", "input_file", "input_audio"}
_UNFINISHED: Final = (None, "in_progress", "queued")
_SHOWN: Final = 2000
"""Characters of an unknown thing's JSON."""


def readable(data: bytes) -> str:
    """Return the text. Raises `ValueError` for data in none of the formats, or of a shape that cannot be shown."""
    try:
        return _readable(data)
    except (TypeError, AttributeError, LookupError, RecursionError) as error:
        raise ValueError(f"not a request or response of a known shape: {error}") from error


def _readable(data: bytes) -> str:
    whole: Json | None = None
    if data.lstrip()[:1] == b"{":
        whole = json.loads(data)
    elif is_sse(data) and (folded := fold_any(data)) is not None:
        whole = folded[1]
    if whole is None or not is_known(whole):
        raise ValueError("not a request or response of Messages, Chat Completions or Responses")
    return "\n".join(_rendered(whole)).strip() + "\n"


def is_sse(data: bytes) -> bool:
    return data.lstrip().startswith((b"event:", b"data:", b":"))


def is_known(whole: Json) -> bool:
    """Return whether an object is a request or a response of one of the formats."""
    kind = whole.get("type")
    return (
        isinstance(whole.get("messages"), list)
        or isinstance(whole.get("choices"), list)
        or whole.get("object") == "response"
        or kind in {"message", "error"}
        or ("input" in whole and "model" in whole)
        or isinstance(whole.get("error"), dict)
    )


def _rendered(whole: Json) -> Iterator[str]:
    yield _facts(whole)
    if isinstance(error := whole.get("error"), dict):
        yield _heading("error")
        yield f"{error.get('type') or error.get('code')}: {error.get('message')}"
    yield from _request(whole)
    yield from _response(whole)
    if isinstance(usage := whole.get("usage"), dict):
        yield _heading("usage")
        yield from (f"{name}: {value}" for name, value in _flat(usage))


def _request(whole: Json) -> Iterator[str]:
    for name in ("system", "instructions"):
        if whole.get(name):
            yield _heading(name)
            yield from _content(whole[name])
    if tools := whole.get("tools"):
        yield _heading("tools")
        yield ", ".join(_tool_name(tool) for tool in tools)
    for message in whole.get("messages") or ():
        yield from _message(message)
    if isinstance(conversation := whole.get("input"), str):
        yield from _message({"role": "user", "content": conversation})
    elif isinstance(conversation, list):
        yield from _items(conversation)


def _response(whole: Json) -> Iterator[str]:
    if whole.get("type") == "message":
        yield from _message(whole)
    for choice in whole.get("choices") or ():
        yield from _message(choice.get("message") or {})
        yield f"[stopped: {choice['finish_reason']}]" if choice.get("finish_reason") else "[cut]"
    if isinstance(whole.get("output"), list):
        yield from _items(whole["output"])
    if stop := whole.get("stop_reason"):
        yield f"[stopped: {stop}]"
    elif whole.get("type") == "message" or (
        isinstance(whole.get("output"), list) and whole.get("status") in _UNFINISHED
    ):
        yield "[cut]"


def _facts(whole: Json) -> str:
    """The short values of the top level."""
    left_out = {"type", "object", "role", "stop_reason", "instructions", "system", "input"}
    return " · ".join(
        f"{name} {json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value}"
        for name, value in whole.items()
        if name not in left_out
        and (isinstance(value, int | float) or (isinstance(value, str) and value and len(value) < 200))
    )


def _heading(name: str) -> str:
    return f"\n── {name} " + "─" * max(2, 60 - len(name))


def _tool_name(tool: Any) -> str:
    if not isinstance(tool, dict):
        return str(tool)
    inner = tool.get("function")
    return str(tool.get("name") or (inner.get("name") if isinstance(inner, dict) else None) or tool.get("type"))


def _message(message: Any) -> Iterator[str]:
    if not isinstance(message, dict):
        yield _shortened(message)
        return
    yield _heading(str(message.get("role", "assistant")))
    if reasoning := message.get("reasoning_content") or message.get("reasoning"):
        yield f"[thinking] {reasoning}"
    if message.get("role") == "tool":
        yield f"[result of {message.get('tool_call_id')}]"
    yield from _content(message.get("content"))
    if message.get("refusal"):
        yield f"[refusal] {message['refusal']}"
    for call in message.get("tool_calls") or ():
        function = call.get("function") or call.get("custom") or {}
        arguments = function.get("arguments") or function.get("input") or ""
        yield f"[calls {function.get('name')} {call.get('id', '')}] {arguments}"


def _items(items: list[Any]) -> Iterator[str]:
    """Of a Responses conversation."""
    for item in items:
        if isinstance(item, dict) and (item.get("type", "message") == "message"):
            yield from _message(item)
        else:
            yield _heading(str(item.get("type"))) if isinstance(item, dict) else ""
            yield from _block(item)


def _content(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for block in content:
            yield from _block(block)
    elif content is not None:
        yield _shortened(content)


def _block(block: Any) -> Iterator[str]:
    if not isinstance(block, dict):
        yield str(block)
        return
    kind = str(block.get("type"))
    if kind in _TEXTS:
        yield str(block.get("text") or block.get("refusal") or "")
    elif kind == "thinking":
        yield f"[thinking] {block.get('thinking')}"
    elif kind == "reasoning":
        texts = [part.get("text", "") for part in (*(block.get("summary") or ()), *(block.get("content") or ()))]
        yield "[thinking] " + ("\n".join(texts) or "(sealed)")
    elif kind in _CALLS:
        arguments = next((block[name] for name in ("arguments", "partial_json", "input") if name in block), None)
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        yield f"[calls {block.get('name')} {block.get('call_id') or block.get('id', '')}] {text}"
    elif kind in _RESULTS:
        failed = ", failed" if block.get("is_error") else ""
        yield f"[result of {block.get('tool_use_id') or block.get('call_id')}{failed}]"
        yield from _content(block.get("content") if "content" in block else block.get("output"))
    elif kind in _FILES:
        yield f"[{kind}, {len(json.dumps(block)):,} characters]"
    else:
        yield f"[{kind}] {_shortened({k: v for k, v in block.items() if k != 'type'})}"


def _shortened(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text):,} characters)"


def _flat(values: Json, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None:
            yield prefix + name, value
