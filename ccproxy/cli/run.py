"""`ccproxy run`."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from ccproxy.cli.clients import Client, Connection
from ccproxy.cli.console import fail, load_settings
from ccproxy.cli.options import CLIENT_ARGUMENT, CONFIG_OPTION, FORMAT_OPTION, MODEL_OPTION, PORT_OPTION, VIA_OPTION
from ccproxy.errors import CcproxyError, ConfigError
from ccproxy.settings.secrets import is_secret_variable


def run(
    client: str = CLIENT_ARGUMENT,
    arguments: list[str] | None = typer.Argument(
        None, metavar="[-- ARGS]...", help="The client's own arguments, after --."
    ),
    via: str | None = VIA_OPTION,
    model: str | None = MODEL_OPTION,
    format_: str | None = FORMAT_OPTION,
    port: int | None = PORT_OPTION,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Run a client through ccproxy: it is told where to go for this run only, and ccproxy is started if none answers.

    Known clients: claude, codex, openai, anthropic, aider, opencode, llm, curl; any other program with --format. The exit code is the client's.

    Example: ccproxy run claude --via codex --model gpt-6.1-sol -- -p "say hi"
    """
    from ccproxy.cli.background import proxy
    from ccproxy.cli.running import look
    from ccproxy.cli.target import target

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that a started proxy is stopped
    loaded = load_settings({"server": {"port": port}} if port is not None else {}, config)
    for warning in loaded.warnings:
        typer.echo(f"ccproxy: {warning}", err=True)
    try:
        wanted = target(loaded.settings, client, via=via, model=model, wanted=format_)
        program = _program(wanted.client)
        # what cannot work is said before anything is started
        wanted.connection(look(wanted.address, wanted.auth_token))
        serve_arguments = ["--config", str(config)] if config else []
        with proxy(wanted.address, token=wanted.auth_token, arguments=serve_arguments, say=_say) as found:
            wanted.check_running(found)
            code = _run(program, wanted.client, wanted.connection(found), arguments or [])
    except CcproxyError as error:
        fail(str(error), 2 if isinstance(error, ConfigError) else 1)
    except OSError as error:  # the folder of locks and logs belongs to somebody else, or the disk is full
        fail(str(error))
    raise typer.Exit(code)


def _say(message: str) -> None:
    typer.echo(f"ccproxy: {message}", err=True)


def _program(client: Client) -> str:
    found = shutil.which(client.program)
    if found is None:
        raise ConfigError(f"{client.program}: no such program on PATH; install {client.title} first")
    return found


def _run(program: str, client: Client, connection: Connection, given: Sequence[str]) -> int:
    environ = _without_secrets(os.environ)
    for variable in client.variables(connection, environ):
        if variable.value is None:
            environ.pop(variable.name, None)
        else:
            environ[variable.name] = variable.value
    _warn_of_its_own_settings(client, environ)
    started: list[subprocess.Popen[bytes]] = []
    with _header_file(client, connection) as told, _signals_go_to(started):
        try:
            started.append(subprocess.Popen([program, *client.arguments(told, given)], env=environ))  # noqa: S603 - what the user asked for
        except OSError as error:
            fail(f"{program}: {error.strerror or error}")
        code = started[0].wait()
    return code if code >= 0 else 128 - code


def _without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """ccproxy's own secrets are none of the client's business, and an agent runs programs that read their environment."""
    return {name: value for name, value in environ.items() if not is_secret_variable(name)}


def _warn_of_its_own_settings(client: Client, environ: Mapping[str, str]) -> None:
    """Claude Code's settings file wins over the environment."""
    if client.name != "claude":
        return
    from ccproxy.cli.checks.probes import settings_env_of_claude

    wanted = environ["ANTHROPIC_BASE_URL"]
    if settings_env_of_claude(environ).get("ANTHROPIC_BASE_URL", wanted) != wanted:
        _say(
            "Claude Code's settings.json sets ANTHROPIC_BASE_URL, which wins over ccproxy's: take it out of its \"env\""
        )


@contextlib.contextmanager
def _header_file(client: Client, connection: Connection) -> Iterator[Connection]:
    """ccproxy's token in a file for a client that reads one: everybody on the machine can read arguments."""
    if not client.reads_header_file or not connection.own_token:
        yield connection
        return
    with tempfile.TemporaryDirectory(prefix="ccproxy-run-") as folder:
        file = Path(folder) / "header"
        file.write_text(f"x-ccproxy-token: {connection.own_token}\n", encoding="latin-1")
        yield replace(connection, header_file=str(file))


@contextlib.contextmanager
def _signals_go_to(children: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Ctrl-C is the client's: the terminal sends it to both, so here it does nothing; from anywhere else it is handed on, as is the end."""

    def hand_on(number: int, _: Any) -> None:
        if number == signal.SIGINT and _terminal_has_us():
            return
        for child in children:
            with contextlib.suppress(OSError):
                child.send_signal(number)

    numbers = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP, signal.SIGQUIT] if os.name == "posix" else [])]
    before = {number: signal.signal(number, hand_on) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _terminal_has_us() -> bool:
    """Whether this process group has the terminal, so that the client got the signal from it too."""
    if sys.platform == "win32":
        return True  # a console tells all its programs
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
