"""Quota windows of a subscription, as the upstreams report them with every response. Pure.

Anthropic: `anthropic-ratelimit-unified-{5h,7d,…}-{utilization,reset,status}`; utilization is a fraction, the reset a
Unix time. Codex: `x-codex-{primary,secondary}-{used-percent,window-minutes,reset-at}` (300 and 10080 minutes), other
families as `x-codex-NAME-primary-…`, and the same in the stream event `codex.rate_limits`.

The names of windows become labels of metrics, so there are at most `MAX_WINDOWS` in one response, and each is short.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from ccproxy.providers.header_fields import number_in
from ccproxy.translate.labels import label

MAX_WINDOWS: Final = 32
"""The most windows of one response that are read."""

_ANTHROPIC = re.compile(r"anthropic-ratelimit-unified-([a-z0-9_]{1,40})-(utilization|reset|status)")
_CODEX = re.compile(r"x-codex-(?:([a-z0-9_-]{1,40})-)?(primary|secondary)-(used-percent|window-minutes|reset-at)")
_WINDOW = re.compile(r"[1-9][0-9]{0,3}[hd](?:_[a-z0-9]{1,30})?")
_MAX_MINUTES = 60 * 24 * 366
_MAX_NUMBER = 1 << 53
_MAX_TEXT = 40
"""Characters of a time or a status."""


class Quota(NamedTuple):
    """The use of one window."""

    window: str
    """`5h`, `7d`, `7d_oi`, or with the family before it: `spark 5h`."""
    used: float
    """Fraction: 1.0 means that it is used up."""
    resets: datetime | None = None
    status: str | None = None
    """Anthropic only: `allowed`, `allowed_warning`, `rejected`."""


def quotas(headers: Iterable[tuple[str, str]]) -> list[Quota]:
    """Return the windows in the headers of a response."""
    parts_of: dict[str, dict[str, str]] = {}
    for header, value in headers:
        name = header.lower()
        key = part = ""
        if name.startswith("anthropic-ratelimit-unified-"):
            match = _ANTHROPIC.fullmatch(name)
            if match and _WINDOW.fullmatch(match[1]):
                key, part = match[1], match[2]
        elif name.startswith("x-codex-"):
            match = _CODEX.fullmatch(name)
            if match:
                key, part = f"codex {match[1] or ''} {match[2]}", match[3]
        if key and (key in parts_of or len(parts_of) < MAX_WINDOWS):
            parts_of.setdefault(key, {})[part] = value
    windows = (
        _codex(key, parts) if key.startswith("codex") else _anthropic(key, parts) for key, parts in parts_of.items()
    )
    return [window for window in windows if window is not None]


def from_codex_event(event: Mapping[str, Any]) -> list[Quota]:
    """Return the windows in a stream event `codex.rate_limits`."""
    limits = event.get("rate_limits")
    windows = []
    for which in ("primary", "secondary"):
        window = limits.get(which) if isinstance(limits, Mapping) else None
        if isinstance(window, Mapping):
            parts = {
                "used-percent": _text(window.get("used_percent")),
                "window-minutes": _text(window.get("window_minutes")),
                "reset-at": _text(window.get("reset_at") or window.get("resets_at")),
            }
            windows.append(_codex(f"codex  {which}", parts))
    return [window for window in windows if window is not None]


def _text(value: object) -> str:
    """Return a number or a time of a JSON event as a header would have it; empty for anything else."""
    if isinstance(value, int) and abs(value) > _MAX_NUMBER:  # `str` refuses integers of many digits
        return ""
    return str(value) if isinstance(value, int | float | str) else ""


def _anthropic(window: str, parts: dict[str, str]) -> Quota | None:
    used = _number(parts.get("utilization"))
    status = (parts.get("status") or "")[:_MAX_TEXT]
    return None if used is None else Quota(window, used, _moment(parts.get("reset")), label(status))


def _codex(key: str, parts: dict[str, str]) -> Quota | None:
    _, family, which = key.split(" ")
    used = _number(parts.get("used-percent"))
    if used is None:
        return None
    name = _duration(_number(parts.get("window-minutes"))) or which
    return Quota(f"{family} {name}".strip(), used / 100, _moment(parts.get("reset-at")))


def _duration(minutes: float | None) -> str | None:
    if not minutes or minutes > _MAX_MINUTES:
        return None
    hours = round(minutes / 60)
    return f"{hours // 24}d" if hours >= 48 and hours % 24 == 0 else f"{hours}h"


def _number(value: str | None) -> float | None:
    return None if value is None else number_in(value.strip())


def _moment(value: str | None) -> datetime | None:
    """Read a Unix time, or ISO 8601."""
    seconds = _number(value)
    try:
        if seconds is not None:
            return datetime.fromtimestamp(seconds, UTC)
        moment = datetime.fromisoformat(value) if value and len(value) <= _MAX_TEXT else None
    except (ValueError, OverflowError, OSError):
        return None
    return moment if moment and moment.tzinfo else None
