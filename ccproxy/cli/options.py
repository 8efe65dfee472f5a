"""Arguments that `run`, `env` and `doctor` share, with their shell completion."""

from __future__ import annotations

import typer


def complete_client(incomplete: str) -> list[str]:
    """Complete the name of a known client."""
    from ccproxy.cli.clients import CLIENTS

    return [name for name in CLIENTS if name.startswith(incomplete)]


def complete_provider(incomplete: str) -> list[str]:
    """Complete the name of an enabled provider."""
    from ccproxy.errors import ConfigError
    from ccproxy.providers.registry import providers
    from ccproxy.settings import load

    try:
        names = sorted(provider.name for provider in providers(load().settings))
    except ConfigError:  # reported when the command runs
        return []
    return [name for name in names if name.startswith(incomplete)]


def complete_format(incomplete: str) -> list[str]:
    """Complete the API that a program uses."""
    return [name for name in ("anthropic", "openai") if name.startswith(incomplete)]


CLIENT_ARGUMENT = typer.Argument(metavar="CLIENT", help="The client.", autocompletion=complete_client)
VIA_OPTION = typer.Option(
    None,
    metavar="PROVIDER",
    help="Provider to use: claude_api, codex, claude_sdk, mock or one of your own.",
    autocompletion=complete_provider,
    show_default="the client's own vendor",
)
MODEL_OPTION = typer.Option(
    None, metavar="M", help="Model to request.", show_default="the client's own, or one that the provider has"
)
FORMAT_OPTION = typer.Option(
    None,
    "--format",
    metavar="FORMAT",
    help="API that the program uses: anthropic or openai.",
    autocompletion=complete_format,
    show_default="the one that needs no translation",
)
PORT_OPTION = typer.Option(None, help="Port of ccproxy.", show_default="8000, or the configured port")
CONFIG_OPTION = typer.Option(None, help="Configuration file.", show_default="./ccproxy.toml or the user's own")
