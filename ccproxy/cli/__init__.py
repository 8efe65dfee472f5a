"""The command line. No logic: every command calls a room below."""

from __future__ import annotations

import sys


def main() -> None:
    """The program `ccproxy`."""
    from ccproxy.cli.app import app

    app(prog_name="ccproxy")


if __name__ == "__main__":
    sys.exit(main())
