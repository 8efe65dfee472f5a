"""From command line, environment, `.env` and TOML to one `Settings`, and the origin of each value.

Precedence: command line > environment > `.env` > TOML file > default.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import BaseModel, SecretStr, ValidationError

from ccproxy.errors import ConfigError
from ccproxy.settings import model
from ccproxy.settings.folders import config_dir
from ccproxy.settings.model import Settings
from ccproxy.settings.trust import harmless, is_trusted

CURRENT_FOLDER_FILES = (".ccproxy.toml", "ccproxy.toml")
_LOGIN = re.compile(r"://[^/@\s]+@")
SECTIONS = frozenset(Settings.model_fields)


@dataclass(frozen=True, slots=True)
class Layer:
    """One source: what it is called in messages, and the nested values that it sets."""

    origin: str
    values: Mapping[str, Any]
    text: str = ""
    """The source text of a TOML file, to find the line of a key in."""
    variables: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    """The variable behind each path, for layers made of variables."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, the layers that they were made of (the strongest first), and what to warn about."""

    settings: Settings
    layers: tuple[Layer, ...]
    warnings: tuple[str, ...]
    file: Path | None
    """The TOML file in use."""

    def origin(self, *path: str) -> str:
        """Where the value of this key came from, in words."""
        for layer in self.layers:
            if _has(layer.values, path):
                return _where(layer, path)
        return "default"


