"""From command line, environment, `.env` and TOML to one `Settings`, and the origin of each value.

Precedence: command line > environment > `.env` > TOML file > default. Every file is read once: the bytes whose trust is
checked are the bytes that are parsed, whatever happens to the file meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ccproxy.errors import ConfigError
from ccproxy.settings import keys, model
from ccproxy.settings.files import read_file
from ccproxy.settings.folders import config_dir
from ccproxy.settings.keys import SECTIONS
from ccproxy.settings.layers import Layer, from_dotenv, from_toml, from_variables, listed
from ccproxy.settings.model import Settings
from ccproxy.settings.problems import explain, place
from ccproxy.settings.trust import harmless, is_trusted

__all__ = ["CURRENT_FOLDER_FILES", "SECTIONS", "Loaded", "check", "load"]

CURRENT_FOLDER_FILES = (".ccproxy.toml", "ccproxy.toml")


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, the layers that they were made of (the strongest first), and warnings for the user."""

    settings: Settings
    layers: tuple[Layer, ...]
    warnings: tuple[str, ...]
    file: Path | None
    """The TOML file in use."""
    trusted: bool
    """Whether `file` sets everything: it was named on the command line, is the user's own, or is trusted as it was read."""

    def origin(self, *path: str) -> str:
        """Where the value of this key came from, in words."""
        for layer in self.layers:
            if keys.has(layer.values, path):
                return place(layer, path)
        return "default"


def load(
    flags: Mapping[str, Any] | None = None,
    *,
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Loaded:
    """Read the configuration.

    `flags` are nested values from the command line, `config` the file named there; `environ` and `folder` default to the process's own.

    Raises:
        ConfigError: a file cannot be read or parsed, or a key or value is wrong.

    """
    environ = os.environ if environ is None else environ
    folder = Path.cwd() if folder is None else folder
    warnings: list[str] = []
    layers = [Layer("command line", flags or {}), from_variables("environment", environ, warnings)]
    if (dotenv := _dotenv(folder / ".env", warnings)) is not None:
        layers.append(dotenv)
    file, is_whole = None, False
    for path, guarded in _files(config, folder):
        content = _content(path, named=config is not None)
        if content is None:
            continue
        trusted = not guarded or is_trusted(path, content)
        layer = from_toml(path, content)
        layers.append(layer if trusted else _guard(layer, warnings, path))
        if file is None:
            file, is_whole = path, trusted
        if trusted:
            break
    used = tuple(layer for layer in _without_strangers(layers) if layer.values)
    return Loaded(_validated(used), used, tuple(warnings), file, is_whole)


def check(path: Path, text: str) -> None:
    """Make sure that a TOML file would load with this text as the only source.

    Raises:
        ConfigError: it would not.

    """
    _validated((from_toml(path, text.encode()),))


def _content(path: Path, *, named: bool = False) -> bytes | None:
    """The content of a file, None if it is gone. One that is named on the command line may be a pipe.

    Raises:
        ConfigError: the file cannot be read, or is too large.

    """
    try:
        return read_file(path, regular=not named)
    except FileNotFoundError:
        if named:
            raise ConfigError(f"{path}: no such file") from None
        return None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None


def _files(config: Path | None, folder: Path) -> Iterator[tuple[Path, bool]]:
    """Candidate files, the strongest first, and whether each needs trust.

    An untrusted file in the current folder does not hide the user's own: it could switch off a token that way.
    """
    if config is not None:
        yield config, False
        return
    own = config_dir() / "config.toml"
    for name in CURRENT_FOLDER_FILES:
        if (path := folder / name).is_file() and path.resolve() != own.resolve():
            yield path, True
            break
    if own.is_file():
        yield own, False


def _dotenv(path: Path, warnings: list[str]) -> Layer | None:
    if not path.is_file():
        return None
    content = _content(path)
    if content is None:
        return None
    layer = from_dotenv(path, content, warnings)
    return layer if is_trusted(path, content) else _guard(layer, warnings, path)


def _guard(layer: Layer, warnings: list[str], path: Path) -> Layer:
    """Leave out of an untrusted file what only a trusted one may set."""
    values, ignored = harmless(layer.values)
    if ignored:
        warnings.append(
            f"{path} is not trusted, ignored: {listed(ignored)}. If the file is yours: ccproxy config trust {path.name}"
        )
    return Layer(layer.origin, values, layer.text, layer.variables)


def _without_strangers(layers: list[Layer]) -> Iterator[Layer]:
    """Drop `models` that an untrusted file sets for a provider which nothing else defines."""
    defined = {*model.ProvidersSettings.model_fields}
    for layer in layers:
        defined |= {name for name, table in _providers(layer).items() if set(table) - {"models"}}
    for layer in layers:
        providers = _providers(layer)
        strangers = {name for name, table in providers.items() if name not in defined and set(table) == {"models"}}
        if strangers:
            others = {name: table for name, table in layer.values["providers"].items() if name not in strangers}
            yield Layer(layer.origin, {**layer.values, "providers": others}, layer.text, layer.variables)
        else:
            yield layer


def _providers(layer: Layer) -> dict[str, Mapping[str, Any]]:
    """The provider tables of a layer. Anything else in their place is an error of the model's."""
    providers = layer.values.get("providers", {})
    tables = providers.items() if isinstance(providers, Mapping) else ()
    return {name: table for name, table in tables if isinstance(table, Mapping)}


def _validated(layers: tuple[Layer, ...]) -> Settings:
    token = model.LAYERS.set(tuple(layer.values for layer in layers))
    try:
        return Settings()
    except ValidationError as error:
        raise ConfigError("\n".join(explain(layers, problem) for problem in error.errors())) from None
    finally:
        model.LAYERS.reset(token)
