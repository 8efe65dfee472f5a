"""`ccproxy config`: show and change the configuration."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from ccproxy.cli.console import fail, load_settings

app = typer.Typer(help="Show and change the configuration.", no_args_is_help=True)


@app.command()
def path() -> None:
    """Print the path of the configuration file.

    Example: ccproxy config path
    """
    from ccproxy.settings.folders import config_dir

    typer.echo(str(load_settings().file or config_dir() / "config.toml"))


@app.command()
def show(as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Show every setting with its value and origin.

    Secrets are hidden.

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
def init(force: bool = typer.Option(False, "--force", help="Overwrite an existing file.")) -> None:
    """Write a commented configuration file.

    It contains every setting with its default.

    Example: ccproxy config init
    """
    from ccproxy.settings.editing import write_template
    from ccproxy.settings.folders import config_dir

    file = config_dir() / "config.toml"
    try:
        write_template(file, replace=force)
    except FileExistsError:
        fail(f"{file} exists already. Overwrite it with --force")
    except OSError as error:
        fail(f"{file}: {error.strerror or error}")
    typer.echo(f"Wrote {file}")


@app.command(name="set")
def set_(
    key: str = typer.Argument(help="Name of the setting, such as server.port or providers.codex.api_key."),
    value: str = typer.Argument(help="Value of the setting; lists and tables as JSON."),
    config: Path | None = typer.Option(None, help="File to change.", show_default="the user's own"),
) -> None:
    """Set one value in the configuration file.

    Comments and the order of the file do not change.

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
    typer.echo(f"Set {key} in {file}")


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file.

    Example: ccproxy config schema > ccproxy.schema.json
    """
    from ccproxy.settings import Settings

    typer.echo(json.dumps(Settings.model_json_schema(), indent=2))


@app.command()
def trust(
    file: Path | None = typer.Argument(
        None, help="File to trust.", show_default="./.ccproxy.toml, ./ccproxy.toml or ./.env"
    ),
) -> None:
    """Trust a file in the current folder to set everything.

    The trust applies to its present content and ends when the file changes.

    Example: ccproxy config trust .ccproxy.toml
    """
    from ccproxy.settings.trust import trust as trust_file

    candidates = (Path(name) for name in (".ccproxy.toml", "ccproxy.toml", ".env"))
    path = file or next((each for each in candidates if each.is_file()), None)
    if path is None:
        fail("This folder has no .ccproxy.toml, ccproxy.toml or .env", 2)
    try:
        trust_file(path)
    except OSError as error:
        fail(f"{path}: {error}")
    typer.echo(f"{path} is trusted with its present content. Run this command again after a change")
