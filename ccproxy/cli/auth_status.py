"""What `ccproxy auth status` prints: JSON, and the same for people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ccproxy.auth.answers import Window
from ccproxy.auth.status import Status, in_words


def window(shown: Window) -> dict[str, Any]:
    return {"name": shown.name, "used_percent": shown.used, "resets_at": _iso(shown.resets_at)}


def document(shown: Status, now: datetime) -> dict[str, Any]:
    """One provider's status as JSON."""
    found: dict[str, Any] = {"provider": shown.provider, "source": shown.source, "why": shown.why}
    if shown.source == "login" and shown.login is not None:
        stored = shown.login
        left = (stored.expires_at - now).total_seconds() if stored.expires_at is not None else None
        found |= {
            "account": stored.account,
            "plan": stored.plan,
            "scopes": list(stored.scopes),
            "expires_at": _iso(stored.expires_at),
            "expires_in": int(left) if left is not None else None,
            "last_refresh": _iso(stored.last_refresh),
            "refresh": shown.refresh,
        }
    return {**found, "problem": shown.problem, "command": shown.command}


def in_lines(document: dict[str, Any], now: datetime) -> str:
    """One provider's status for people."""
    rows = [("source", f"{_SOURCES[document['source']]}: {document['why']}")]
    if document["source"] == "login":
        expires_at, last = document["expires_at"], document["last_refresh"]
        rows += [
            ("account", document["account"] or "not known"),
            ("plan", document["plan"] or "not known"),
            ("scopes", " ".join(document["scopes"]) or "not known"),
            ("expires", f"{_moment(expires_at, now)}" if expires_at else "not known"),
            ("renewed", f"{_moment(last, now)}" if last else "not known"),
            ("renewal", _RENEWAL[document["refresh"]]),
        ]
    for limit in document.get("limits") or ():
        resets = f", resets {_moment(limit['resets_at'], now)}" if limit["resets_at"] else ""
        rows.append(("limit", f"{limit['name']}: {limit['used_percent']:g} % used{resets}"))
    if "limits_problem" in document:
        rows.append(("limits", document["limits_problem"]))
    if document["problem"]:
        rows.append(("problem", document["problem"]))
    return "\n".join([document["provider"], *(f"  {name:<9}{text}" for name, text in rows)])


_SOURCES = {
    "api_key": "API key",
    "login": "own login",
    "other_program": "other program's token",
    "client": "pass-through",
    "none": "none",
}
_RENEWAL = {
    "possible": "possible",
    "refused": "refused by the vendor",
    "impossible": "impossible: no refresh token",
}


def _moment(text: str, now: datetime) -> str:
    moment = datetime.fromisoformat(text)
    words = in_words(moment - now)
    relative = f"in {words}" if moment >= now else f"{words} ago"
    return f"{relative} ({moment:%Y-%m-%d %H:%M} UTC)"


def _iso(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat(timespec="seconds") if moment is not None else None
