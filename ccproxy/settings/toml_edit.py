"""Change one key of a TOML file that people write by hand: comments, order and spelling of everything else stay."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from ccproxy.errors import ConfigError
from ccproxy.settings.files import read_file, replace_file
from ccproxy.settings.layers import decoded, parsed_toml


def set_key(path: Path, key: str, value: Any, *, check: Callable[[str], None] | None = None) -> bool:
    """Set `section.key`; return whether that changed anything. A missing file is made.

    The file is its owner's alone afterwards, because it may hold keys. `check` gets the whole text before it is written,
    and raises what is wrong with it.

    Raises:
        ConfigError: the file is not valid TOML or cannot be written, or a part of the key is a plain value.

    """
    *tables, last = key.split(".")
    if not tables or not all((*tables, last)):
        raise ConfigError(f"{key!r}: name a setting with its table, such as server.port")
    try:
        text = _text(path)
        parsed_toml(path, text)  # bounded, which tomlkit is not
        document = tomlkit.parse(text)
        table = _table(path, document, tables)
        if last in table and table[last] == value and type(table[last]) is type(value):
            return False
        table[last] = value
        changed = tomlkit.dumps(document)
        if check is not None:
            check(changed)
        replace_file(path, changed.encode())
    except (TOMLKitError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be changed: {error.strerror or error}") from None
    return True


def _text(path: Path) -> str:
    try:
        return decoded(path, read_file(path))
    except FileNotFoundError:
        return ""


def _table(path: Path, document: tomlkit.TOMLDocument, names: list[str]) -> MutableMapping[str, object]:
    """The table of a key, which is made if it is missing."""
    table: MutableMapping[str, object] = document
    for depth, name in enumerate(names):
        if name not in table:
            table[name] = tomlkit.table(is_super_table=depth < len(names) - 1)
        inner = table[name]
        if not isinstance(inner, MutableMapping):
            raise ConfigError(f"{path}: {'.'.join(names[: depth + 1])} is not a table")
        table = inner
    return table
