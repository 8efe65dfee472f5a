"""What the Codex backend refuses in a Responses request, as changes of single top-level keys. Pure.

The rules are those that public reports show the backend to enforce: `store` must be false, `stream` true, `instructions` present unless the
conversation brings its own, `input` a list without role `system`; some tuning parameters are refused by name with 400 `Unsupported parameter: X`.
What changes an answer's content (`previous_response_id`, `background`) is left for the backend to refuse, and so is every key unknown today.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ccproxy.providers.json_edit import REMOVE

UNSUPPORTED: Final = frozenset({
    "context_management", "frequency_penalty", "max_completion_tokens", "max_output_tokens", "max_tokens", "metadata",
    "presence_penalty", "prompt_cache_options", "prompt_cache_retention", "safety_identifier", "seed",
    "stream_options", "temperature", "top_logprobs", "top_p", "truncation", "user",
})  # fmt: skip
LITE_HEADER: Final = "x-openai-internal-codex-responses-lite"


def native_changes(values: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, object]:
    """The keys to set or remove so that the backend takes the request; empty for what the Codex CLI sends."""
    changes: dict[str, object] = {key: REMOVE for key in values if key in UNSUPPORTED}
    if values.get("store") is not False:
        changes["store"] = False
    if values.get("stream") is not True:
        changes["stream"] = True
    said = values.get("input")
    if isinstance(said, str):
        changes["input"] = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": said}]}]
    elif isinstance(said, list) and any(_is_system(item) for item in said):
        changes["input"] = [{**item, "role": "developer"} if _is_system(item) else item for item in said]
    if values.get("instructions") is None and LITE_HEADER not in headers and not _brings_instructions(said):
        changes["instructions"] = ""
    return changes


def _is_system(item: object) -> bool:
    return isinstance(item, dict) and item.get("role") == "system"


def _brings_instructions(said: object) -> bool:
    """Whether the input begins as the Codex CLI's does: with its tools or its base instructions."""
    first = said[0] if isinstance(said, list) and said else None
    return isinstance(first, dict) and (first.get("type") == "additional_tools" or first.get("role") == "developer")
