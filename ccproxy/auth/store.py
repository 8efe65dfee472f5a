"""Logins on disk: one JSON file per provider, 0600 in a 0700 folder, written as a whole, under a cross-process lock.

A refresh token can be spent once, so the write is prepared before the vendor is asked: `Draft` opens the new version
and reserves its space first, and a place that cannot be written is noticed then. What a crash leaves:
- before `Draft.commit`: the old login;
- inside `commit`, once the new login is written: a complete `.NAME.json.new`, which `recover` takes over;
- after it is in place: the new login.
Never a login that is lost. The locks are `flock`'s and end with their process, whatever ended that.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shlex
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from pydantic import ValidationError

from ccproxy.auth.credentials import Login
from ccproxy.auth.login_file import LoginFile, PreparedWrite, is_open_to_others, write_copy
from ccproxy.errors import LoginError
from ccproxy.settings.files import MAX_BYTES, NO_NEW_FILE, read_file
from ccproxy.settings.folders import data_dir, private
from ccproxy.settings.locks import locked, locked_itself

log = logging.getLogger(__name__)

L = TypeVar("L", bound=Login)

Stamp = tuple[int, int, int]
"""Changes whenever a file is written: inode, time in ns, size."""

LOCK_TIMEOUT: Final = 90.0
"""Seconds. Longer than a refresh can take, with its two requests of 40 s at most."""
_READS: Final = 3
_BETWEEN_READS: Final = 0.02  # seconds: a file that cannot be replaced may be in the middle of being overwritten

_ADVICE: Final = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there",
    errno.EFBIG: "raise the limit on file sizes",
    errno.EROFS: "make the file system writable, or choose another folder with the setting auth.dir",
    errno.EACCES: "make it accessible for this user, or choose another folder with the setting auth.dir",
    errno.EPERM: "make it accessible for this user, or choose another folder with the setting auth.dir",
    errno.ENOENT: "make its folder, or choose another one with the setting auth.dir",
    errno.ENOTDIR: "choose another folder with the setting auth.dir",
    errno.ENOLCK: "choose a folder on a file system with locks, with the setting auth.dir",
    errno.ENOSYS: "choose a folder on a file system with locks, with the setting auth.dir",
    errno.EOPNOTSUPP: "choose a folder on a file system with locks, with the setting auth.dir",
    errno.ELOOP: "the link leads back to itself: correct it",
}


class StoreError(LoginError):
    """A credential file cannot be read, written or trusted; the message names it and what to do."""


class StoreOpen(StoreError):
    """Other users can read a credential file or its folder."""


class StoreBusy(LoginError):
    """Another process holds the lock for longer than a refresh can take."""


def default_dir() -> Path:
    """Not the configuration folder: people keep that one in a repository."""
    return data_dir() / "auth"


def has_modes(folder: Path) -> bool:
    """Whether the file system keeps access modes: FAT, some network shares and Windows do not."""
    if os.name == "nt":
        return False
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            os.fchmod(probe.fileno(), 0o600)
            return stat.S_IMODE(os.fstat(probe.fileno()).st_mode) == 0o600
    except OSError:
        return True  # nothing can be written here: what the modes say counts


class Store:
    """The logins in one folder. Every method blocks for as long as a disk takes; `lock` for as long as a refresh."""

    def __init__(self, folder: Path, *, modes: Callable[[Path], bool] = has_modes) -> None:
        self.folder = folder
        self._modes = modes
        self._warned = False

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def stamp(self, name: str) -> Stamp | None:
        """Cheap enough for every request; None where there is no login."""
        try:
            status = self.path(name).stat()
        except OSError:
            return None
        return (status.st_ino, status.st_mtime_ns, status.st_size) if status.st_size else None

    def load(self, name: str, kind: type[L]) -> L | None:
        """The stored login, None without one. Raises `StoreError`."""
        path = self.path(name)
        for attempt in range(_READS):
            content = self._read(path)
            if content is None or not content.strip():
                return None  # an empty file is what a container mounts before the first login
            login = _parsed(content, kind)
            if login is not None:
                return login
            if attempt < _READS - 1:
                time.sleep(_BETWEEN_READS)
        raise StoreError(f"{path} is not a credential file of ccproxy: remove it and sign in again")

    def save(self, name: str, login: Login) -> None:
        """Replace the stored login. The caller holds the lock. Raises `StoreError`."""
        with self.draft(name) as draft:
            draft.commit(login)

    def draft(self, name: str) -> Draft:
        """A prepared write. The caller holds the lock."""
        self._prepare_folder(name)
        return Draft(self.path(name))

    def delete(self, name: str) -> bool:
        """Delete the login; return whether there was one. The caller holds the lock. Raises `StoreError`."""
        with _explained(f"{self.path(name)} cannot be removed"):
            return LoginFile.at(self.path(name)).remove()

    def recover(self, name: str, kind: type[Login]) -> None:
        """Finish the write of a process that ended between writing a login and putting it in place.

        The caller holds the lock. Raises `StoreError`.
        """
        file = LoginFile.at(self.path(name))
        for copy in file.copies:
            with _explained(f"{copy} cannot be read"):
                try:
                    left = _parsed(read_file(copy).rstrip(b"\0"), kind)
                except FileNotFoundError:
                    continue
            with _explained(f"{self.path(name)} cannot be written"):
                if left is None or not self._is_outdated(name, kind, left):
                    copy.unlink()
                    continue
                write_copy(copy, _document(left))
                file.put(copy, _document(left))
            log.warning("%s: took over a login that another process had no time to put in place", name)

    def _is_outdated(self, name: str, kind: type[Login], left: Login) -> bool:
        """Whether the login in place is older than one that was left, or was half overwritten by it."""
        try:
            current = self.load(name, kind)
        except StoreOpen:
            raise
        except StoreError:
            return True
        return current is not None and _newer(left, current)

    def try_write(self, name: str, kind: type[Login]) -> None:
        """Find out whether the login could be renewed, without changing it. Raises `StoreError`."""
        try:
            with self.lock(name, timeout=0):
                self.recover(name, kind)
                with self.draft(name):
                    pass
        except StoreBusy:
            pass  # another process writes it just now

    @contextmanager
    def lock(self, name: str, *, timeout: float = LOCK_TIMEOUT) -> Iterator[None]:
        """Held by one process at a time, for this name. Raises `StoreBusy`, `StoreError`."""
        self._prepare_folder(name)
        with ExitStack() as held:
            try:
                self._acquire(held, name, timeout)
            except TimeoutError:
                raise StoreBusy(
                    f"another program holds the lock of {self.path(name)} for more than {timeout:.0f} s: find and end it"
                ) from None
            yield

    def _acquire(self, held: ExitStack, name: str, timeout: float) -> None:
        """Take the lock of the name, and for a link or a mount point those of the place itself, which others may reach
        by another way. Where no lock file can be made, the file's own lock has to do.

        Raises:
            TimeoutError: another process holds one of them.
            StoreError: there is none to take.

        """
        file, deadline, problem, count = LoginFile.at(self.path(name)), time.monotonic() + timeout, None, 0
        places = [self.folder / f"{name}.lock"]
        places += [file.target.with_name(f".{file.target.name}.lock")] if file.is_link else []
        for place in places:
            try:
                held.enter_context(locked(place, timeout=max(deadline - time.monotonic(), 0)))
                count += 1
            except TimeoutError:
                raise
            except OSError as error:
                problem = StoreError(_sentence(f"{place} cannot be locked", error))
                if error.errno not in NO_NEW_FILE:
                    raise problem from None
        if count and not file.is_link and file.can_be_replaced:
            return
        try:
            held.enter_context(locked_itself(file.target, deadline=deadline))
        except TimeoutError:
            raise
        except OSError:
            if not count and problem:
                raise problem from None

    def check(self) -> None:
        """Check that no other user can read or replace the logins. Raises `StoreError`."""
        for path in sorted(self.folder.glob("*.json")):
            self._read(path)

    def _read(self, path: Path) -> bytes | None:
        with _explained(f"{path} cannot be read"):
            try:
                descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
            except FileNotFoundError:
                return None
            with open(descriptor, "rb") as file:  # noqa: PTH123 - an open descriptor: what is checked is what is read
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise OSError(errno.EINVAL, "it is not a regular file")
                self._trust(self.folder, self.folder.stat(), "700")
                self._trust(path, status, "600")
                content = file.read(MAX_BYTES + 1)
                if len(content) > MAX_BYTES:
                    raise OSError(errno.EINVAL, f"it is larger than {MAX_BYTES // 1024} KB")
                return content

    def _trust(self, path: Path, status: os.stat_result, mode: str) -> None:
        if not status.st_mode & 0o077:
            return
        if self._modes(self.folder):
            raise StoreOpen(
                f"{path} is open to other users (mode {stat.S_IMODE(status.st_mode):o}): "
                f"run `chmod {mode} {shlex.quote(str(path))}`"
            )
        if not self._warned:
            self._warned = True
            log.warning("the file system of %s keeps no access modes: others may be able to read the logins", path)

    def _prepare_folder(self, name: str) -> None:
        with _explained(f"{self.folder} cannot be made"):
            private(self.folder)
            self._trust(self.folder, self.folder.stat(), "700")
        file = LoginFile.at(self.path(name))
        with _explained(f"{file.path} cannot be written"):
            if file.is_link and is_open_to_others(file.target.parent) and self._modes(self.folder):
                folder = file.target.parent
                raise StoreOpen(
                    f"{file.path} leads to {folder}, where other users can put files: move it to a folder of your own, "
                    f"or run `chmod go-w {shlex.quote(str(folder))}`"
                )


class Draft:
    """A new version of a credential file: opened, given its space, then committed or thrown away."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._write = PreparedWrite(LoginFile.at(path))

    def __enter__(self) -> Self:
        with _explained(f"{self._path} cannot be written"):
            self._write.__enter__()
        return self

    def commit(self, login: Login) -> None:
        """Write `login` and put it in place. Raises `StoreError`; what is written by then stays, for `recover`."""
        with _explained(f"{self._path} cannot be written"):
            self._write.commit(_document(login))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write.__exit__(kind, error, trace)


def _document(login: Login) -> bytes:
    return json.dumps(login.document(), indent=2).encode()


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
def _explained(problem: str) -> Iterator[None]:
    """An `OSError` as a sentence that says what to do."""
    try:
        yield
    except OSError as error:
        raise StoreError(_sentence(problem, error)) from None


def _sentence(problem: str, error: OSError) -> str:
    reason = error.strerror or type(error).__name__
    advice = _ADVICE.get(error.errno or 0)
    return f"{problem} ({reason}): {advice}" if advice else f"{problem}: {reason}"
