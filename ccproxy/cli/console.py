"""How commands load the settings and how they fail: one line on stderr, exit code 1 or 2."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import typer

from ccproxy.errors import ConfigError
from ccproxy.settings import Loaded, load


def fail(message: str, code: int = 1) -> NoReturn:
    """End the program. Code 1: it failed; 2: wrong usage or configuration."""
    typer.echo(f"ccproxy: {message}", err=True)
    raise typer.Exit(code)


def load_settings(flags: Mapping[str, Any] | None = None, config: Path | None = None) -> Loaded:
    """The settings, or the end of the program with exit code 2."""
    try:
        return load(flags, config=config)
    except ConfigError as error:
        fail(str(error), 2)
