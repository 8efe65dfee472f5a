"""Client and upstream speak the same format: the request stays as it is, but for the little that it must not hold.

* Capsules minted by another provider never reach this one.
* The Codex backend refuses some top-level keys and wants others.
"""

from __future__ import annotations

from typing import Any

from ccproxy.translate import capsule, policy
from ccproxy.translate.checks import UNKNOWN_FIELD
from ccproxy.translate.formats import Format
from ccproxy.translate.losses import Losses
from ccproxy.translate.openai_responses.render import CODEX_FIELDS, without
from ccproxy.translate.policy import Target
from ccproxy.translate.profiles import Profile, ResponsesProfile

Json = dict[str, Any]

_FOREIGN = "thinking goes back only to the provider that signed it"


def adapt(fmt: Format, body: Json, profile: Profile, losses: Losses) -> Json:
    """The body for the upstream: the very same object when nothing has to change.

    Raises `BadRequest` for what the Codex backend cannot be told.
    """
    if fmt is Format.ANTHROPIC:
        return _strip_messages(body, losses)
    if fmt is Format.OPENAI_RESPONSES:
        body = _strip_items(body, losses)
        if isinstance(profile, ResponsesProfile) and profile.codex:
            body = _codex(body, profile, losses)
    return body


# --- capsules --------------------------------------------------------------------------------------------------------


def _strip_messages(body: Json, losses: Losses) -> Json:
    messages = body.get("messages")
    if not isinstance(messages, list):
        return body
    kept: list[Any] = []
    changed = False
    for i, message in enumerate(messages):
        content = message.get("content") if isinstance(message, dict) and message.get("role") == "assistant" else None
        if not isinstance(content, list):
            kept.append(message)
            continue
        blocks = _strip_blocks(content, f"messages[{i}].content", losses)
        if blocks is content:
            kept.append(message)
            continue
        changed = True
        if blocks:  # a message of nothing but foreign thinking has nothing left to say
            kept.append({**message, "content": blocks})
    return {**body, "messages": kept} if changed else body


def _strip_blocks(content: list[Any], path: str, losses: Losses) -> list[Any]:
    foreign = {block.get("tool_use_id") for block in content if _foreign_search(block)}
    kept: list[Any] = []
    changed = False
    for i, block in enumerate(content):
        if not isinstance(block, dict):
            kept.append(block)
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
            kept.append(plain)
    return kept if changed else content


def _foreign_search(block: object) -> bool:
    """Is it OpenAI's web search, told in Anthropic's words?"""
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
    kept: list[Any] = []
    for i, item in enumerate(items):
        if isinstance(item, dict) and capsule.is_sealed(item.get("encrypted_content")):
            losses.add(f"input[{i}]", _FOREIGN)
        else:
            kept.append(item)
    return {**body, "input": kept} if len(kept) != len(items) else body


# --- the Codex backend -----------------------------------------------------------------------------------------------


def _codex(body: Json, profile: ResponsesProfile, losses: Losses) -> Json:
    table = policy.FIELDS[Format.OPENAI_RESPONSES]
    dropped = []
    for key, value in body.items():
        row = table.get(key)
        if row is None:
            dropped.append(key)
            if value is not None:
                losses.add(key, UNKNOWN_FIELD)
        elif (
            value is not None and not policy.settle(row, Target.CODEX, key, losses, value)
        ) or key not in CODEX_FIELDS:
            dropped.append(key)
    wanted: Json = {}
    if body.get("store") is not False:
        wanted["store"] = False
    if body.get("stream") is not True:
        wanted["stream"] = True
    items = _codex_input(body.get("input"))
    if items is not body.get("input"):
        wanted["input"] = items
    if body.get("instructions") is None and not _has_instructions(items):
        wanted["instructions"] = ""  # the key was demanded once, and empty it is safe
    if dropped or wanted:
        body = {key: value for key, value in body.items() if key not in dropped} | wanted
    for path in profile.refused:
        body = without(body, path)
    return body


def _codex_input(items: Any) -> Any:
    if isinstance(items, str):
        return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": items}]}]
    if isinstance(items, list) and any(isinstance(item, dict) and item.get("role") == "system" for item in items):
        return [
            {**item, "role": "developer"} if isinstance(item, dict) and item.get("role") == "system" else item
            for item in items
        ]
    return items


def _has_instructions(items: object) -> bool:
    """Codex itself sends its instructions as developer messages and no key: its requests stay as they are."""
    return isinstance(items, list) and any(isinstance(item, dict) and item.get("role") == "developer" for item in items)