def load(
    flags: Mapping[str, Any] | None = None,
    *,
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Loaded:
    """Read the configuration.

    `flags` are nested values from the command line, `config` the file named there; `environ` and `folder` are the process's own unless given.

    Raises:
        ConfigError: a file cannot be read or parsed, or a key or value is wrong.

    """
    environ = os.environ if environ is None else environ
    folder = Path.cwd() if folder is None else folder
    warnings: list[str] = []
    layers = [Layer("command line", flags or {}), _variables("environment", environ)]
    if (dotenv := _dotenv(folder / ".env", warnings)) is not None:
        layers.append(dotenv)
    file = None
    for path, guarded in _files(config, folder):
        layer = _toml(path)
        if guarded and not is_trusted(path, layer.text.encode()):
            layer = _guard(layer, warnings, path)
        layers.append(layer)
        file = file or path
        if not guarded or is_trusted(path, layer.text.encode()):
            break
    kept = tuple(layer for layer in _without_strangers(layers) if layer.values)
    return Loaded(_validated(kept), kept, tuple(warnings), file)


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


def _toml(path: Path) -> Layer:
    try:
        text = path.read_bytes().decode()  # its line ends as they are: trust is bound to the bytes
        return Layer(str(path), tomllib.loads(text.removeprefix("\ufeff")), text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is no TOML: {error}") from error


def _variables(origin: str, variables: Mapping[str, str | None]) -> Layer:
    """`SERVER__PORT=1` becomes `{"server": {"port": "1"}}`; all names without `__` or of other sections are left alone."""
    values: dict[str, Any] = {}
    names: dict[tuple[str, ...], str] = {}
    for name, value in variables.items():
        path = tuple(name.lower().split("__"))
        if len(path) < 2 or path[0] not in SECTIONS or value is None or not all(path):
            continue
        table = values
        for part in path[:-1]:
            inner = table.setdefault(part, {})
            if not isinstance(inner, dict):
                raise ConfigError(
                    f"{origin}: {name} sets a key inside {'.'.join(path[:-1])}, which is set to a plain value too"
                )
            table = inner
        if isinstance(table.get(path[-1]), dict):
            raise ConfigError(f"{origin}: {name} and a longer name below it are both set: keep one")
        table[path[-1]] = value
        names[path] = name
    return Layer(origin, values, variables=names)


def _dotenv(path: Path, warnings: list[str]) -> Layer | None:
    if not path.is_file():
        return None
    try:
        content = path.read_bytes()
        layer = _variables(str(path), dotenv_values(path, interpolate=False, encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    return layer if is_trusted(path, content) else _guard(layer, warnings, path)


def _guard(layer: Layer, warnings: list[str], path: Path) -> Layer:
    kept, dropped = harmless(layer.values)
    if dropped:
        warnings.append(
            f"{path} is not trusted, ignored: {', '.join(dropped)}. If the file is yours: ccproxy config trust {path.name}"
        )
    return Layer(layer.origin, kept, layer.text, layer.variables)


def _without_strangers(layers: list[Layer]) -> Iterator[Layer]:
    """Drop `models` that an untrusted file sets for a provider which nothing else defines."""
    known = {*model.ProvidersSettings.model_fields}
    for layer in layers:
        known |= {name for name, table in layer.values.get("providers", {}).items() if set(table) - {"models"}}
    for layer in layers:
        providers = layer.values.get("providers", {})
        if strangers := {name for name, table in providers.items() if name not in known and set(table) == {"models"}}:
            kept = {name: table for name, table in providers.items() if name not in strangers}
            yield Layer(layer.origin, {**layer.values, "providers": kept}, layer.text, layer.variables)
        else:
            yield layer


def _validated(layers: tuple[Layer, ...]) -> Settings:
    token = model.LAYERS.set(tuple(layer.values for layer in layers))
    try:
        return Settings()
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(layers, problem) for problem in error.errors())) from None
    except ValueError as error:  # a validator's JSON was none
        raise ConfigError(str(error)) from None
    finally:
        model.LAYERS.reset(token)


def _explain(layers: tuple[Layer, ...], problem: Any) -> str:
    """One line: where, which key, which value, what is accepted."""
    path = tuple(str(part) for part in problem["loc"])
    while path and not any(_has(layer.values, path) for layer in layers):
        path = path[:-1]
    layer = next((layer for layer in layers if path and _has(layer.values, path)), None)
    where = _where(layer, path) if layer else "settings"
    key = ".".join(str(part) for part in problem["loc"]) or "settings"
    if problem["type"] == "extra_forbidden":
        return f"{where}: unknown key {key}{_suggest(path)}"
    if problem["type"] == "missing":
        return f"{where}: {key} is missing"
    value = _get(layer.values, path) if layer else None
    shown = (
        ""
        if isinstance(value, Mapping) or layer is None or _is_secret(path)
        else f" = {_LOGIN.sub('://***@', repr(value))}"
    )
    return f"{where}: {key}{shown}: {problem['msg'].removeprefix('Value error, ')}"


def _suggest(path: tuple[str, ...]) -> str:
    table: Any = Settings
    for part in path[:-1]:
        info = table.model_fields.get(part) if isinstance(table, type) and issubclass(table, BaseModel) else None
        table = info.annotation if info is not None else model.CustomProviderSettings
    if not (isinstance(table, type) and issubclass(table, BaseModel)):
        return ""
    known = sorted(table.model_fields)
    near = difflib.get_close_matches(path[-1], known, n=1) if path else []
    return f"; did you mean {near[0]}?" if near else f"; accepted here: {', '.join(known)}"


def _is_secret(path: tuple[str, ...]) -> bool:
    return path[-1] in {"auth_token", "api_key"} or "env" in path or "mcp_servers" in path


def secret_shown(value: object) -> object:
    """A setting's value for people: secrets as `********` or, if empty, as an empty string."""
    if isinstance(value, SecretStr):
        return "********" if value.get_secret_value() else ""
    return value


def _where(layer: Layer, path: tuple[str, ...]) -> str:
    if name := layer.variables.get(path):
        return f"{layer.origin} {name}" if layer.origin == "environment" else f"{layer.origin}: {name}"
    if layer.text and (line := _line(layer.text, path)):
        return f"{layer.origin}:{line}"
    return layer.origin


def _line(text: str, path: tuple[str, ...]) -> int | None:
    """The line of a key in a TOML text: tomllib keeps none, so headers and keys are looked for as people write them."""
    table: tuple[str, ...] = ()
    best = None
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line):
            table = tuple(part.strip(" \"'") for part in header[1].split("."))
            found = table
        elif key := re.match(r"\s*([A-Za-z0-9_.\"'-]+)\s*=", line):
            found = (*table, *(part.strip(" \"'") for part in key[1].split(".")))
        else:
            continue
        if path[: len(found)] == found:
            best = number
            if found == path:
                return number
    return best


def _has(values: Any, path: tuple[str, ...]) -> bool:
    for part in path:
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True


def _get(values: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        values = values[part]
    return values
