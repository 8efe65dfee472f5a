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
        None, metavar="[-- ARGS]...", help="Arguments of the client, after --."
    ),
    via: str | None = VIA_OPTION,
    model: str | None = MODEL_OPTION,
    format_: str | None = FORMAT_OPTION,
    port: int | None = PORT_OPTION,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Run a client through ccproxy.

    The client is configured for this run only. ccproxy is started if it is not running. The exit code is that of the client.

    Known clients are claude, codex, openai, anthropic, aider, opencode, llm and curl. Any other program needs --format.

    Example: ccproxy run claude --via codex --model gpt-6.1-sol -- -p "say hi"
    """
    from ccproxy.cli.background import proxy
    from ccproxy.cli.running import probe_port
    from ccproxy.cli.target import target

    _exit_on_signals()
    loaded = load_settings({"server": {"port": port}} if port is not None else {}, config)
    for warning in loaded.warnings:
        _report(warning)
    try:
        chosen = target(loaded.settings, client, via=via, model=model, dialect=format_)
        program = _program(chosen.client)
        chosen.connection(probe_port(chosen.address, chosen.auth_token))  # report a problem before a proxy is started
        serve_arguments = ["--config", str(config)] if config else []
        with proxy(chosen.address, token=chosen.auth_token, arguments=serve_arguments, report=_report) as running:
            chosen.check_running(running)
            code = _run(program, chosen.client, chosen.connection(running), arguments or [])
    except CcproxyError as error:
        fail(str(error), 2 if isinstance(error, ConfigError) else 1)
    except OSError as error:  # the folder of locks and logs belongs to another user, or the disk is full
        fail(str(error))
    raise typer.Exit(code)


def _exit_on_signals() -> None:
    """Exit through the context managers, so that a proxy that this process has started is stopped."""
    for number in (signal.SIGTERM, *([signal.SIGHUP] if os.name == "posix" else [])):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, lambda number, _: sys.exit(128 + number))


def _report(message: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be closed
        typer.echo(f"ccproxy: {message}", err=True)


def _program(client: Client) -> str:
    path = shutil.which(client.program)
    if path is None:
        raise ConfigError(f"{client.program} is not on PATH. Install {client.title} first")
    return path


def _run(program: str, client: Client, connection: Connection, arguments: Sequence[str]) -> int:
    environ = _without_secrets(os.environ)
    for variable in client.variables(connection, environ):
        if variable.value is None:
            environ.pop(variable.name, None)
        else:
            environ[variable.name] = variable.value
    _warn_about_its_settings(client, environ)
    started: list[subprocess.Popen[bytes]] = []
    with _header_file(client, connection) as completed, _forwarded_signals(started):
        try:
            command = [program, *client.arguments(completed, arguments)]
            started.append(subprocess.Popen(command, env=environ))  # noqa: S603 - the user's own command
        except OSError as error:
            fail(f"{program}: {error.strerror or error}")
        code = started[0].wait()
    return code if code >= 0 else 128 - code


def _without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without ccproxy's own secrets: an agent runs programs that can read its environment."""
    return {name: value for name, value in environ.items() if not is_secret_variable(name)}


def _warn_about_its_settings(client: Client, environ: Mapping[str, str]) -> None:
    """Warn if Claude Code's settings file, which takes precedence over the environment, sets another base URL."""
    if client.name != "claude":
        return
    from ccproxy.cli.checks.probes import settings_env_of_claude

    base_url = environ["ANTHROPIC_BASE_URL"]
    if settings_env_of_claude(environ).get("ANTHROPIC_BASE_URL", base_url) != base_url:
        _report(
            "Claude Code's settings.json sets ANTHROPIC_BASE_URL, which takes precedence over ccproxy's. "
            'Remove it from "env" in that file'
        )


@contextlib.contextmanager
def _header_file(client: Client, connection: Connection) -> Iterator[Connection]:
    """Write ccproxy's token to a file for a client that can read one, because all users can read arguments."""
    if not client.reads_header_file or not connection.own_token:
        yield connection
        return
    with tempfile.TemporaryDirectory(prefix="ccproxy-run-") as folder:
        file = Path(folder) / "header"
        file.write_text(f"x-ccproxy-token: {connection.own_token}\n", encoding="latin-1")
        yield replace(connection, header_file=str(file))


@contextlib.contextmanager
def _forwarded_signals(children: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Forward signals to the client, except a Ctrl-C that the terminal has sent to both processes."""

    def forward(number: int, _: Any) -> None:
        if number == signal.SIGINT and _is_in_foreground():
            return
        for child in children:
            with contextlib.suppress(OSError):
                child.send_signal(number)

    numbers = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP, signal.SIGQUIT] if os.name == "posix" else [])]
    # An ignored signal stays ignored, and the client inherits that: nohup works so.
    forwarded = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    handlers = {number: signal.signal(number, forward) for number in forwarded}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _is_in_foreground() -> bool:
    """Return whether this process group is in the terminal's foreground, so that the client gets its signals as well."""
    if sys.platform == "win32":
        return True  # a console signals all its programs
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
