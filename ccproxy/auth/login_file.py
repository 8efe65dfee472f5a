"""One file of a login on disk: where it really is, how it can be written, and a write that is prepared in advance.

A login file may be a link, which stays one: the file that it leads to is written. And it may be a mount point, as
containers have them, which cannot be replaced: then it is overwritten, with a complete copy next to it for as long as
that takes. Either way the write is prepared before a refresh token is spent: opened, with its space reserved.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ccproxy.settings.files import NO_NEW_FILE, NO_RENAME, write_at_start

RESERVE: Final = 32 * 1024
"""Bytes. No login is larger, so that a full disk is noticed before a token is spent."""

_FLAGS: Final = getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class LoginFile:
    """A login file: its name in the store's folder, and the place where it really is."""

    path: Path
    target: Path

    @classmethod
    def at(cls, path: Path) -> LoginFile:
        return cls(path, Path(os.path.realpath(path)))

    @property
    def is_link(self) -> bool:
        return self.target != Path(os.path.realpath(self.path.parent)) / self.path.name

    @property
    def copies(self) -> list[Path]:
        """Where a new version is kept until it is in place: next to the file, else in the store's folder."""
        places = [self.target.with_name(f".{self.target.name}.new"), self.path.with_name(f".{self.path.name}.new")]
        return places if self.is_link else places[:1]

    @property
    def can_be_replaced(self) -> bool:
        """Whether another file can take its place. A mount point stays."""
        return not _is_mount_point(self.target)

    def put(self, copy: Path | None, content: bytes) -> None:
        """Make `content` the file's, atomically from `copy` where that is possible.

        Raises:
            OSError: it cannot be written. What is in `copy` stays.

        """
        if copy is not None and copy.parent == self.target.parent and self.can_be_replaced:
            try:
                copy.replace(self.target)
            except OSError as error:
                if error.errno not in NO_RENAME:
                    raise
            else:
                sync_folder(self.target.parent)
                return
        overwrite(self.target, content)
        if copy is not None:
            with suppress(OSError):
                copy.unlink()

    def remove(self) -> bool:
        """Delete the login, wherever it is; whether there was one. A link stays, and so does a mount point, empty.

        Raises:
            OSError: it cannot be deleted.

        """
        for copy in self.copies:
            with suppress(FileNotFoundError):
                copy.unlink()
        try:
            was_there = self.target.stat().st_size > 0
        except FileNotFoundError:
            return False
        try:
            self.target.unlink()
        except OSError as error:
            if error.errno not in NO_RENAME | NO_NEW_FILE:
                raise
            overwrite(self.target, b"")
        else:
            sync_folder(self.target.parent)
        return was_there


class PreparedWrite:
    """A new version of a login file: opened, given its space, then committed or thrown away.

    Raises `OSError` where the file could not be written in the end.
    """

    def __init__(self, file: LoginFile) -> None:
        self._file = file
        self._copy: Path | None = None
        self._size_before: int | None = None
        """Of a file that is to be overwritten, before its space was reserved."""
        self._written = False

    def __enter__(self) -> Self:
        for copy in self._file.copies:
            with suppress(FileNotFoundError):
                copy.unlink()  # a dead process's: the caller holds the lock
        problem = None
        for copy in self._file.copies:
            try:
                write_copy(copy, bytes(RESERVE), flags=os.O_CREAT | os.O_EXCL)
            except OSError as error:
                self._throw_away(copy)
                problem = error
                if error.errno not in NO_NEW_FILE:
                    raise
            else:
                self._copy = copy
                break
        if self._copy is None or self._copy.parent != self._file.target.parent or not self._file.can_be_replaced:
            self._reserve_in_place(problem)
        return self

    def _reserve_in_place(self, problem: OSError | None) -> None:
        try:
            self._size_before = _extended(self._file.target)
        except FileNotFoundError:
            self._leave()
            raise (problem or FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))) from None
        except OSError:
            self._leave()
            raise

    def commit(self, content: bytes) -> None:
        """Write `content` and put it in place. What is written by the time of an error stays, for `Store.recover`."""
        if self._copy is not None:
            write_copy(self._copy, content)
            self._written = True
        self._file.put(self._copy, content)
        self._written = True
        self._size_before = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._written:
            self._leave()

    def _leave(self) -> None:
        """Leave everything as it was."""
        if self._size_before is not None:
            with suppress(OSError):
                os.truncate(self._file.target, self._size_before)
        if self._copy is not None:
            self._throw_away(self._copy)

    def _throw_away(self, copy: Path) -> None:
        with suppress(OSError):
            copy.unlink(missing_ok=True)


def overwrite(path: Path, content: bytes) -> None:
    """Write into a file that cannot be replaced: over the old content and blanks in its place, then the rest is cut."""
    descriptor = os.open(path, os.O_RDWR | _FLAGS)
    try:
        size = os.fstat(descriptor).st_size
        _write_all(descriptor, content.ljust(size) if content else b"")
        write_at_start(descriptor, content)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where folders can be synced (not on Windows)."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def is_open_to_others(folder: Path) -> bool:
    """Whether others can put files into this folder: a new login for `Store.recover`, or where the folder is not sticky,
    one in the place of the user's.
    """
    return bool(folder.stat().st_mode & 0o022)


def _extended(path: Path) -> int:
    """Reserve the space of a file that is overwritten: blanks after the login, which JSON ignores. Its size before."""
    descriptor = os.open(path, os.O_RDWR | _FLAGS)
    try:
        size = os.fstat(descriptor).st_size
        os.lseek(descriptor, 0, os.SEEK_END)
        try:
            _write_all(descriptor, b" " * (RESERVE - size))
            os.fsync(descriptor)
        except OSError:
            with suppress(OSError):
                os.ftruncate(descriptor, size)
            raise
        return size
    finally:
        os.close(descriptor)


def write_copy(path: Path, content: bytes, *, flags: int = 0) -> None:
    """Overwrite the beginning first, cut afterwards: in between, the file is `content` and zeros, never part of it."""
    descriptor = os.open(path, os.O_WRONLY | _FLAGS | flags, 0o600)
    try:
        write_at_start(descriptor, content)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _is_mount_point(path: Path) -> bool:
    """Whether something is mounted at exactly this file."""
    try:
        if path.stat().st_dev != path.parent.stat().st_dev:
            return True
        mounts = Path("/proc/self/mountinfo").read_bytes()  # the fifth field; blanks in it as octal escapes
    except OSError:
        return False
    name = os.fsencode(path)
    for character in b"\\ \t\n":
        name = name.replace(bytes([character]), b"\\%03o" % character)
    return any(line.split(b" ", 5)[4:5] == [name] for line in mounts.splitlines())
