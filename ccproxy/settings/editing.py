"""Writing configuration files: a commented template, and single values with everything else kept."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import BaseModel, SecretStr

from ccproxy.errors import ConfigError
from ccproxy.settings.model import ProvidersSettings, Settings
from ccproxy.settings.sources import load
from ccproxy.settings.toml_edit import set_key


def set_value(file: Path, key: str, value: str) -> None:
    """Set `key` (dotted) in a TOML file, which is made if it is missing. Comments, order and unknown keys stay.

    Raises:
        ConfigError: the file is no TOML or cannot be written, or it would not load with the new value.

    """
    set_key(file, key, _parsed(value), check=lambda text: _checked(text, file))


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
        if field.description:
            lines.append(f"# {field.description}")
        lines.append(f"# {key} = {as_toml(value)}")
    lines.append("")
    for key in type(model).model_fields:
        if isinstance(inner := getattr(model, key), BaseModel):
            lines += _table(f"{name}.{key}", inner)
    return lines


def as_toml(value: object) -> str:
    """A setting's value as a configuration file writes it."""
    if isinstance(value, dict) and not value:
        return "{}"
    plain = (
        value.get_secret_value() if isinstance(value, SecretStr) else list(value) if isinstance(value, tuple) else value
    )
    return tomlkit.item(plain).as_string()


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
