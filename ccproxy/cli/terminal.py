"""A person at a terminal, as the sign-in flows see one."""

from __future__ import annotations

import os
import select
import sys

import typer


class Terminal:
    """Prints, asks, opens browsers."""

    def __init__(self) -> None:
        self._ended = False

    def say(self, text: str) -> None:
        typer.echo(text)

    def ask(self, question: str) -> str:
        return input(f"{question}: ")

    def pasted(self) -> str | None:
        """A line from standard input, if one is there. Windows cannot look without waiting: never one."""
        if self._ended or os.name == "nt":
            return None
        try:
            ready, _, _ = select.select([sys.stdin], [], [], 0)
        except (OSError, ValueError):  # no standard input, or one that is no file
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
