"""Change one key of a TOML file that people write by hand: comments, order and spelling of everything else stay."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from ccproxy.errors import ConfigError
from ccproxy.settings.folders import private


def set_key(path: Path, key: str, value: Any, *, check: Callable[[str], None] | None = None) -> bool:
    """Set `section.key`; whether that changed anything. Makes the file, for its owner alone, if there is none.

    `check` sees the whole text before it is written, and raises what is wrong with it. Raises `ConfigError` when the file is no TOML, cannot be
    written, or has something else than a table on the way.
    """
    try:
        target = path.resolve()  # a link, as keepers of dotfiles have them, stays one
        text = target.read_text(encoding="utf-8") if target.exists() else ""
        document = tomlkit.parse(text)
        *tables, last = key.split(".")
        if not tables or not all((*tables, last)):
            raise ConfigError(f"{key!r}: name a setting with its table, such as server.port")
        table: MutableMapping[str, object] = document
        for depth, name in enumerate(tables):
            if name not in table:
                table[name] = tomlkit.table(is_super_table=depth < len(tables) - 1)
            inner = table[name]
            if not isinstance(inner, MutableMapping):
                raise ConfigError(f"{path}: {'.'.join(tables[: depth + 1])} is no table")
            table = inner
        if last in table and table[last] == value and type(table[last]) is type(value):
            return False
        table[last] = value
        changed = tomlkit.dumps(document)
        if check is not None:
            check(changed)
        replace(target, changed)
    except TOMLKitError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be changed: {error}") from None
    return True


def replace(path: Path, text: str) -> None:
    """Write a configuration file as a whole. A new one is its owner's alone; one that is there keeps its mode. Raises `OSError`."""
    private(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # 0600: it may come to hold an API key
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            Path(name).chmod(path.stat().st_mode & 0o777)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
