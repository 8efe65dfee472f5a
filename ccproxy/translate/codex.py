"""What the Codex backend of ChatGPT logins accepts in a Responses request: one table, with reasons. Pure.

Native requests (`providers/codex.py`), translated ones (`openai_responses/render.py`, `policy.py`) and the reference page are made from it. The rules are those
of codex-rs `ResponsesApiRequest` (https://github.com/openai/codex) and of public reports; the backend answers 400 `{"detail": "Unsupported parameter: X"}`
to the parameters that it refuses by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple


class Native(Enum):
    """What happens to a parameter of a native request."""

    KEEP = "kept"
    ADJUST = "adjusted where the backend would refuse it"
    SET = "set"
    REMOVE = "removed"
    LEAVE = "unchanged"
    """The backend accepts or refuses it: without it the answer would be a different one. A translated request never has it."""


class Parameter(NamedTuple):
    """One top-level parameter."""

    native: Native
    why: str


_REFUSED = Parameter(
    Native.REMOVE, "refused by name; it changes neither what the model reads nor the format of the answer"
)
_STATE = Parameter(Native.LEAVE, "the backend keeps no conversations, and without it the model would not see this one")
_UNKNOWN = Parameter(Native.LEAVE, "unknown to the backend, and without it the answer could be a different one")

PARAMETERS: Mapping[str, Parameter] = {
    "model": Parameter(Native.KEEP, "the backend has models of its own"),
    "input": Parameter(
        Native.ADJUST, "must be a list without the role `system`: text becomes a message, `system` becomes `developer`"
    ),
    "instructions": Parameter(
        Native.ADJUST, 'must be present: `""` is added, unless the input begins with instructions or tools'
    ),
    "tools": Parameter(Native.KEEP, "Responses-Lite models have them as the first input item"),
    "tool_choice": Parameter(Native.KEEP, "Responses-Lite models accept `auto` only"),
    "parallel_tool_calls": Parameter(Native.KEEP, "must be false for Responses-Lite models"),
    "reasoning": Parameter(Native.KEEP, "`effort`, `summary` and `context`"),
    "text": Parameter(Native.KEEP, "`verbosity` and `format`"),
    "include": Parameter(Native.ADJUST, "`reasoning.encrypted_content` is added where `store` had to be switched off"),
    "prompt_cache_key": Parameter(Native.KEEP, "requests of one conversation are routed by it"),
    "service_tier": Parameter(Native.KEEP, "`priority` only"),
    "client_metadata": Parameter(Native.KEEP, "sent by the Codex CLI"),
    "store": Parameter(Native.SET, "must be false"),
    "stream": Parameter(Native.SET, "must be true; ccproxy folds the stream for a client that did not ask for one"),
    "stream_options": _REFUSED,
    "max_output_tokens": _REFUSED,
    "max_completion_tokens": _REFUSED,
    "max_tokens": _REFUSED,
    "temperature": _REFUSED,
    "top_p": _REFUSED,
    "top_logprobs": _REFUSED,
    "presence_penalty": _REFUSED,
    "frequency_penalty": _REFUSED,
    "seed": _REFUSED,
    "user": _REFUSED,
    "safety_identifier": _REFUSED,
    "metadata": _REFUSED,
    "truncation": _REFUSED,
    "context_management": _REFUSED,
    "prompt_cache_options": _REFUSED,
    "prompt_cache_retention": _REFUSED,
    "previous_response_id": _STATE,
    "conversation": _STATE,
    "background": _STATE,
    "background_options": _STATE,
    "prompt": _UNKNOWN,
    "max_tool_calls": _UNKNOWN,
    "moderation": _UNKNOWN,
    "access_programs": _UNKNOWN,
    "image": _UNKNOWN,
}

ACCEPTED: Final = frozenset(
    name for name, parameter in PARAMETERS.items() if parameter.native in (Native.KEEP, Native.ADJUST, Native.SET)
)
"""All that a translated request may have."""
REFUSED: Final = frozenset(name for name, parameter in PARAMETERS.items() if parameter.native is Native.REMOVE)
"""Removed from native requests, and listed as losses."""
FIXED: Final[Mapping[str, bool]] = {"store": False, "stream": True}
OPTIONAL: Final = REFUSED | {
    "client_metadata", "include", "parallel_tool_calls", "prompt_cache_key", "reasoning", "reasoning.context", "reasoning.effort", "reasoning.summary",
    "service_tier", "text.verbosity",
}  # fmt: skip
"""Parameters, or members of them, that may be left out after a backend refused them by name. Never what carries the conversation, its tools or the format of
the answer."""

LITE_HEADER: Final = "x-openai-internal-codex-responses-lite"
ENCRYPTED_REASONING: Final = "reasoning.encrypted_content"
