"""What an answer says, read straight from each format's whole body: an eye of its own, independent of the translator's."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from ccproxy.translate.formats import Format

Json = dict[str, Any]


class Facts(NamedTuple):
    """What has to survive a translation."""

    text: str
    calls: tuple[tuple[str, Any], ...]
    stop: str
    """end, tool, length, refusal"""
    usage: tuple[int, int, int, int]
    """All input, cached input, output, reasoning."""
    reasoning: str
    citations: tuple[str, ...]


def facts(fmt: Format, body: Json) -> Facts:
    """The facts of a whole answer."""
    match fmt:
        case Format.ANTHROPIC:
            return _anthropic(body)
        case Format.OPENAI_CHAT:
            return _chat(body)
        case Format.OPENAI_RESPONSES:
            return _responses(body)


def _arguments(text: str) -> Any:
    try:
        return json.loads(text or "{}")
    except ValueError:
        return text


def _anthropic(body: Json) -> Facts:
    blocks = body["content"]
    usage = body["usage"]
    cached = usage.get("cache_read_input_tokens") or 0
    total = usage["input_tokens"] + cached + (usage.get("cache_creation_input_tokens") or 0)
    thinking = (usage.get("output_tokens_details") or {}).get("thinking_tokens") or 0
    stop = {
        "end_turn": "end",
        "stop_sequence": "end",
        "pause_turn": "end",
        "compaction": "end",
        "tool_use": "tool",
        "max_tokens": "length",
        "model_context_window_exceeded": "length",
        "refusal": "refusal",
    }[body["stop_reason"]]
    return Facts(
        "".join(block["text"] for block in blocks if block["type"] == "text"),
        tuple((block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"),
        stop,
        (total, cached, usage["output_tokens"], thinking),
        "\n\n".join(block["thinking"] for block in blocks if block["type"] == "thinking" and block["thinking"]),
        tuple(
            citation["url"]
            for block in blocks
            if block["type"] == "text"
            for citation in block.get("citations") or ()
            if citation.get("url")
        ),
    )


def _chat(body: Json) -> Facts:
    choice = body["choices"][0]
    message = choice["message"]
    usage = body.get("usage") or {}
    calls = []
    for call in message.get("tool_calls") or ():
        if call["type"] == "custom":
            calls.append((call["custom"]["name"], call["custom"]["input"]))
        else:
            calls.append((call["function"]["name"], _arguments(call["function"]["arguments"])))
    legacy = message.get("function_call")
    if legacy:
        calls.append((legacy["name"], _arguments(legacy["arguments"])))
    reason = choice["finish_reason"]
    stop = {
        "stop": "end",
        "length": "length",
        "tool_calls": "tool",
        "function_call": "tool",
        "content_filter": "refusal",
    }[reason]
    if stop == "end" and calls:
        stop = "tool"
    if message.get("refusal"):
        stop = "refusal"
    return Facts(
        (message.get("content") or "") + (message.get("refusal") or ""),
        tuple(calls),
        stop,
        (
            usage.get("prompt_tokens") or 0,
            (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
            usage.get("completion_tokens") or 0,
            (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0,
        ),
        message.get("reasoning_content") or message.get("reasoning") or "",
        tuple(
            entry["url_citation"]["url"]
            for entry in message.get("annotations") or ()
            if entry["type"] == "url_citation"
        ),
    )


_CLIENT_CALLS = {"local_shell_call": ("local_shell", "action"), "apply_patch_call": ("apply_patch", "operation")}


def _responses(body: Json) -> Facts:
    text, calls, reasoning, citations, refused = "", [], [], [], False
    for item in body["output"]:
        match item["type"]:
            case "message":
                for part in item["content"]:
                    text += part.get("text") or part.get("refusal") or ""
                    refused = refused or part["type"] == "refusal"
                    citations += [
                        entry["url"] for entry in part.get("annotations") or () if entry["type"] == "url_citation"
                    ]
            case "function_call":
                calls.append((_qualified(item), _arguments(item["arguments"])))
            case "custom_tool_call":
                calls.append((_qualified(item), item["input"]))
            case "reasoning":
                parts = [*(item.get("summary") or ()), *(item.get("content") or ())]
                if parts:
                    reasoning.append("\n\n".join(part["text"] for part in parts))
            case kind if kind in _CLIENT_CALLS:
                name, member = _CLIENT_CALLS[kind]
                calls.append((name, item[member]))
    if body["status"] == "incomplete":
        reason = body["incomplete_details"]["reason"]
        stop = {"max_output_tokens": "length", "content_filter": "refusal"}.get(reason, "end")
    else:
        stop = "refusal" if refused else "tool" if calls else "end"
    usage = body.get("usage") or {}
    return Facts(
        text,
        tuple(calls),
        stop,
        (
            usage.get("input_tokens") or 0,
            (usage.get("input_tokens_details") or {}).get("cached_tokens") or 0,
            usage.get("output_tokens") or 0,
            (usage.get("output_tokens_details") or {}).get("reasoning_tokens") or 0,
        ),
        "\n\n".join(reasoning),
        tuple(citations),
    )


def _qualified(item: Json) -> str:
    namespace = item.get("namespace")
    return f"{namespace}__{item['name']}" if namespace else item["name"]
