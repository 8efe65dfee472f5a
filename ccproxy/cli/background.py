"""A proxy for as long as clients run: the one that answers already, else one that is started here and stopped after its last client.

Several `ccproxy run` may share one. Each holds a lock of its own while it uses the proxy, which the system lets go of however the process ends;
the last to leave stops what a `ccproxy run` has started, and never a proxy that somebody started by hand.
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
from ccproxy.cli.running import Address, Found, Listener, look
from ccproxy.errors import StartError
from ccproxy.settings.folders import private, runtime_dir

START_LIMIT = 30.0
"""Seconds that a proxy may take to answer; a cold disk makes the first start slow."""
STOP_LIMIT = 20.0
"""Seconds that it may take to stop, running answers included."""
_INTERVAL = 0.05
_LOG_LINES = 15


@contextlib.contextmanager
def proxy(
    address: Address, *, token: str = "", arguments: Sequence[str] = (), say: Callable[[str], None] = lambda _: None
) -> Iterator[Found]:
    """What answers at `address` while the block runs. `arguments` go to `ccproxy serve` if it has to be started.

    Raises:
        StartError: somebody else listens there, or the proxy did not start; the message says what to do.

    """
    place = _Place(address)
    with place.alone():
        place.enter()
        try:
            found, process = _find_or_start(address, token, arguments, place)
        except BaseException:
            place.leave()
            raise
    try:
        yield found
    finally:
        with place.alone():
            _leave(place, process, address, token, say)


def _find_or_start(
    address: Address, token: str, arguments: Sequence[str], place: _Place
) -> tuple[Found, subprocess.Popen[bytes] | None]:
    found = look(address, token)
    if found.listener is Listener.CCPROXY:
        return found, None
    if found.listener is Listener.LOCKED:
        raise StartError(
            f"the ccproxy on {address} has another token: set server.auth_token to it (SERVER__AUTH_TOKEN)"
        )
    if found.listener is Listener.OTHER:
        raise StartError(
            f"{address} is taken by another program, which does not answer as ccproxy: stop it, or choose another port with --port "
            "(or SERVER__PORT)"
        )
    process: subprocess.Popen[bytes] | None = None
    try:
        with place.log() as log, _uninterrupted():
            process = _start(address, arguments, log)
        found = _wait(address, token, process, place)
    except BaseException:
        if process is not None:
            _end(process)
        raise
    if process.poll() is not None:
        return found, None  # somebody else's start in the same moment was faster
    place.remember(found.pid)
    return found, process


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C and SIGTERM that come meanwhile take effect at the end: in the middle of a start nobody would know what to end."""
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda found, _: came.append(found)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
    for found in came:
        signal.raise_signal(found)


def _start(address: Address, arguments: Sequence[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    """`ccproxy serve` in a session of its own, so that Ctrl-C in this terminal is the client's alone."""
    root = str(Path(ccproxy.__file__).parents[1])
    environ = dict(os.environ)
    if root not in {*site.getsitepackages(), site.getusersitepackages()}:
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environ.get("PYTHONPATH"))))
    # -P: the current folder may be somebody else's, and no module of ours is to be found there
    command = [sys.executable, "-P", "-m", "ccproxy", "serve", "--port", str(address.port), *arguments]
    return subprocess.Popen(  # noqa: S603 - ourselves
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ, start_new_session=True
    )


def _wait(address: Address, token: str, process: subprocess.Popen[bytes], place: _Place) -> Found:
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        found = look(address, token)
        if found.listener is Listener.CCPROXY:
            return found
        if ended:
            raise StartError(f"the proxy did not start:\n{_tail(place.log_path)}\n(its log: {place.log_path})")
        time.sleep(_INTERVAL)
    raise StartError(f"the proxy does not answer on {address} after {START_LIMIT:.0f} s; its log: {place.log_path}")


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(f"  {line}" for line in lines[-_LOG_LINES:])


def _leave(
    place: _Place,
    process: subprocess.Popen[bytes] | None,
    address: Address,
    token: str,
    say: Callable[[str], None],
) -> None:
    place.leave()
    if process is not None and process.poll() is not None:
        say(f"the proxy ended before its client, with exit code {process.returncode}; its log: {place.log_path}")
        place.forget()
    elif place.is_used():
        if process is not None:
            say(f"the proxy on {address} goes on for another client and stops after it")
            process.returncode = 0  # it is not ours to wait for any more
    elif process is not None:
        _end(process)
        place.forget()
    elif pid := place.started():
        if look(address, token).pid == pid:  # what answers is what was started, whatever became of that number since
            _end_other(address, token, pid)
        place.forget()


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
    while time.monotonic() < deadline and look(address, token).pid == pid:
        time.sleep(_INTERVAL)


@dataclass(slots=True)
class _Place:
    """The folder where the users of one port's proxy know of each other. Where none can be written, each is alone."""

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
    def alone(self) -> Iterator[None]:
        """Nobody else comes or goes meanwhile."""
        if self._folder is None:
            yield
            return
        try:
            with FileLock(self._folder / "door.lock", timeout=START_LIMIT + STOP_LIMIT):
                yield
        except Timeout:
            raise StartError(f"another `ccproxy run` keeps {self._folder} locked: is one stuck?") from None

    def enter(self) -> None:
        if self._folder is not None:
            # not by the process alone: containers may share a home and have the same numbers
            self._own = FileLock(self._folder / f"user-{os.getpid()}-{secrets.token_hex(4)}.lock")
            self._own.acquire(timeout=0)

    def leave(self) -> None:
        if self._own is not None:
            self._own.release()
            _remove(Path(self._own.lock_file))
            self._own = None

    def is_used(self) -> bool:
        """Whether another process holds its lock; locks of processes that are no more are cleared away."""
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
        """A file for what the proxy prints, readable by its owner alone."""
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
            with contextlib.suppress(OSError):  # then only the one that started it stops it
                self._marker.write_text(str(pid), encoding="ascii")

    def started(self) -> int:
        """The process that a `ccproxy run` started here, or 0."""
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
