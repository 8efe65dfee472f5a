"""The command line. Commands parse arguments and print; the packages below `cli` do the work."""

from __future__ import annotations


def main() -> None:
    """Run the program `ccproxy`."""
    import sys

    try:
        from ccproxy.cli.app import build

        program = build(sys.argv[1:])
    except KeyboardInterrupt:  # once the program runs, click handles Ctrl-C
        sys.exit(130)
    program(prog_name="ccproxy")
