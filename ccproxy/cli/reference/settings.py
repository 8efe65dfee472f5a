"""The page of settings, generated from the model."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Literal

from pydantic import AfterValidator, BaseModel, SecretStr
from pydantic.fields import FieldInfo

from ccproxy.cli.reference.markdown import code, sentence, table
from ccproxy.settings import Settings
from ccproxy.settings.editing import as_toml
from ccproxy.settings.model import CustomProviderSettings, OAuthSettings, ProvidersSettings
from ccproxy.settings.trust import harmless

_INTRODUCTION = """\
# Settings

This page lists every key of the configuration file. It is generated from the model that validates the file.
[Configuration](../user-guide/configuration.md) explains which source takes precedence.

- The last column is the name of the setting in the environment and in `.env`: section and key in capitals, joined by two underscores. Lists are
  comma-separated or JSON there, and tables are JSON.
- `ccproxy serve` has the options `--host`, `--port`, `--web`, `--web-port`, `--log-level` and `--auth-token`.
- `ccproxy config init` writes a file with all settings, `ccproxy config schema` prints a JSON Schema for editors, and `ccproxy config show` prints
  the current values and their origins.
- A file in the current folder may set the keys marked ○ without your trust. All other keys need
  [`ccproxy config trust`](../user-guide/configuration.md#files-in-the-current-folder).
"""

_HEADS = ("key", "type", "default", "meaning", "environment")
_TYPES = {
    bool: "true, false",
    int: "integer",
    float: "number",
    Decimal: "number",
    str: "text",
    SecretStr: "secret text",
    Any: "anything",
}
_CHECKED = {
    "_http_url": "URL",
    "_optional_http_url": "URL",
    "_oauth_url": "URL",
    "_redirect_url": "URL",
    "_prefix": "path",
    "_key": "secret text",
    "_token": "secret text",
}
"""The type of a text, by its validator."""


def settings() -> str:
    """Return the page."""
    return "\n".join([_INTRODUCTION, *_sections()])


def _sections() -> Iterator[str]:
    for section, field in Settings.model_fields.items():
        if field.annotation is ProvidersSettings:
            yield "## providers\n"
            for name, provider in ProvidersSettings.model_fields.items():
                yield from _section(f"providers.{name}", _model(provider), "###")
            yield from _section("providers.NAME", CustomProviderSettings, "###")
            yield from _section("providers.*.oauth", OAuthSettings, "###")
        else:
            yield from _section(section, _model(field), "##")


def _model(field: FieldInfo) -> type[BaseModel]:
    assert isinstance(field.annotation, type)
    assert issubclass(field.annotation, BaseModel)
    return field.annotation


def _section(name: str, model: type[BaseModel], level: str) -> Iterator[str]:
    yield f"{level} [{name}]\n".replace("[", r"\[", 1).replace("]", r"\]", 1)
    yield sentence(model.__doc__) + ".\n"
    yield table(_HEADS, [_row(name, key, field) for key, field in model.model_fields.items() if not _is_table(field)])
    for key, field in model.model_fields.items():
        items = [
            each for each in typing.get_args(field.annotation) if isinstance(each, type) and issubclass(each, BaseModel)
        ]
        for item in items:
            yield f"Each of `{key}`:\n"
            yield table(
                ("key", "type", "meaning"),
                [(code(inner), _type(each), each.description or "") for inner, each in item.model_fields.items()],
            )


def _is_table(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _row(section: str, key: str, field: FieldInfo) -> tuple[str, ...]:
    if not field.description:
        raise ValueError(f"{section}.{key} has no description")
    default = "required" if field.is_required() else code(as_toml(field.default))
    return code(key) + _mark(section, key), _type(field), default, field.description, code(_variable(section, key))


def _variable(section: str, key: str) -> str:
    return f"{section}.{key}".upper().replace("*", "NAME").replace(".", "__")


def _mark(section: str, key: str) -> str:
    """Return a mark if an untrusted file may set the key."""
    values: Any = {key: ""}
    for part in reversed(section.split(".")):
        values = {part: values}
    _, dropped = harmless(values)
    return "" if dropped else " ○"


def _type(field: FieldInfo) -> str:
    for each in field.metadata:
        if isinstance(each, AfterValidator):
            return _CHECKED[each.func.__name__]
    bounds = {
        name: value
        for each in field.metadata
        for name in ("gt", "ge", "lt", "le")
        if (value := getattr(each, name, None)) is not None
    }
    return _named(field.annotation) + _range(bounds)


def _range(bounds: dict[str, Any]) -> str:
    low, above, high = bounds.get("ge"), bounds.get("gt"), bounds.get("le")
    words = [] if low is None else [f"from {low}"]
    words += [] if above is None else [f"above {above}"]
    words += [] if high is None else [f"{'to' if low is not None else 'up to'} {high}"]
    return f", {' '.join(words)}" if words else ""


def _named(annotation: Any) -> str:
    if annotation in _TYPES:
        return _TYPES[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return ", ".join(code(as_toml(each)) for each in arguments)
    if origin is typing.Annotated:
        return _named(arguments[0])
    if origin is tuple:
        inner = (
            "tables"
            if isinstance(arguments[0], type) and issubclass(arguments[0], BaseModel)
            else _plural(arguments[0])
        )
        return f"list of {inner}"
    if origin is dict:
        return "table" if arguments[1] is Any else f"table of {_plural(arguments[1])}"
    raise TypeError(f"no description of the type {annotation}")


def _plural(annotation: Any) -> str:
    name = _named(annotation)
    if name.startswith("table"):
        return name.replace("table", "tables", 1)
    return name if name == "text" else f"{name}s"
