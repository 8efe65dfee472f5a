"""The output of `ccproxy auth status`: JSON, and the same facts as text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ccproxy.auth.status import Status, in_words
from ccproxy.auth.token_responses import Window


def window(limit: Window) -> dict[str, Any]:
    """Return one limit of a plan as JSON."""
    return {"name": limit.name, "used_percent": limit.used, "resets_at": _iso(limit.resets_at)}


def document(status: Status, now: datetime) -> dict[str, Any]:
    """Return the status of one provider as JSON."""
    facts: dict[str, Any] = {"provider": status.provider, "source": status.source, "why": status.why}
    if status.source == "login" and status.login is not None:
        login = status.login
        left = (login.expires_at - now).total_seconds() if login.expires_at is not None else None
        facts |= {
            "account": login.account,
            "plan": login.plan,
            "scopes": list(login.scopes),
            "expires_at": _iso(login.expires_at),
            "expires_in": int(left) if left is not None else None,
            "last_refresh": _iso(login.last_refresh),
            "refresh": status.refresh,
        }
    return {**facts, "problem": status.problem, "command": status.command}


def as_text(document: dict[str, Any], now: datetime) -> str:
    """Return the status of one provider as lines of text."""
    rows = [("source", f"{_SOURCES[document['source']]}: {document['why']}")]
    if document["source"] == "login":
        expires_at, last = document["expires_at"], document["last_refresh"]
        rows += [
            ("account", document["account"] or "unknown"),
            ("plan", document["plan"] or "unknown"),
            ("scopes", " ".join(document["scopes"]) or "unknown"),
            ("expires", f"{_moment(expires_at, now)}" if expires_at else "unknown"),
            ("renewed", f"{_moment(last, now)}" if last else "unknown"),
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
    "login": "stored login",
    "other_program": "token of another program",
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
