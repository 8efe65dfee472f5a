"""`/claude`: the user's own Claude Code as a provider, through the Claude Agent SDK."""

from __future__ import annotations
