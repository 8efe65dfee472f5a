"""The commands of `ccproxy`, one module each, imported only when they are run: `serve` must not wait for the others' imports."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Final

import typer

from ccproxy import __version__

COMMANDS: Final = {
    "serve": "ccproxy.cli.serve:serve",
    "auth": "ccproxy.cli.auth:app",
    "config": "ccproxy.cli.config:app",
    "routes": "ccproxy.cli.routes:routes",
    "usage": "ccproxy.cli.usage:usage",
    "env": "ccproxy.cli.env:env",
    "run": "ccproxy.cli.run:run",
    "permissions": "ccproxy.cli.permissions:app",
    "doctor": "ccproxy.cli.doctor:doctor",
    "demo": "ccproxy.cli.demo:demo",
    "addon-path": "ccproxy.cli.addon_path:addon_path",
}


def build(arguments: Sequence[str]) -> typer.Typer:
    """The program for these arguments: with the one command that they name, else with all, for help and completion."""
    app = typer.Typer(
        name="ccproxy",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,  # their tracebacks show local variables, and so secrets
        help="Any Claude or OpenAI client, any of those models: change nothing but the client's base URL.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_main)
    named = arguments[0] if arguments else ""
    for name in [named] if named in COMMANDS else COMMANDS:
        module, _, attribute = COMMANDS[name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name=name)(command)
    return app


def _version(value: bool) -> None:
    if value:
        typer.echo(f"ccproxy {__version__}")
        raise typer.Exit


def _main(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    del version
