"""`ccproxy addon-path`."""

from __future__ import annotations

from pathlib import Path

import typer


def addon_path() -> None:
    """Print the script that loads ccproxy into a stock mitmproxy.

    Example: mitmdump -s "$(ccproxy addon-path)"
    """
    import ccproxy

    typer.echo(str(Path(ccproxy.__file__).with_name("script.py")))
