"""Quota windows of a subscription, as the upstreams tell them with every answer. Pure.

Anthropic: `anthropic-ratelimit-unified-{5h,7d,…}-{utilization,reset,status}`; utilization is a fraction, the reset a
Unix time. Codex: `x-codex-{primary,secondary}-{used-percent,window-minutes,reset-at}` (300 and 10080 minutes), other
families as `x-codex-NAME-primary-…`, and the same in the stream event `codex.rate_limits`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ccproxy.providers.header_fields import number_in

_ANTHROPIC = re.compile(r"anthropic-ratelimit-unified-([a-z0-9_]+)-(utilization|reset|status)")
_CODEX = re.compile(r"x-codex-(?:([a-z0-9_-]+)-)?(primary|secondary)-(used-percent|window-minutes|reset-at)")
_WINDOW = re.compile(r"[1-9][0-9]*[hd](?:_[a-z0-9]+)?")


class Quota(NamedTuple):
    """How full one window is."""

    window: str
    """`5h`, `7d`, `7d_oi`, or with the family in front: `spark 5h`."""
    used: float
    """Fraction: 1.0 is all of it."""
    resets: datetime | None = None
    status: str | None = None
    """Anthropic's word: `allowed`, `allowed_warning`, `rejected`."""


def quotas(headers: Iterable[tuple[str, str]]) -> list[Quota]:
    """The windows that an answer's headers tell of."""
    found: dict[str, dict[str, str]] = {}
    for header, value in headers:
        name = header.lower()
        if name.startswith("anthropic-ratelimit-unified-"):
            match = _ANTHROPIC.fullmatch(name)
            if match and _WINDOW.fullmatch(match[1]):
                found.setdefault(match[1], {})[match[2]] = value
        elif name.startswith("x-codex-"):
            match = _CODEX.fullmatch(name)
            if match:
                found.setdefault(f"codex {match[1] or ''} {match[2]}", {})[match[3]] = value
    windows = (
        _codex(key, parts) if key.startswith("codex") else _anthropic(key, parts) for key, parts in found.items()
    )
    return [window for window in windows if window is not None]


def from_codex_event(event: Mapping[str, Any]) -> list[Quota]:
    """The windows in a stream event `codex.rate_limits`."""
    limits = event.get("rate_limits")
    windows = []
    for which in ("primary", "secondary"):
        window = limits.get(which) if isinstance(limits, Mapping) else None
        if isinstance(window, Mapping):
            parts = {
                "used-percent": str(window.get("used_percent")),
                "window-minutes": str(window.get("window_minutes")),
                "reset-at": str(window.get("reset_at") or window.get("resets_at")),
            }
            windows.append(_codex(f"codex  {which}", parts))
    return [window for window in windows if window is not None]


def _anthropic(window: str, parts: dict[str, str]) -> Quota | None:
    used = _number(parts.get("utilization"))
    return None if used is None else Quota(window, used, _moment(parts.get("reset")), parts.get("status"))


def _codex(key: str, parts: dict[str, str]) -> Quota | None:
    _, family, which = key.split(" ")
    used = _number(parts.get("used-percent"))
    if used is None:
        return None
    name = _duration(_number(parts.get("window-minutes"))) or which
    return Quota(f"{family} {name}".strip(), used / 100, _moment(parts.get("reset-at")))


def _duration(minutes: float | None) -> str | None:
    if not minutes:
        return None
    hours = round(minutes / 60)
    return f"{hours // 24}d" if hours >= 48 and hours % 24 == 0 else f"{hours}h"


def _number(value: str | None) -> float | None:
    return None if value is None else number_in(value.strip())


def _moment(value: str | None) -> datetime | None:
    """A Unix time, or ISO 8601."""
    seconds = _number(value)
    try:
        if seconds is not None:
            return datetime.fromtimestamp(seconds, UTC)
        moment = datetime.fromisoformat(value) if value else None
    except (ValueError, OverflowError, OSError):
        return None
    return moment if moment and moment.tzinfo else None
