"""The command line. No logic: every command calls a room below."""

from __future__ import annotations


def main() -> None:
    """The program `ccproxy`."""
    import sys

    try:
        from ccproxy.cli.app import build

        program = build(sys.argv[1:])
    except KeyboardInterrupt:  # from here on, click ends on it
        sys.exit(130)
    program(prog_name="ccproxy")
