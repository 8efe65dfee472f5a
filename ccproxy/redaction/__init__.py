"""Removes secrets from logs, raw HTTP files, recordings and mitmweb. Pure; `Redaction` is the entry point."""

from __future__ import annotations

from ccproxy.redaction.redaction import CARRY_OVER, REDACTED, RedactedStream, Redaction

__all__ = ["CARRY_OVER", "REDACTED", "RedactedStream", "Redaction"]
