"""`ccproxy serve`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import typer

from ccproxy import mitmproxy_patches
from ccproxy.cli.console import fail, load_settings


def serve(
    host: str = typer.Option(
        None, help="Address to listen on. Another than loopback needs --auth-token.", show_default="127.0.0.1"
    ),
    port: int = typer.Option(None, help="Port to listen on; 0 picks a free one.", show_default="8000"),
    web: bool = typer.Option(None, "--web/--no-web", help="Show the raw traffic in mitmweb.", show_default="--no-web"),
    web_port: int = typer.Option(None, help="Port of mitmweb.", show_default="8081"),
    web_open: bool = typer.Option(False, "--web-open", help="Open mitmweb in the browser."),
    log_level: str = typer.Option(None, help="debug, info, warning or error.", show_default="info"),
    config: Path | None = typer.Option(
        None, help="Configuration file.", show_default="./ccproxy.toml or the user's own"
    ),
    auth_token: str = typer.Option(None, help="Token that every client must send.", show_default=False),
    reload: bool = typer.Option(False, "--reload", help="Restart when the configuration or the code changes."),
    set_: list[str] = typer.Option(
        [], "--set", metavar="NAME=VALUE", help="An option of mitmproxy's own; may be repeated."
    ),
    script: list[Path] = typer.Option([], "-s", "--script", help="A mitmproxy script; may be repeated."),
    record: Path = typer.Option(None, help="Keep whole exchanges in this file (.flow or .har).", show_default=False),
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
    loaded = load_settings({"server": flags} if flags else {}, config)
    mitmproxy_patches.without_collecting()
    mitmproxy_patches.without_unused_addons()
    mitmproxy_patches.without_type_checks()
    from ccproxy.addons.watchers.log_redaction import redacted_logs
    from ccproxy.errors import StartError
    from ccproxy.server.proxy_server import Extras, ProxyServer
    from ccproxy.server.wiring import redaction_for

    _logging(loaded.settings.server.log_level)
    for warning in loaded.warnings:
        logging.getLogger("ccproxy").warning("%s", warning)
    extras = Extras(
        options=set_,
        scripts=[str(path) for path in script],
        record=record,
        config=loaded.file if loaded.trusted else None,
        web_open=web_open,
    )
    watched = [loaded.file] if loaded.file else []
    try:
        with redacted_logs(redaction_for(loaded.settings)):
            restart = asyncio.run(_run(ProxyServer(loaded.settings, extras), watch=watched if reload else None))
    except StartError as error:
        fail(str(error))
    if restart:
        os.execv(sys.executable, [sys.executable, "-P", "-m", "ccproxy", *sys.argv[1:]])  # noqa: S606 - ourselves, with the same arguments


async def _run(host: Any, watch: list[Path] | None) -> bool:
    """Run until a signal, the first of which lets running answers end. True if a change asks for a restart."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[Any]] = set()
    changed = False

    def on_signal() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            _on(loop, number, host.stop)  # the second one stops at once
        tasks.add(loop.create_task(host.drain()))

    for number in (signal.SIGINT, signal.SIGTERM):
        _on(loop, number, on_signal)

    async def announce() -> None:
        await host.started.wait()
        mitmproxy_patches.settled()
        typer.echo(_banner(host))

    async def reload_on_change() -> None:
        nonlocal changed
        from ccproxy.cli.reload import change

        await change(watch or [])
        changed = True
        await host.drain()

    tasks.add(loop.create_task(announce()))
    if watch is not None:
        tasks.add(loop.create_task(reload_on_change()))
    try:
        await host.run()
    finally:
        for task in tasks:
            task.cancel()
    return changed


def _on(loop: asyncio.AbstractEventLoop, number: signal.Signals, callback: Any) -> None:
    try:
        loop.add_signal_handler(number, callback)
    except NotImplementedError:  # Windows' loop has no signal handlers
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(callback))


def _banner(host: Any) -> str:
    settings = host.settings
    names = [f"[{name}]" if ":" in name else name for name in host.hosts]
    lines = [f"ccproxy listens on {' and '.join(f'http://{name}:{host.port}' for name in names)}"]
    if host.web_url:
        lines.append(f"mitmweb: {host.web_url}")
    sdk = settings.providers.claude_sdk
    if sdk.enabled:
        lines.append(f"{sdk.prefix} is in {sdk.mode} mode")
    if settings.raw_log.enabled and settings.server.log_level == "error":  # else the log says it, and where
        lines.append("raw HTTP log is ON: prompts and answers are written to files (raw_log.enabled)")
    return "\n".join(lines)


class _Timed(logging.Formatter):
    """The time of day, made once a second."""

    second = 0
    shown = ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - logging's name
        del datefmt
        if self.second != int(record.created):
            self.second = int(record.created)
            self.shown = time.strftime("%H:%M:%S", time.localtime(record.created))
        return self.shown


def _logging(level: str) -> None:
    """One handler on stderr. mitmproxy's own records are for debugging, and only its warnings are for everybody."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Timed("%(asctime)s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # What no line shows need not be found out: https://docs.python.org/3/howto/logging.html#optimization
    for name in ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks"):
        setattr(logging, name, None)
    logging.getLogger("mitmproxy").setLevel(logging.INFO if level == "debug" else logging.WARNING)
    for noisy in ("asyncio", "tornado", "hpack", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
