"""Why a model stopped: one vocabulary, and one table for each format. Pure.

Decoders and the accounting read a format's word into a `StopClass`, encoders write it back; both use the tables here.
Sources: https://docs.claude.com/en/api/handling-stop-reasons, https://platform.openai.com/docs/api-reference/chat/object and `…/responses/object`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from ccproxy.translate.formats import Format


class StopClass(StrEnum):
    """Why the model stopped, in one vocabulary for the three formats. The values are those of the ledger's column `stop`."""

    END = "end"
    """The model had nothing more to say."""
    LENGTH = "length"
    """The output limit, or a full context window."""
    STOP_SEQUENCE = "stop_sequence"
    TOOL_USE = "tool_use"
    """The model waits for tool results."""
    REFUSAL = "refusal"
    """The model or a filter declined."""
    PAUSE = "pause"
    """A long server-side turn, continued by sending it back."""
    ERROR = "error"
    OTHER = "other"
    """A reason that is unknown today."""


_ANTHROPIC = {
    "end_turn": StopClass.END,
    "tool_use": StopClass.TOOL_USE,
    "max_tokens": StopClass.LENGTH,
    "model_context_window_exceeded": StopClass.LENGTH,
    "stop_sequence": StopClass.STOP_SEQUENCE,
    "refusal": StopClass.REFUSAL,
    "pause_turn": StopClass.PAUSE,
    "compaction": StopClass.PAUSE,
}
_CHAT = {
    "stop": StopClass.END,
    "length": StopClass.LENGTH,
    "tool_calls": StopClass.TOOL_USE,
    "function_call": StopClass.TOOL_USE,
    "content_filter": StopClass.REFUSAL,
}
# `status`, or the reason of an incomplete response
_RESPONSES = {
    "completed": StopClass.END,
    "max_output_tokens": StopClass.LENGTH,
    "content_filter": StopClass.REFUSAL,
    "failed": StopClass.ERROR,
    "cancelled": StopClass.ERROR,
}

CLASSES: Mapping[Format, Mapping[str, StopClass]] = {
    Format.ANTHROPIC: _ANTHROPIC,
    Format.OPENAI_CHAT: _CHAT,
    Format.OPENAI_RESPONSES: _RESPONSES,
}
"""The class of each format's own words. No word has two classes."""

REASONS: Mapping[Format, Mapping[StopClass, str]] = {
    Format.ANTHROPIC: {
        StopClass.END: "end_turn",
        StopClass.LENGTH: "max_tokens",
        StopClass.STOP_SEQUENCE: "stop_sequence",
        StopClass.TOOL_USE: "tool_use",
        StopClass.REFUSAL: "refusal",
        StopClass.PAUSE: "pause_turn",
        StopClass.OTHER: "end_turn",
    },
    Format.OPENAI_CHAT: {
        StopClass.END: "stop",
        StopClass.LENGTH: "length",
        StopClass.STOP_SEQUENCE: "stop",
        StopClass.TOOL_USE: "tool_calls",
        StopClass.REFUSAL: "content_filter",
        StopClass.PAUSE: "stop",
        StopClass.OTHER: "stop",
    },
    Format.OPENAI_RESPONSES: {
        StopClass.END: "completed",
        StopClass.LENGTH: "max_output_tokens",
        StopClass.STOP_SEQUENCE: "completed",
        StopClass.TOOL_USE: "completed",
        StopClass.REFUSAL: "content_filter",
        StopClass.PAUSE: "max_output_tokens",
        StopClass.OTHER: "completed",
    },
}
"""Each format's word for a class. `ERROR` has none: an answer that failed ends in an error."""

_ALL = _ANTHROPIC | _CHAT | _RESPONSES


def stop_class(reason: str | None) -> StopClass | None:
    """Return the class of a format's own stop reason; `OTHER` for one that is unknown today."""
    return None if reason is None else _ALL.get(reason, StopClass.OTHER)
