"""The one list of secret settings: for redaction, `config show`, `config schema`, `ccproxy run`, `doctor` and messages.

A setting is secret if its type is `SecretStr`, or if its definition says `SECRET`: free tables, and a URL that may hold
a password. A new one needs no entry anywhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from ccproxy.settings import keys
from ccproxy.settings.model import SECRET, Settings

MASK = "********"

_SECRET_NAME = re.compile(r"token|secret|password|passwd|api[-_]?key|authorization|credential", re.IGNORECASE)


@cache
def secret_keys() -> frozenset[keys.Path]:
    """The paths of all secret settings; `*` stands for the name of a provider of your own."""
    return frozenset(key.path for key in keys.all_keys() if _is_secret_field(key.field))


def is_secret(path: Sequence[str]) -> bool:
    """Whether the setting at a path is secret, lies inside a secret one, or holds one."""
    return any(
        all(one in (other, keys.ANY) for one, other in zip(secret, path, strict=False)) for secret in secret_keys()
    )


def is_secret_variable(name: str) -> bool:
    """Whether an environment variable sets a secret of ccproxy: `SERVER__AUTH_TOKEN`, `PROVIDERS__ZAI__API_KEY`."""
    path = name.lower().split("__")
    return len(path) > 1 and path[0] in keys.SECTIONS and is_secret(path)


def has_secret(values: Mapping[str, Any]) -> bool:
    """Whether nested values, as a configuration file has them, set a secret."""
    return any(
        keys.has(values, path) and bool(keys.at(values, path))
        for secret in secret_keys()
        for path in _expanded(secret, values)
    )


def shown(settings: Settings) -> Iterator[tuple[keys.Path, Any]]:
    """Every setting and its value for people: secrets are masked, and empty ones are empty."""
    yield from _shown(settings, ())


def _shown(table: BaseModel, above: keys.Path) -> Iterator[tuple[keys.Path, Any]]:
    for name in (*type(table).model_fields, *(table.model_extra or {})):
        value, path = getattr(table, name), (*above, name)
        if isinstance(value, BaseModel):
            yield from _shown(value, path)
        elif isinstance(value, tuple):
            yield path, [item.model_dump() if isinstance(item, BaseModel) else item for item in value]
        else:
            yield path, _masked(value) if is_secret(path) else value


def _masked(value: Any) -> Any:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, Mapping):
        return dict.fromkeys(value, MASK)
    if isinstance(value, str) and value.startswith("sqlite:"):
        return value  # a file, which has no password
    return MASK if value else ""


def secrets_of(settings: object) -> list[str]:
    """The values to take out of everything that people may see: those of secret settings, entries of tables (`env`,
    `mcp_servers`) whose names say that they are secret, and passwords in URLs.
    """
    return sorted(set(filter(None, _secrets(settings, secret=False))))


def _secrets(value: Any, *, secret: bool) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in (*type(value).model_fields, *(value.model_extra or ())):
            yield from _secrets(getattr(value, name), secret=False)
    elif isinstance(value, Mapping):
        for name, entry in value.items():
            yield from _secrets(entry, secret=bool(_SECRET_NAME.search(str(name))))
    elif isinstance(value, list | tuple):
        names = [None, *value]  # ["--token", "…"]
        for name, entry in zip(names, value, strict=False):
            follows_name = isinstance(name, str) and name.startswith("-") and bool(_SECRET_NAME.search(name))
            yield from _secrets(entry, secret=secret or follows_name)
    elif isinstance(value, str):
        if secret:
            yield value
            yield value.partition(" ")[2] if value.lower().startswith(("bearer ", "basic ")) else ""
        yield from _password(value)
        name, mark, entry = value.partition("=")  # "--token=…"
        if mark and name.startswith("-") and _SECRET_NAME.search(name):
            yield entry


def _password(url: str) -> Iterator[str]:
    """A password of a URL, as it stands there and as it is."""
    if "://" not in url or "@" not in url:
        return
    try:
        password = urlsplit(url).password or ""
    except ValueError:
        return
    yield password
    yield unquote(password)


def _expanded(secret: keys.Path, values: Mapping[str, Any]) -> Iterator[keys.Path]:
    """The paths that a path with `*` stands for in these values."""
    if keys.ANY not in secret:
        yield secret
        return
    place = secret.index(keys.ANY)
    table = keys.at(values, secret[:place]) if keys.has(values, secret[:place]) else {}
    for name in table if isinstance(table, Mapping) else ():
        yield (*secret[:place], name, *secret[place + 1 :])


def _is_secret_field(field: FieldInfo) -> bool:
    return field.annotation is SecretStr or field.json_schema_extra == SECRET
