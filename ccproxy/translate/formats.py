"""The three wire formats by name."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """A wire format, named as in the configuration (`providers.NAME.format`)."""

    ANTHROPIC = "anthropic"
    """Anthropic Messages: https://docs.claude.com/en/api/messages"""
    OPENAI_CHAT = "openai_chat"
    """OpenAI Chat Completions: https://platform.openai.com/docs/api-reference/chat"""
    OPENAI_RESPONSES = "openai_responses"
    """OpenAI Responses: https://platform.openai.com/docs/api-reference/responses"""
