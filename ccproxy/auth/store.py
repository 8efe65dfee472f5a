"""Logins on disk: one JSON file per provider, 0600 in a 0700 folder, replaced as a whole, under a cross-process lock.

A refresh token can be spent once, so the write is prepared before the vendor is asked: `Draft` opens the new file and
reserves its space first. What a crash leaves:
- before `Draft.commit`: the old file;
- inside `commit`, once the new login is written: a complete `.NAME.json.new`, which `recover` takes over;
- after the rename: the new file.
Never an empty or half-written one. The lock is `flock`'s and ends with its process, whatever ended that.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import platformdirs
from pydantic import ValidationError

from ccproxy.auth.credentials import Login
from ccproxy.errors import LoginError
from ccproxy.settings.folders import private

log = logging.getLogger(__name__)

L = TypeVar("L", bound=Login)

Stamp = tuple[int, int, int]
"""Changes whenever a file is replaced: inode, time in ns, size."""

_RESERVE = 32 * 1024
LOCK_TIMEOUT = 90.0
"""Seconds. Longer than a refresh can take, with its two requests of 40 s at most."""


class StoreError(LoginError):
    """A credential file cannot be read, written or trusted; the message names it and the command that mends it."""


class StoreOpen(StoreError):
    """Other users can read a credential file or its folder."""


class StoreBusy(LoginError):
    """Another process holds the lock for longer than a refresh can take."""


def default_dir() -> Path:
    """Not the configuration folder: people keep that one in a repository."""
    return platformdirs.user_data_path("ccproxy", appauthor=False) / "auth"


def has_modes(folder: Path) -> bool:
    """Whether the file system keeps access modes: FAT, some network shares and Windows do not."""
    if os.name == "nt":
        return False
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            os.fchmod(probe.fileno(), 0o600)
            return stat.S_IMODE(os.fstat(probe.fileno()).st_mode) == 0o600
    except OSError:
        return True  # nothing can be written here: what the modes say stands


class Store:
    """The logins in one folder. Every method blocks for as long as a disk takes; `lock` for as long as a refresh."""

    def __init__(self, folder: Path, *, modes: Callable[[Path], bool] = has_modes) -> None:
        self.folder = folder
        self._modes = modes
        self._warned = False

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def stamp(self, name: str) -> Stamp | None:
        """Cheap enough for every request; None where there is no file."""
        try:
            found = self.path(name).stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def load(self, name: str, kind: type[L]) -> L | None:
        """The stored login, None without one. Raises `StoreError`."""
        path = self.path(name)
        content = self._read(path)
        if content is None:
            return None
        login = _parsed(content, kind)
        if login is None:
            raise StoreError(f"{path} is no credential file of ccproxy: remove it and sign in again")
        return login

    def save(self, name: str, login: Login) -> None:
        """Replace the stored login. The caller holds the lock. Raises `StoreError`."""
        with self.draft(name) as draft:
            draft.commit(login)

    def draft(self, name: str) -> Draft:
        """A prepared write. The caller holds the lock."""
        self._prepare_folder()
        return Draft(self.path(name), _new(self.path(name)))

    def delete(self, name: str) -> bool:
        """Whether there was a login to delete. The caller holds the lock. Raises `StoreError`."""
        with _told(f"{self.path(name)} cannot be removed"):
            _new(self.path(name)).unlink(missing_ok=True)
            try:
                self.path(name).unlink()
            except FileNotFoundError:
                return False
            _sync_folder(self.folder)
        return True

    def recover(self, name: str, kind: type[Login]) -> None:
        """Finish the write of a process that ended between writing a login and putting it in place.

        The caller holds the lock. Raises `StoreError`.
        """
        path, new = self.path(name), _new(self.path(name))
        with _told(f"{new} cannot be read"):
            try:
                left = _parsed(new.read_bytes().rstrip(b"\0"), kind)
            except FileNotFoundError:
                return
        current = self.load(name, kind)
        with _told(f"{path} cannot be written"):
            if left is None or current is None or not _newer(left, current):
                new.unlink()
                return
            _write(new, json.dumps(left.document(), indent=2).encode())
            new.replace(path)
            _sync_folder(self.folder)
        log.warning("%s: took over a login that another process had no time to put in place", name)

    @contextmanager
    def lock(self, name: str, *, timeout: float = LOCK_TIMEOUT) -> Iterator[None]:
        """Held by one process at a time, for this name. Raises `StoreBusy`, `StoreError`."""
        import filelock

        self._prepare_folder()
        path = self.folder / f"{name}.lock"
        lock = filelock.FileLock(path, timeout=timeout, mode=0o600)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise StoreBusy(f"another program holds {path} for more than {timeout:.0f} s: find and end it") from None
        except OSError as error:
            raise StoreError(f"{path} cannot be locked: {error.strerror}") from None
        try:
            yield
        finally:
            lock.release()

    def check(self) -> None:
        """Whether what is there may be trusted. Raises `StoreError`."""
        for path in sorted(self.folder.glob("*.json")):
            self._read(path)

    def _read(self, path: Path) -> bytes | None:
        with _told(f"{path} cannot be read"):
            try:
                descriptor = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                return None
            with open(descriptor, "rb") as file:  # noqa: PTH123 - an open descriptor: what is checked is what is read
                self._trust(self.folder, self.folder.stat(), "700")
                self._trust(path, os.fstat(descriptor), "600")
                return file.read()

    def _trust(self, path: Path, found: os.stat_result, mode: str) -> None:
        if not found.st_mode & 0o077:
            return
        if self._modes(self.folder):
            raise StoreOpen(
                f"{path} is open to other users (mode {stat.S_IMODE(found.st_mode):o}): "
                f"run `chmod {mode} {shlex.quote(str(path))}`"
            )
        if not self._warned:
            self._warned = True
            log.warning("the file system of %s keeps no access modes: others may be able to read the logins", path)

    def _prepare_folder(self) -> None:
        with _told(f"{self.folder} cannot be made (another place: the setting auth.dir)"):
            private(self.folder)
            self._trust(self.folder, self.folder.stat(), "700")


class Draft:
    """A new version of a credential file: opened, given its space, then committed or thrown away."""

    def __init__(self, path: Path, new: Path) -> None:
        self._path = path
        self._new = new
        self._written = False

    def __enter__(self) -> Self:
        with _told(f"{self._path} cannot be written"):
            self._new.unlink(missing_ok=True)  # a dead process's: the caller holds the lock
            try:
                _write(self._new, bytes(_RESERVE), flags=os.O_CREAT | os.O_EXCL)
            except OSError:
                self._throw_away()
                raise
        return self

    def commit(self, login: Login) -> None:
        """Write `login` and put it in place. Raises `StoreError`; what is written by then stays, for `recover`."""
        with _told(f"{self._path} cannot be written"):
            _write(self._new, json.dumps(login.document(), indent=2).encode())
            self._written = True
            self._new.replace(self._path)
            _sync_folder(self._path.parent)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._written:
            self._throw_away()

    def _throw_away(self) -> None:
        with suppress(OSError):
            self._new.unlink(missing_ok=True)


def _new(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _write(path: Path, content: bytes, *, flags: int = 0) -> None:
    """Overwrite the beginning first, cut afterwards: in between, the file is `content` and zeros, never part of it."""
    descriptor = os.open(path, os.O_WRONLY | flags, 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.ftruncate(descriptor, len(content))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where folders can be synced (not on Windows)."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _parsed(content: bytes, kind: type[L]) -> L | None:
    try:
        document = json.loads(content)
        return kind.model_validate(document) if isinstance(document, dict) else None
    except (ValueError, ValidationError, RecursionError):
        return None


def _newer(left: Login, current: Login) -> bool:
    if left.last_refresh is None or current.last_refresh is None:
        return False
    return left.last_refresh > current.last_refresh


@contextmanager
def _told(what: str) -> Iterator[None]:
    """An `OSError` as a sentence."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{what}: {error.strerror or type(error).__name__}") from None
