"""The sources of settings, each read once into a layer of nested values: TOML files, `.env` and the environment.

Whatever a file holds, reading it is bounded: tomllib takes time and memory that grow with the square of a dotted key.
"""

from __future__ import annotations

import io
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ccproxy.errors import ConfigError
from ccproxy.settings import keys

MAX_DEPTH: Final = 32
"""Parts of a key, and tables or lists inside each other. No setting needs half of it."""
_MAX_NAMES: Final = 20
"""Names that one warning lists."""

_PART = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+"""
_LONG_KEY: Final = re.compile(rf"(?<![A-Za-z0-9_\"'-])(?:{_PART}){{{MAX_DEPTH}}}")
_SDK_ENVIRONMENT: Final = ("providers", "claude_sdk", "env")


@dataclass(frozen=True, slots=True)
class Layer:
    """One source: its name in messages, and the nested values that it sets."""

    origin: str
    values: Mapping[str, Any]
    text: str = ""
    """The source text of a TOML file, to find the line of a key in."""
    variables: Mapping[keys.Path, str] = field(default_factory=dict)
    """The variable behind each path, for layers made of variables."""


def from_toml(path: Path, content: bytes) -> Layer:
    """A layer from the content of a TOML file.

    Raises:
        ConfigError: the content is not valid TOML.

    """
    text = decoded(path, content)
    return Layer(str(path), parsed_toml(path, text), text)


def parsed_toml(path: Path, text: str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        ConfigError: the text is not valid TOML, or nested deeper than any setting.

    """
    if long_key := _LONG_KEY.search(text):
        line = text.count("\n", 0, long_key.start()) + 1
        raise ConfigError(f"{path}:{line}: a key has more than {MAX_DEPTH} parts")
    try:
        values = tomllib.loads(text.removeprefix("\ufeff"))
    except RecursionError:
        raise _too_deep(path) from None
    except ValueError as error:  # TOMLDecodeError, or an integer with more digits than Python takes
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    _check_depth(path, values)
    return values


def from_dotenv(path: Path, content: bytes, warnings: list[str]) -> Layer:
    """A layer from the content of a `.env` file. Lines that are not assignments are none of ccproxy's business.

    Raises:
        ConfigError: the file is not UTF-8, or its variables contradict each other.

    """
    from dotenv.parser import parse_stream

    text = decoded(path, content).removeprefix("\ufeff")
    bindings = parse_stream(io.StringIO(text, newline=None))
    variables = {binding.key: binding.value for binding in bindings if binding.key is not None}
    return from_variables(str(path), variables, warnings)


def from_variables(origin: str, variables: Mapping[str, str | None], warnings: list[str]) -> Layer:
    """`SERVER__PORT=1` becomes `{"server": {"port": "1"}}`.

    Names without `__` or of other sections are left alone, and so are empty variables, which container set-ups make of
    unset ones. A name that is not a setting nor close to one belongs to another program: it is ignored with a warning.

    Raises:
        ConfigError: two variables contradict each other, or a name has too many parts.

    """
    values: dict[str, Any] = {}
    names: dict[keys.Path, str] = {}
    foreign: list[str] = []
    for name, value in variables.items():
        path = _path(name)
        if path is None or value is None or not value.strip():
            continue
        if len(path) > MAX_DEPTH:
            raise ConfigError(f"{origin}: {printable(name)} has more than {MAX_DEPTH} parts")
        if (unknown := keys.unknown_part(path)) and keys.nearest(*unknown) is None:
            foreign.append(name)
            continue
        _put(values, path, value, name=name, origin=origin)
        names[path] = name
    if foreign:
        warnings.append(f"{origin}: ignored, because they are not settings of ccproxy: {listed(foreign)}")
    return Layer(origin, values, variables=names)


def decoded(path: Path, content: bytes) -> str:
    """Raises `ConfigError` where a file is not UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None


def listed(names: Iterable[str]) -> str:
    """Names for a message: printable, and not more of them than anybody reads."""
    names = [printable(name) for name in names]
    more = len(names) - _MAX_NAMES
    return ", ".join(names[:_MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def printable(text: str) -> str:
    """Text of a file in a message: a strange file must not act on the terminal."""
    shown = text if len(text) <= 200 else text[:200] + "…"
    return shown if shown.isprintable() else shown.encode("unicode_escape").decode("ascii")


def _path(name: str) -> keys.Path | None:
    parts = tuple(name.split("__"))
    path = tuple(part.lower() for part in parts)
    if len(path) < 2 or path[0] not in keys.SECTIONS or not all(path):
        return None
    depth = len(_SDK_ENVIRONMENT)
    return (*path[:depth], *parts[depth:]) if path[:depth] == _SDK_ENVIRONMENT else path


def _put(values: dict[str, Any], path: keys.Path, value: str, *, name: str, origin: str) -> None:
    table = values
    for part in path[:-1]:
        inner = table.setdefault(part, {})
        if not isinstance(inner, dict):
            above = ".".join(path[:-1])
            raise ConfigError(f"{origin}: {name} sets a key inside {above}, which is set to a plain value too")
        table = inner
    if isinstance(table.get(path[-1]), dict):
        raise ConfigError(f"{origin}: {name} and a longer name below it are both set: keep one")
    table[path[-1]] = value


def _check_depth(path: Path, values: Any) -> None:
    level: list[Any] = [values]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise _too_deep(path)


def _too_deep(path: Path) -> ConfigError:
    return ConfigError(f"{path}: tables or lists are nested more than {MAX_DEPTH} deep")
