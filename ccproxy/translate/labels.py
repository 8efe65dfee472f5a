"""Names that come from a network, made fit for logs, tables, metrics and headers. Pure."""

from __future__ import annotations

from typing import Final

MAX_LABEL: Final = 200
"""The most characters of such a name."""


def label(value: object, limit: int = MAX_LABEL) -> str | None:
    """Return a name from a network, such as a model or an error code, as one line that any log or table can hold; `None` if it is empty or not a string.

    It has at most `limit` characters, and what cannot be printed (line ends, escape codes, lone surrogates) is replaced by `?`.
    """
    if not isinstance(value, str) or not value:
        return None
    if len(value) > limit:
        value = value[: limit - 1] + "…"
    return value if value.isprintable() else "".join(c if c.isprintable() else "?" for c in value)
