"""`ccproxy serve`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from ccproxy import garbage, mitmproxy_patches
from ccproxy.cli import reload as reloading
from ccproxy.cli.console import fail
from ccproxy.errors import ConfigError, StartError
from ccproxy.settings import Loaded, Settings, load

if TYPE_CHECKING:
    from ccproxy.server.proxy_server import ProxyServer

_HANGUP: Final[signal.Signals | None] = getattr(signal, "SIGHUP", None)
"""A closed terminal; Windows has no such signal."""


def serve(
    host: str = typer.Option(
        None,
        help="Address to listen on. Any address other than loopback requires --auth-token.",
        show_default="127.0.0.1",
    ),
    port: int = typer.Option(None, help="Port to listen on; 0 picks a free port.", show_default="8000"),
    web: bool = typer.Option(None, "--web/--no-web", help="Show the raw traffic in mitmweb.", show_default="--no-web"),
    web_port: int = typer.Option(None, help="Port of mitmweb.", show_default="8081"),
    web_open: bool = typer.Option(False, "--web-open", help="Open mitmweb in the browser."),
    log_level: str = typer.Option(None, help="Log level: debug, info, warning or error.", show_default="info"),
    config: Path | None = typer.Option(
        None, help="Configuration file.", show_default="./ccproxy.toml or the user's own"
    ),
    auth_token: str = typer.Option(None, help="Token that every client must send.", show_default=False),
    reload: bool = typer.Option(False, "--reload", help="Restart when the configuration or the code changes."),
    set_: list[str] = typer.Option([], "--set", metavar="NAME=VALUE", help="Set a mitmproxy option; may be repeated."),
    script: list[Path] = typer.Option([], "-s", "--script", help="Load a mitmproxy script; may be repeated."),
    record: Path = typer.Option(None, help="Record whole exchanges in this file (.flow or .har).", show_default=False),
) -> None:
    """Start the proxy.

    Example: ccproxy serve --port 8000 --web
    """
    flags: dict[str, Any] = {
        key: value
        for key, value in {
            "host": host, "port": port, "web": web, "web_port": web_port, "log_level": log_level, "auth_token": auth_token,
        }.items()
        if value is not None
    }  # fmt: skip

    def load_again() -> Loaded:
        return load({"server": flags} if flags else {}, config=config)

    is_restart = reload and reloading.is_restart()
    watch = reloading.Watch(config) if reload else None  # before the files are read, so that no change is missed
    try:
        loaded = load_again()
        _configure_logging(loaded.settings.server.log_level)
        changed = _serve(
            loaded,
            (lambda: watch.usable_change(load_again, loaded.settings)) if watch else None,
            options=set_,
            scripts=[str(path) for path in script],
            record=record,
            record_append=is_restart,
            web_open=web_open and not is_restart,
        )
    except (ConfigError, StartError) as error:
        if not (watch and is_restart):
            fail(str(error), 2 if isinstance(error, ConfigError) else 1)
        # It was right when the previous process checked it, so it has changed since, or another program has taken the port.
        _configure_logging("info")
        reloading.log_problem(error, is_running=False)
        asyncio.run(watch.usable_change(load_again, None))
        changed = True
    if changed:
        reloading.restart()


NextChange = Callable[[], Coroutine[Any, Any, None]]
"""Returns when changed files can be used."""


def _serve(loaded: Loaded, next_change: NextChange | None, **extras: Any) -> bool:
    """Run the proxy until it is stopped, or until its files change.

    Returns:
        Whether the proxy is to start again with changed files.

    Raises:
        StartError: as `ProxyServer.run`.

    """
    garbage.pause()
    mitmproxy_patches.load_addons_on_demand()
    mitmproxy_patches.skip_type_checks()
    from ccproxy.addons.watchers.log_redaction import redacted_logs
    from ccproxy.server import descriptors
    from ccproxy.server.proxy_server import Extras, ProxyServer
    from ccproxy.server.wiring import redaction_for

    descriptors.raise_limit()
    for warning in loaded.warnings:
        logging.getLogger("ccproxy").warning("%s", warning)
    file = loaded.file if loaded.trusted else None
    server = ProxyServer(loaded.settings, Extras(config=file, **extras))
    with redacted_logs(redaction_for(loaded.settings)):
        return asyncio.run(_Run(server, next_change).until_stopped())


class _Run:
    """One run of the proxy, and what signals and changed files do to it."""

    def __init__(self, server: ProxyServer, next_change: NextChange | None) -> None:
        self._server = server
        self._next_change = next_change
        self._stop_requested = False
        self._changed = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def until_stopped(self) -> bool:
        """Run until a signal or a usable change of files ends it; return True for the change."""
        self._handle_signals()
        self._spawn(self._announce())
        if self._next_change is not None:
            self._spawn(self._restart_on_change(self._next_change))
        try:
            await self._server.run()
        finally:
            for task in self._tasks:
                task.cancel()
        return self._changed and not self._stop_requested

    def _spawn(self, coroutine: Any) -> None:
        self._tasks.add(asyncio.get_running_loop().create_task(coroutine))

    async def _announce(self) -> None:
        await self._server.started.wait()
        garbage.resume()
        _print(_banner(self._server))

    async def _restart_on_change(self, next_change: NextChange) -> None:
        await next_change()
        self._changed = True
        self._say_what_is_awaited("")
        await self._server.drain()

    # ---- signals

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, _HANGUP):
            # nohup starts programs with SIGHUP ignored
            if number is not None and not (number is _HANGUP and signal.getsignal(number) is signal.SIG_IGN):
                _on(loop, number, self._on_signal)

    def _on_signal(self, number: signal.Signals) -> None:
        """Let running responses end on the first signal, and cut them on the second.

        A closing terminal and its shell both send SIGHUP, so further ones of those mean nothing.
        """
        if not self._stop_requested:
            self._stop_requested = True
            self._say_what_is_awaited("Press Ctrl-C again to end them now" if number is signal.SIGINT else "")
            self._spawn(self._server.drain())
        elif number is not _HANGUP:
            self._server.stop()

    def _say_what_is_awaited(self, hint: str) -> None:
        count, grace = self._server.running_responses(), self._server.settings.server.shutdown_grace
        if count and grace:
            awaited = f"Waiting for {count} response{'s' if count > 1 else ''}, up to {grace:g} s"
            _print(f"{awaited}. {hint}" if hint else awaited, err=True)


def _on(loop: asyncio.AbstractEventLoop, number: signal.Signals, callback: Callable[[signal.Signals], None]) -> None:
    try:
        loop.add_signal_handler(number, callback, number)
    except NotImplementedError:  # Windows' loop has no signal handlers
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(callback, number))


def _print(text: str, *, err: bool = False) -> None:
    """Print for a user who may have closed the terminal."""
    with contextlib.suppress(OSError):
        typer.echo(text, err=err)


def _banner(server: ProxyServer) -> str:
    settings: Settings = server.settings
    names = [f"[{name}]" if ":" in name else name for name in server.hosts]
    lines = [f"ccproxy listens on {' and '.join(f'http://{name}:{server.port}' for name in names)}"]
    if server.web_url:
        lines.append(f"mitmweb: {server.web_url}")
    sdk = settings.providers.claude_sdk
    if sdk.enabled:
        lines.append(f"{sdk.prefix} is in {sdk.mode} mode")
    if settings.raw_log.enabled and settings.server.log_level == "error":  # at other levels the log reports it
        lines.append("The raw HTTP log is on: prompts and answers are written to files (raw_log.enabled)")
    return "\n".join(lines)


class _ClockFormatter(logging.Formatter):
    """Log lines with the time of day, which is formatted once a second."""

    second = 0
    clock = ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - logging's name
        del datefmt
        if self.second != int(record.created):
            self.second = int(record.created)
            self.clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        return self.clock


def _configure_logging(level: str) -> None:
    """Log to stderr. Of other libraries show warnings only, and mitmproxy's messages at level debug."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_ClockFormatter("%(asctime)s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Skip the collection of details that no line shows: https://docs.python.org/3/howto/logging.html#optimization
    for name in ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks"):
        setattr(logging, name, None)
    logging.getLogger("mitmproxy").setLevel(logging.INFO if level == "debug" else logging.WARNING)
    for library in ("asyncio", "tornado", "hpack", "httpx", "httpcore"):
        logging.getLogger(library).setLevel(logging.WARNING)
