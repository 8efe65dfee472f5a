"""Loading the settings for a command, and ending a command with one line on stderr."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import typer

from ccproxy.errors import ConfigError
from ccproxy.settings import Loaded, load


def fail(message: str, code: int = 1) -> NoReturn:
    """End the program with exit code 1 for a failure or 2 for wrong usage or configuration."""
    typer.echo(f"ccproxy: {message}", err=True)
    raise typer.Exit(code)


def load_settings(flags: Mapping[str, Any] | None = None, config: Path | None = None) -> Loaded:
    """Load the settings. End the program with exit code 2 if they are wrong."""
    try:
        return load(flags, config=config)
    except ConfigError as error:
        fail(str(error), 2)
