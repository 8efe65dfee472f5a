"""A proxy that runs as long as clients need it.

`ccproxy run` uses a proxy that already runs; otherwise it starts one and stops it after the last client. Several `ccproxy run` may share a proxy:
each holds a lock of its own, which the operating system releases however the process ends. The last one stops a proxy that any `ccproxy run` has
started, but never one that a user has started.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import site
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

import ccproxy
from ccproxy.cli.running import Address, Listener, PortState, probe_port
from ccproxy.errors import StartError
from ccproxy.settings.folders import private, runtime_dir

START_LIMIT = 30.0
"""Seconds until a new proxy must respond. The first start from a cold disk is slow."""
STOP_LIMIT = 20.0
"""Seconds until a proxy must have stopped, including the grace of running responses."""
_INTERVAL = 0.05
_LOG_LINES = 15


@contextlib.contextmanager
def proxy(
    address: Address, *, token: str = "", arguments: Sequence[str] = (), report: Callable[[str], None] = lambda _: None
) -> Iterator[PortState]:
    """Provide a proxy at `address` while the block runs. `arguments` are those of `ccproxy serve` if it must be started.

    Raises:
        StartError: another program uses the port, or the proxy did not start.

    """
    registry = _Registry(address)
    with registry.locked():
        registry.enter()
        try:
            state, process = _find_or_start(address, token, arguments, registry)
        except BaseException:
            registry.leave()
            raise
    try:
        yield state
    finally:
        with registry.locked():
            _leave(registry, process, address, token, report)


def _find_or_start(
    address: Address, token: str, arguments: Sequence[str], registry: _Registry
) -> tuple[PortState, subprocess.Popen[bytes] | None]:
    """Return the state of the port, and the process if this call has started it."""
    state = probe_port(address, token)
    if state.listener is Listener.CCPROXY:
        return state, None
    if state.listener is Listener.LOCKED:
        raise StartError(
            f"The ccproxy on {address} requires another token. Set server.auth_token (SERVER__AUTH_TOKEN) to that token"
        )
    if state.listener is Listener.OTHER:
        raise StartError(
            f"{address} is in use by another program, which is not ccproxy. Stop it, or choose another port with --port "
            "(or SERVER__PORT)"
        )
    process: subprocess.Popen[bytes] | None = None
    try:
        with registry.log() as log, _uninterrupted():
            process = _start(address, arguments, log)
        state = _wait(address, token, process, registry)
    except BaseException:
        if process is not None:
            _end(process)
        raise
    if process.poll() is not None:
        return state, None  # another process started a proxy at the same moment and was faster
    registry.remember(state.pid)
    return state, process


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Defer signals to the end of the block. In the middle of a start, the process to stop is not known yet."""
    deferred: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if os.name == "posix" else []))
    handlers = {number: signal.signal(number, lambda number, _: deferred.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler or signal.SIG_DFL)
    for deferred_number in deferred:
        signal.raise_signal(deferred_number)


def _start(address: Address, arguments: Sequence[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start `ccproxy serve` in a session of its own, so that Ctrl-C in this terminal reaches only the client."""
    root = str(Path(ccproxy.__file__).parents[1])
    environ = dict(os.environ)
    if root not in {*site.getsitepackages(), site.getusersitepackages()}:
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environ.get("PYTHONPATH"))))
    # -P: the current folder may be anybody's and must not provide modules
    command = [sys.executable, "-P", "-m", "ccproxy", "serve", "--port", str(address.port), *arguments]
    return subprocess.Popen(  # noqa: S603 - ccproxy itself
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ, start_new_session=True
    )


def _wait(address: Address, token: str, process: subprocess.Popen[bytes], registry: _Registry) -> PortState:
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        state = probe_port(address, token)
        if state.listener is Listener.CCPROXY:
            return state
        if ended:
            raise StartError(f"The proxy did not start:\n{_tail(registry.log_path)}\nIts log is {registry.log_path}")
        time.sleep(_INTERVAL)
    raise StartError(
        f"The proxy on {address} did not respond within {START_LIMIT:.0f} s. Its log is {registry.log_path}"
    )


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(f"  {line}" for line in lines[-_LOG_LINES:])


def _leave(
    registry: _Registry,
    process: subprocess.Popen[bytes] | None,
    address: Address,
    token: str,
    report: Callable[[str], None],
) -> None:
    """Stop the proxy unless another client uses it or a user has started it."""
    registry.leave()
    if process is not None and process.poll() is not None:
        report(
            f"The proxy ended before its client, with exit code {process.returncode}. Its log is {registry.log_path}"
        )
        registry.forget()
    elif registry.is_used():
        if process is not None:
            report(f"The proxy on {address} continues for another client and stops after it")
            process.returncode = 0  # the last client waits for it instead
    elif process is not None:
        _end(process)
        registry.forget()
    elif pid := registry.started():
        if probe_port(address, token).pid == pid:  # the process id may belong to another program by now
            _end_other(address, token, pid)
        registry.forget()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end_other(address: Address, token: str, pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_LIMIT
    while time.monotonic() < deadline and probe_port(address, token).pid == pid:
        time.sleep(_INTERVAL)


@dataclass(slots=True)
class _Registry:
    """The folder in which the clients of one port's proxy are registered. Without a writable folder, no client knows of another."""

    address: Address
    log_path: Path = field(default_factory=Path)
    _folder: Path | None = None
    _own: FileLock | None = None
    _marker: Path = field(default_factory=Path)

    def __post_init__(self) -> None:
        try:
            self._folder = private(runtime_dir() / f"port-{self.address.port}")
            self._marker = self._folder / "started"
        except OSError:
            self._folder = None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other clients from coming or going while the block runs."""
        if self._folder is None:
            yield
            return
        try:
            with FileLock(self._folder / "door.lock", timeout=START_LIMIT + STOP_LIMIT):
                yield
        except Timeout:
            raise StartError(
                f"Another `ccproxy run` has kept {self._folder} locked for too long. End it and try again"
            ) from None

    def enter(self) -> None:
        if self._folder is not None:
            # A random part in addition to the process id, because containers may share a home and have equal ids.
            self._own = FileLock(self._folder / f"user-{os.getpid()}-{secrets.token_hex(4)}.lock")
            self._own.acquire(timeout=0)

    def leave(self) -> None:
        if self._own is not None:
            self._own.release()
            _remove(Path(self._own.lock_file))
            self._own = None

    def is_used(self) -> bool:
        """Return whether another process holds its lock. Remove the locks of processes that have ended."""
        used = False
        for path in self._folder.glob("user-*.lock") if self._folder else ():
            try:
                with FileLock(path, timeout=0):
                    pass
            except Timeout:
                used = True
            else:
                _remove(path)
        return used

    @contextlib.contextmanager
    def log(self) -> Iterator[IO[bytes]]:
        """Open the file for the proxy's output. Only its owner can read it."""
        if self._folder is None:
            handle, name = tempfile.mkstemp(prefix="ccproxy-", suffix=".log")
        else:
            name = str(self._folder / "proxy.log")
            handle = os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        self.log_path = Path(name)
        with os.fdopen(handle, "wb") as file:
            yield file

    def remember(self, pid: int) -> None:
        if self._folder is not None:
            with contextlib.suppress(OSError):  # then only the process that started the proxy stops it
                self._marker.write_text(str(pid), encoding="ascii")

    def started(self) -> int:
        """Return the id of the process that a `ccproxy run` has started, or 0."""
        try:
            return int(self._marker.read_text(encoding="ascii")) if self._folder else 0
        except (OSError, ValueError):
            return 0

    def forget(self) -> None:
        if self._folder is not None:
            _remove(self._marker)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
