"""Removes secrets from everything that people can see. Pure; `Redaction` is the door."""

from __future__ import annotations

from ccproxy.redaction.redaction import CARRY_OVER, REDACTED, RedactedStream, Redaction

__all__ = ["CARRY_OVER", "REDACTED", "RedactedStream", "Redaction"]
