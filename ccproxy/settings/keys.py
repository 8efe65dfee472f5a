"""The keys of the configuration, as the model defines them. `*` stands for the name of a provider of your own."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ccproxy.settings.model import CustomProviderSettings, ProvidersSettings, Settings

Path = tuple[str, ...]

ANY: Final = "*"
SECTIONS: Final = frozenset(Settings.model_fields)


class Key(NamedTuple):
    """One setting: `("server", "port")` and its definition."""

    path: Path
    field: FieldInfo


@cache
def all_keys() -> tuple[Key, ...]:
    """Every setting, in the model's order, provider keys of your own last."""
    custom = _keys(CustomProviderSettings, ("providers", ANY))
    return (*_keys(Settings, ()), *custom)


def _keys(table: type[BaseModel], above: Path) -> Iterator[Key]:
    for name, field in table.model_fields.items():
        if inner := _table_of(field):
            yield from _keys(inner, (*above, name))
        else:
            yield Key((*above, name), field)


def table_at(path: Sequence[str]) -> type[BaseModel] | None:
    """The table of settings at a path; None where there is none, such as below a plain setting."""
    table: type[BaseModel] = Settings
    for part in path:
        field = table.model_fields.get(part)
        if field is None and table is ProvidersSettings:
            table = CustomProviderSettings
            continue
        inner = _table_of(field) if field is not None else None
        if inner is None:
            return None
        table = inner
    return table


def unknown_part(path: Path) -> tuple[Path, str] | None:
    """The table in which a path leaves the model, and the name that it does not know; None for a path of the model."""
    for end, part in enumerate(path):
        table = table_at(path[:end])
        if table is None:
            return None  # below a plain setting or inside a free table: the model's validation says more
        if part not in table.model_fields and table is not ProvidersSettings:
            return path[:end], part
    return None


def nearest(table: Path, name: str) -> str | None:
    """The key of a table that `name` is probably meant to be."""
    model = table_at(table)
    close = difflib.get_close_matches(name[:100], list(model.model_fields) if model else [], n=1)
    return close[0] if close else None


def has(values: Any, path: Sequence[str]) -> bool:
    """Whether nested values have something at a path."""
    for part in path:
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True


def at(values: Any, path: Sequence[str]) -> Any:
    """The value at a path that `has` confirms."""
    for part in path:
        values = values[part]
    return values


def _table_of(field: FieldInfo) -> type[BaseModel] | None:
    annotation = field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
