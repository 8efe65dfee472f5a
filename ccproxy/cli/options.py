"""The arguments that `run`, `env` and `doctor` share, with what a shell completes them to."""

from __future__ import annotations

import typer


def complete_client(incomplete: str) -> list[str]:
    """The names of the known clients."""
    from ccproxy.cli.clients import CLIENTS

    return [name for name in CLIENTS if name.startswith(incomplete)]


def complete_provider(incomplete: str) -> list[str]:
    """The names of the enabled providers."""
    from ccproxy.errors import ConfigError
    from ccproxy.providers.registry import providers
    from ccproxy.settings import load

    try:
        names = sorted(provider.name for provider in providers(load().settings))
    except ConfigError:  # told when the command runs
        return []
    return [name for name in names if name.startswith(incomplete)]


def complete_format(incomplete: str) -> list[str]:
    """What a program may speak."""
    return [name for name in ("anthropic", "openai") if name.startswith(incomplete)]


CLIENT_ARGUMENT = typer.Argument(metavar="CLIENT", help="The client.", autocompletion=complete_client)
VIA_OPTION = typer.Option(
    None,
    metavar="PROVIDER",
    help="The provider that answers: claude_api, codex, claude_sdk, mock, or one of your own.",
    autocompletion=complete_provider,
    show_default="the client's own vendor",
)
MODEL_OPTION = typer.Option(
    None, metavar="M", help="The model to ask for.", show_default="the client's own, or one that the provider has"
)
FORMAT_OPTION = typer.Option(
    None,
    "--format",
    metavar="FORMAT",
    help="What the program speaks: anthropic or openai.",
    autocompletion=complete_format,
    show_default="what needs no translation",
)
PORT_OPTION = typer.Option(None, help="ccproxy's port.", show_default="8000, or what the configuration says")
CONFIG_OPTION = typer.Option(None, help="Configuration file.", show_default="./ccproxy.toml or the user's own")
