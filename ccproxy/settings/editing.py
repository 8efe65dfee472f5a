"""Writing configuration files: a commented template, and single values with everything else kept."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import BaseModel, SecretStr
from tomlkit.exceptions import TOMLKitError

from ccproxy.errors import ConfigError
from ccproxy.settings.folders import private
from ccproxy.settings.model import ProvidersSettings, Settings
from ccproxy.settings.sources import load


def set_value(file: Path, key: str, value: str) -> None:
    """Set `key` (dotted) in a TOML file, which is made if it is missing. Comments, order and unknown keys stay.

    Raises:
        ConfigError: the file is no TOML, or the file would not load with the new value.
        OSError: it cannot be read or written.

    """
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    try:
        document = tomlkit.parse(text)
    except TOMLKitError as error:
        raise ConfigError(f"{file}: is no TOML: {error}") from error
    *tables, name = key.split(".")
    if not tables or not all((*tables, name)):
        raise ConfigError(f"{key!r}: name a setting with its table, such as server.port")
    table: Any = document
    for part in tables:
        if part not in table:
            table[part] = tomlkit.table()
        table = table[part]
    table[name] = _parsed(value)
    _checked(tomlkit.dumps(document), file)
    _write(file, tomlkit.dumps(document))


def template() -> str:
    """A configuration file with every setting at its default, commented out, and what it means."""
    lines = ["# ccproxy's configuration. Every setting is shown with its default; take the # away to change it.", ""]
    defaults = Settings()
    for section in Settings.model_fields:
        model = getattr(defaults, section)
        if isinstance(model, ProvidersSettings):
            for provider in ProvidersSettings.model_fields:
                lines += _table(f"{section}.{provider}", getattr(model, provider))
        else:
            lines += _table(section, model)
    return "\n".join(lines)


def _table(name: str, model: BaseModel) -> list[str]:
    lines = [f"[{name}]"]
    for key, field in type(model).model_fields.items():
        value = getattr(model, key)
        if isinstance(value, BaseModel):
            continue
        plain = (
            value.get_secret_value()
            if isinstance(value, SecretStr)
            else list(value)
            if isinstance(value, tuple)
            else value
        )
        if field.description:
            lines.append(f"# {field.description}")
        shown = tomlkit.item(plain).as_string() if not isinstance(plain, dict) else "{}"
        lines.append(f"# {key} = {shown}")
    return [*lines, ""]


def _parsed(value: str) -> Any:
    """Numbers, booleans, lists and tables as JSON writes them; everything else is text."""
    try:
        found = json.loads(value)
    except ValueError:
        return value
    return value if found is None else found


def _checked(text: str, file: Path) -> None:
    """Load the text as the only configuration, so that no file is ever written that would not load."""
    handle, name = tempfile.mkstemp(suffix=".toml")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as temporary:
            temporary.write(text)
        load(config=Path(name), environ={}, folder=Path(name).parent / "nowhere")
    except ConfigError as error:
        raise ConfigError(str(error).replace(name, str(file))) from None
    finally:
        Path(name).unlink()


def _write(file: Path, text: str) -> None:
    """Replace the file in one step; it may hold keys, so only its owner reads it."""
    private(file.parent) if not file.parent.exists() else None
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=".config-")
    with os.fdopen(handle, "w", encoding="utf-8") as temporary:
        temporary.write(text)
    Path(name).replace(file)
