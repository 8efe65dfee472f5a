"""Write configuration files: a commented template, and single values without changing anything else."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import BaseModel, SecretStr

from ccproxy.errors import ConfigError
from ccproxy.settings.files import replace_file
from ccproxy.settings.model import ProvidersSettings, Settings
from ccproxy.settings.secrets import is_secret
from ccproxy.settings.sources import check
from ccproxy.settings.toml_edit import set_key
from ccproxy.settings.values import cleaned


def set_value(file: Path, key: str, value: str) -> None:
    """Set `key` (dotted) in a TOML file, which is made if it is missing. Comments, order and unknown keys stay.

    `value` is what JSON makes of it where that fits the setting (a number, a list), else text.

    Raises:
        ConfigError: the file is not valid TOML or cannot be written, or it would not load with the new value.

    """
    if is_secret(key.split(".")):
        value = cleaned(value)
    parsed = _parsed(value)
    try:
        set_key(file, key, parsed, check=lambda text: check(file, text))
    except ConfigError as error:
        if isinstance(parsed, str):
            raise
        try:  # a token of digits, a model name such as "true"
            set_key(file, key, value, check=lambda text: check(file, text))
        except ConfigError:
            raise error from None


def write_template(file: Path, *, replace: bool = False) -> None:
    """Write a commented configuration file, for its owner alone.

    Raises:
        FileExistsError: the file is there, and is not to be replaced.
        OSError: it cannot be written.

    """
    if not replace and os.path.lexists(file):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(file))
    replace_file(file, template().encode())


def template() -> str:
    """A configuration file with every setting at its default, commented out, and what it means."""
    lines = ["# ccproxy's configuration. Every setting is shown with its default: remove the # to change it.", ""]
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
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return value if parsed is None else parsed
