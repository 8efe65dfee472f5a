"""`ccproxy env`."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path, PurePath

import typer

from ccproxy.cli.clients import Variable
from ccproxy.cli.console import fail, load_settings
from ccproxy.cli.options import CLIENT_ARGUMENT, CONFIG_OPTION, FORMAT_OPTION, MODEL_OPTION, PORT_OPTION, VIA_OPTION
from ccproxy.errors import CcproxyError, ConfigError


class Shell(StrEnum):
    """The supported shells."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def env(
    client: str = CLIENT_ARGUMENT,
    via: str | None = VIA_OPTION,
    model: str | None = MODEL_OPTION,
    format_: str | None = FORMAT_OPTION,
    shell: Shell | None = typer.Option(
        None, help="Shell whose syntax to print.", show_default="the shell in $SHELL, or bash"
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON; null means that a variable is unset."),
    port: int | None = PORT_OPTION,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Print the variables that point a client at ccproxy.

    Each is an export with a comment that explains it. No program is started.

    Example: eval "$(ccproxy env claude)"      fish: ccproxy env claude | source
    """
    from ccproxy.cli.running import Listener, probe_port
    from ccproxy.cli.target import target

    loaded = load_settings({"server": {"port": port}} if port is not None else {}, config)
    if loaded.settings.server.port == 0:
        fail(
            "server.port is 0, so each start picks another port. Set a fixed port in the configuration or with --port",
            2,
        )
    try:
        chosen = target(loaded.settings, client, via=via, model=model, dialect=format_)
        running = probe_port(chosen.address, chosen.auth_token)
        connection = chosen.connection(running)
    except CcproxyError as error:
        fail(str(error), 2 if isinstance(error, ConfigError) else 1)
    variables = list(chosen.client.variables(connection, os.environ))
    arguments = chosen.client.arguments(connection, [])
    if as_json:
        body = {"variables": {each.name: each.value for each in variables}, "arguments": arguments}
        typer.echo(json.dumps(body, indent=2))
        return
    fish = (shell or _current_shell()) is Shell.FISH
    typer.echo(f"# {chosen.client.title} through ccproxy at {connection.base} ({chosen.provider.name})")
    if running.listener is not Listener.CCPROXY:
        problem = f"{running.listener.value} is listening on {chosen.address}"
        typer.echo(f"# {problem[0].upper()}{problem[1:]}. Start ccproxy with: ccproxy serve")
    if connection.key is None:
        typer.echo("# The client's own key or login passes through: ccproxy has no credential for this provider")
    for line in (*exports(variables, fish=fish), *(f"# {note}" for note in chosen.client.notes)):
        typer.echo(line)
    if arguments:
        typer.echo(_function(chosen.client.program, arguments, fish=fish))


def _current_shell() -> Shell:
    name = PurePath(os.environ.get("SHELL", "")).name
    return Shell(name) if name in set(Shell) else Shell.BASH


def exports(variables: list[Variable], *, fish: bool) -> Iterator[str]:
    """Yield an export for each variable, with one comment for successive variables of the same purpose."""
    comment = ""
    for variable in variables:
        if variable.why != comment:
            yield f"# {variable.why}"
        comment = variable.why
        yield _export(variable, fish=fish)


def _function(program: str, arguments: list[str], *, fish: bool) -> str:
    words = " ".join(_quoted(word, fish=fish) for word in arguments)
    if fish:
        return f"function {program}; command {program} {words} $argv; end"
    return f'{program}() {{ command {program} {words} "$@"; }}'


def _export(variable: Variable, *, fish: bool) -> str:
    if variable.value is None:
        return f"set -e {variable.name}" if fish else f"unset {variable.name}"
    value = _quoted(variable.value, fish=fish)
    return f"set -gx {variable.name} {value}" if fish else f"export {variable.name}={value}"


def _quoted(text: str, *, fish: bool) -> str:
    """Return the text as one word of the shell. In fish's single quotes, only a backslash and a quote need a backslash."""
    if not fish:
        return shlex.quote(text)
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
