"""The result of a check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """The severity of a finding."""

    OK = "ok"
    WARN = "warn"
    """It works, but not as a user may expect."""
    BROKEN = "broken"
    """Something will fail."""
    SKIPPED = "skipped"
    """It could not be checked."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One result."""

    severity: Severity
    subject: str
    what: str
    why: str = ""
    """Why it matters."""
    fix: str = ""
    """The command or action that fixes it."""


def ok(subject: str, what: str) -> Finding:
    return Finding(Severity.OK, subject, what)


def warn(subject: str, what: str, why: str, fix: str) -> Finding:
    return Finding(Severity.WARN, subject, what, why, fix)


def broken(subject: str, what: str, why: str, fix: str) -> Finding:
    return Finding(Severity.BROKEN, subject, what, why, fix)


def skipped(subject: str, what: str, fix: str = "") -> Finding:
    return Finding(Severity.SKIPPED, subject, what, fix=fix)
