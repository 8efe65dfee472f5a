"""`ccproxy addon-path`."""

from __future__ import annotations

from pathlib import Path

import typer


def addon_path() -> None:
    """Print the path of the script for mitmproxy's option -s.

    Example: mitmdump -s "$(ccproxy addon-path)"
    """
    import ccproxy

    typer.echo(str(Path(ccproxy.__file__).with_name("script.py")))
