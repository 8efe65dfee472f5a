"""The command line."""

from __future__ import annotations

import typer

from ccproxy.cli import auth

app = typer.Typer(no_args_is_help=True, pretty_exceptions_show_locals=False)
app.add_typer(auth.app, name="auth")


@app.callback()
def ccproxy() -> None:
    """A local reverse proxy between LLM clients and LLM providers."""


def main() -> None:
    app()
