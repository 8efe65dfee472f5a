"""The command line. No logic: every command calls a room below."""

from __future__ import annotations


def main() -> None:
    """The program `ccproxy`."""
    import sys

    from ccproxy.cli.app import build

    build(sys.argv[1:])(prog_name="ccproxy")
