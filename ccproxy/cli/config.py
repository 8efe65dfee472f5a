"""`ccproxy config`."""

from __future__ import annotations

from pathlib import Path

import typer

from ccproxy.cli.console import fail, load_settings

app = typer.Typer(help="Look at the configuration and change it.", no_args_is_help=True)


@app.command()
def path() -> None:
    """Print the configuration file in use, or the one that would be."""
    from ccproxy.settings.folders import config_dir

    typer.echo(str(load_settings().file or config_dir() / "config.toml"))


@app.command()
def trust(
    file: Path | None = typer.Argument(
        None, help="The file; ./.ccproxy.toml, ./ccproxy.toml or ./.env if none is named."
    ),
) -> None:
    """Let a configuration file of the current folder set everything, as it is now.

    Example: ccproxy config trust .ccproxy.toml
    """
    from ccproxy.settings.trust import trust as trust_file

    found = file or next(
        (Path(name) for name in (".ccproxy.toml", "ccproxy.toml", ".env") if Path(name).is_file()), None
    )
    if found is None:
        fail("there is no .ccproxy.toml, ccproxy.toml or .env in this folder", 2)
    try:
        trust_file(found)
    except OSError as error:
        fail(f"{found}: {error}")
    typer.echo(f"{found} is trusted as it is now; after a change, say so again")
