"""The command line. No logic: every command calls a room below."""

from __future__ import annotations


def main() -> None:
    """The program `ccproxy`."""
    from ccproxy.cli.app import app

    app(prog_name="ccproxy")
