"""The commands of `ccproxy`, one module each."""

from __future__ import annotations

import typer

from ccproxy import __version__
from ccproxy.cli import addon_path, config, demo, doctor, env, routes, run, serve

app = typer.Typer(
    name="ccproxy",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # their tracebacks show local variables, and so secrets
    help="Any Claude or OpenAI client, any of those models: change nothing but the client's base URL.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(name="serve", help=serve.serve.__doc__)(serve.serve)
app.add_typer(config.app, name="config")
app.command(name="routes")(routes.routes)
app.command(name="env")(env.env)
app.command(name="run")(run.run)
app.command(name="doctor")(doctor.doctor)
app.command(name="demo")(demo.demo)
app.command(name="addon-path")(addon_path.addon_path)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"ccproxy {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    del version
