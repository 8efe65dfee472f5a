"""The changes that a native Responses request needs so that the Codex backend accepts it, as changes of single top-level keys. Pure.

The rules are the table of `ccproxy.translate.codex`. Whatever the table leaves for the backend to decide, and every key that is unknown today, passes
unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ccproxy.providers.json_edit import REMOVE
from ccproxy.translate.codex import ENCRYPTED_REASONING, FIXED, LITE_HEADER, REFUSED


def native_changes(values: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, object]:
    """Return the keys to set or remove; empty for the requests of the Codex CLI."""
    changes: dict[str, object] = {key: REMOVE for key in values if key in REFUSED}
    changes |= {key: value for key, value in FIXED.items() if values.get(key) is not value}
    items = values.get("input")
    if isinstance(items, str):
        changes["input"] = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": items}]}]
    elif isinstance(items, list):
        sendable = [item for item in items if not _is_reference(item)] if "store" in changes else items
        if len(sendable) < len(items) or any(_is_system(item) for item in sendable):
            changes["input"] = [{**item, "role": "developer"} if _is_system(item) else item for item in sendable]
    if "store" in changes and (include := _with_encrypted_reasoning(values.get("include"))) is not None:
        changes["include"] = include
    if values.get("instructions") is None and LITE_HEADER not in headers and not _has_instructions(items):
        changes["instructions"] = ""
    return changes


def unsendable_items(values: Mapping[str, Any]) -> list[str]:
    """Return the JSON paths of the input items that `native_changes` removes, to be listed as losses."""
    items = values.get("input")
    if values.get("store") is False or not isinstance(items, list):
        return []
    return [f"input[{index}]" for index, item in enumerate(items) if _is_reference(item)]


def _is_reference(item: object) -> bool:
    """Is it an input item that only refers to something stored at the backend?"""
    if not isinstance(item, dict):
        return False
    kind = item.get("type")
    return kind == "item_reference" or (kind == "reasoning" and not item.get("encrypted_content"))


def _with_encrypted_reasoning(include: object) -> list[Any] | None:
    """Return the list with reasoning included; None when it needs no change, or cannot be changed."""
    if include is None:
        return [ENCRYPTED_REASONING]
    if not isinstance(include, list) or ENCRYPTED_REASONING in include:
        return None
    return [*include, ENCRYPTED_REASONING]


def _is_system(item: object) -> bool:
    return isinstance(item, dict) and item.get("role") == "system"


def _has_instructions(items: object) -> bool:
    """Does the input begin as the Codex CLI's does: with its tools or its base instructions?"""
    first = items[0] if isinstance(items, list) and items else None
    return isinstance(first, dict) and (first.get("type") == "additional_tools" or first.get("role") == "developer")
