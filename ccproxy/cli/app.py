"""The commands of `ccproxy`: one module each, imported only when it is needed, so that `serve` starts fast."""

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

SHORT_HELP: Final = {
    "doctor": "Diagnose problems and show how to fix them.",
    "usage": "Show tokens and cost, by model or another column.",
}
"""Summaries for the list of commands where the first sentence of the help text is too long for 80 columns."""


def build(arguments: Sequence[str]) -> typer.Typer:
    """Return the program with the command that the arguments name, or with all commands for help and completion."""
    app = typer.Typer(
        name="ccproxy",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,  # those tracebacks show local variables, which may hold secrets
        help="Use Claude and OpenAI models from any LLM client. Only the client's base URL changes.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_main)
    first = arguments[0] if arguments else ""
    for name in [first] if first in COMMANDS else COMMANDS:
        module, _, attribute = COMMANDS[name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name=name, short_help=SHORT_HELP.get(name))(command)
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
