"""The secrets among the settings, so that they can be taken out of whatever people may see."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, SecretStr

_SECRET_NAME = re.compile(r"token|secret|password|passwd|api[-_]?key|authorization|credential", re.IGNORECASE)


def secrets_of(settings: object) -> list[str]:
    """The values of all secret settings, and of entries in tables (`env`, `mcp_servers`) whose names say that they are secret."""
    return sorted(set(filter(None, _found(settings, secret=False))))


def _found(value: Any, *, secret: bool) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for field in (*type(value).model_fields, *(value.model_extra or ())):
            yield from _found(getattr(value, field), secret=False)
    elif isinstance(value, Mapping):
        for name, entry in value.items():
            yield from _found(entry, secret=bool(_SECRET_NAME.search(str(name))))
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _found(entry, secret=secret)
    elif secret and isinstance(value, str):
        yield value
