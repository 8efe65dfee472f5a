"""A user at a terminal, for the sign-in flows."""

from __future__ import annotations

import os
import select
import sys

import typer


class Terminal:
    """Prints text, asks questions and opens browsers."""

    def __init__(self) -> None:
        self._ended = False

    def say(self, text: str) -> None:
        typer.echo(text)

    def ask(self, question: str) -> str:
        return input(f"{question}: ")

    def pasted(self) -> str | None:
        """Return a line from standard input if there is one. Windows offers no check that does not block, so never there."""
        if self._ended or os.name == "nt":
            return None
        try:
            ready, _, _ = select.select([sys.stdin], [], [], 0)
        except (OSError, ValueError):  # no standard input, or one without a file descriptor
            self._ended = True
            return None
        if not ready:
            return None
        line = sys.stdin.readline()
        self._ended = not line
        return line.strip() or None

    def open(self, url: str) -> bool:
        import webbrowser

        try:
            return webbrowser.open(url)
        except (webbrowser.Error, OSError):
            return False
