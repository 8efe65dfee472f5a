"""`ccproxy config`: look at the configuration and change it."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from ccproxy.cli.console import fail, load_settings

app = typer.Typer(help="Look at the configuration and change it.", no_args_is_help=True)


@app.command()
def path() -> None:
    """Print the configuration file in use, or the one that would be.

    Example: ccproxy config path
    """
    from ccproxy.settings.folders import config_dir

    typer.echo(str(load_settings().file or config_dir() / "config.toml"))


@app.command()
def show(as_json: bool = typer.Option(False, "--json", help="As JSON.")) -> None:
    """Print every setting, its value and where the value came from; secrets are hidden.

    Example: ccproxy config show
    """
    from ccproxy.settings.secrets import shown

    loaded = load_settings()
    rows = [(".".join(path), value, loaded.origin(*path)) for path, value in shown(loaded.settings)]
    if as_json:
        typer.echo(
            json.dumps({key: {"value": value, "origin": origin} for key, value, origin in rows}, indent=2, default=str)
        )
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("setting", "value", "from", box=None)
    for key, value, origin in rows:
        table.add_row(key, value if isinstance(value, str) else json.dumps(value, default=str), origin)
    Console(soft_wrap=True).print(table)


@app.command()
def init(force: bool = typer.Option(False, "--force", help="Overwrite the file that is there.")) -> None:
    """Write a commented configuration file with every setting at its default.

    Example: ccproxy config init
    """
    from ccproxy.settings.editing import write_template
    from ccproxy.settings.folders import config_dir

    file = config_dir() / "config.toml"
    try:
        write_template(file, replace=force)
    except FileExistsError:
        fail(f"{file} is there already; --force overwrites it")
    except OSError as error:
        fail(f"{file}: {error.strerror or error}")
    typer.echo(f"wrote {file}")


@app.command(name="set")
def set_(
    key: str = typer.Argument(help="The setting, such as server.port or providers.codex.api_key."),
    value: str = typer.Argument(help="Its value; lists and tables as JSON."),
    config: Path | None = typer.Option(
        None, help="The file to change.", show_default="the one in use, or the user's own"
    ),
) -> None:
    """Set one value in the configuration file; comments and order are kept.

    Example: ccproxy config set server.port 9000
    """
    from ccproxy.errors import ConfigError
    from ccproxy.settings.editing import set_value
    from ccproxy.settings.folders import config_dir

    file = config or config_dir() / "config.toml"
    try:
        set_value(file, key, value)
    except (ConfigError, OSError) as error:
        fail(str(error), 2)
    typer.echo(f"{file}: {key} is set")


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors.

    Example: ccproxy config schema > ccproxy.schema.json
    """
    from ccproxy.settings import Settings

    typer.echo(json.dumps(Settings.model_json_schema(), indent=2))


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
