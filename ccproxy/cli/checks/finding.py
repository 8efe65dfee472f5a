"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    """It works, but somebody may wonder."""
    BROKEN = "broken"
    """Something will fail."""
    SKIPPED = "skipped"
    """It could not be looked at."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    severity: Severity
    subject: str
    what: str
    why: str = ""
    """Why it matters."""
    fix: str = ""
    """The command that mends it, or what to do."""


def ok(subject: str, what: str) -> Finding:
    return Finding(Severity.OK, subject, what)


def warn(subject: str, what: str, why: str, fix: str) -> Finding:
    return Finding(Severity.WARN, subject, what, why, fix)


def broken(subject: str, what: str, why: str, fix: str) -> Finding:
    return Finding(Severity.BROKEN, subject, what, why, fix)


def skipped(subject: str, what: str, fix: str = "") -> Finding:
    return Finding(Severity.SKIPPED, subject, what, fix=fix)
