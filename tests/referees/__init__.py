"""The official SDKs as referees: what they accept, what they accumulate, what they send."""

from __future__ import annotations
