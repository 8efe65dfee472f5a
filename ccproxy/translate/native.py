"""Requests whose client and upstream use the same format: unchanged, except that thinking which another provider signed never reaches this one."""

from __future__ import annotations

from typing import Any

from ccproxy.translate import capsule
from ccproxy.translate.formats import Format
from ccproxy.translate.losses import Losses

Json = dict[str, Any]

_FOREIGN = "thinking goes back only to the provider that signed it"


def adapt(fmt: Format, body: Json, losses: Losses) -> Json:
    """Return the body for the upstream: the very same object when nothing has to change."""
    match fmt:
        case Format.ANTHROPIC:
            return _strip_messages(body, losses)
        case Format.OPENAI_RESPONSES:
            return _strip_items(body, losses)
        case Format.OPENAI_CHAT:
            return body


def _strip_messages(body: Json, losses: Losses) -> Json:
    messages = body.get("messages")
    if not isinstance(messages, list):
        return body
    remaining: list[Any] = []
    changed = False
    for i, message in enumerate(messages):
        content = message.get("content") if isinstance(message, dict) and message.get("role") == "assistant" else None
        if not isinstance(content, list):
            remaining.append(message)
            continue
        blocks = _strip_blocks(content, f"messages[{i}].content", losses)
        if blocks is content:
            remaining.append(message)
            continue
        changed = True
        if blocks:  # a message of nothing but foreign thinking is left out
            remaining.append({**message, "content": blocks})
    return {**body, "messages": remaining} if changed else body


def _strip_blocks(content: list[Any], path: str, losses: Losses) -> list[Any]:
    foreign = {block.get("tool_use_id") for block in content if _foreign_search(block)}
    remaining: list[Any] = []
    changed = False
    for i, block in enumerate(content):
        if not isinstance(block, dict):
            remaining.append(block)
        elif (
            capsule.is_sealed(block.get("signature"))
            or capsule.is_sealed(block.get("data"))
            or (foreign and (block.get("tool_use_id") in foreign or block.get("id") in foreign))
        ):
            losses.add(f"{path}[{i}]", _FOREIGN)
            changed = True
        else:
            plain = _strip_citations(block)
            changed = changed or plain is not block
            remaining.append(plain)
    return remaining if changed else content


def _foreign_search(block: object) -> bool:
    """Is it the result of a web search at OpenAI, in Anthropic's format?"""
    if not isinstance(block, dict) or block.get("type") != "web_search_tool_result":
        return False
    if str(block.get("tool_use_id")).startswith("srvtoolu_ws_"):
        return True
    content = block.get("content")
    return isinstance(content, list) and any(
        isinstance(entry, dict) and capsule.is_sealed(entry.get("encrypted_content")) for entry in content
    )


def _strip_citations(block: Json) -> Json:
    citations = block.get("citations")
    if not isinstance(citations, list):
        return block
    own = [
        entry
        for entry in citations
        if not (isinstance(entry, dict) and capsule.is_sealed(entry.get("encrypted_index")))
    ]
    if len(own) == len(citations):
        return block
    rest = {key: value for key, value in block.items() if key != "citations"}
    return {**rest, "citations": own} if own else rest


def _strip_items(body: Json, losses: Losses) -> Json:
    items = body.get("input")
    if not isinstance(items, list):
        return body
    remaining: list[Any] = []
    for i, item in enumerate(items):
        if isinstance(item, dict) and capsule.is_sealed(item.get("encrypted_content")):
            losses.add(f"input[{i}]", _FOREIGN)
        else:
            remaining.append(item)
    return {**body, "input": remaining} if len(remaining) != len(items) else body
