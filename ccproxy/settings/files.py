"""Small files of ccproxy: read up to a limit, written for their owner alone and as a whole."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from ccproxy.settings.folders import config_dir, data_dir, private, secured

MAX_BYTES: Final = 2**20
"""Largest configuration file or `.env` that is read. The commented template with every setting is a hundredth of it."""

NO_RENAME: Final = frozenset({errno.EBUSY, errno.EXDEV})
"""A file that is a mount point, as containers have them, cannot be replaced."""
NO_NEW_FILE: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def read_file(path: Path, *, limit: int = MAX_BYTES, regular: bool = True) -> bytes:
    """The content of a file, read once: what is checked must be what is used.

    With `regular`, pipes and devices are refused instead of waited for.

    Raises:
        OSError: the file cannot be read, is larger than `limit`, or is not a regular file.

    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | (getattr(os, "O_NONBLOCK", 0) * regular))
    with open(descriptor, "rb") as file:  # noqa: PTH123 - an open descriptor
        if regular and not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"is larger than {limit // 1024} KB")
    return content


def replace_file(path: Path, content: bytes) -> Path:
    """Write a file as a whole, readable by its owner alone, where `path` leads if it is a link; return that place.

    A reader sees the old or the new content. Only where the file system does not let it be replaced (a bind mount, a
    folder that is not writable), it is overwritten.

    Raises:
        OSError: the file cannot be written; the old content is still there.

    """
    target = Path(os.path.realpath(path))
    if path.parent in {config_dir(), data_dir()}:
        secured(path.parent)
    private(target.parent)
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # mode 0600
    except OSError as error:
        if error.errno not in NO_NEW_FILE or not target.exists():
            raise
        overwrite(target, content)
        return target
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _keep_owner(target, temporary)
        try:
            temporary.replace(target)
        except OSError as error:
            if error.errno not in NO_RENAME:
                raise
            overwrite(target, content)
            temporary.unlink()
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    return target


def overwrite(path: Path, content: bytes) -> None:
    """Write into an existing file, for its owner alone. A write that fails puts the old content back.

    Raises:
        OSError: the file cannot be written.

    """
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        with suppress(OSError):  # a file system without modes
            path.chmod(0o600)
        before = os.pread(descriptor, os.fstat(descriptor).st_size, 0) if hasattr(os, "pread") else None
        try:
            write_at_start(descriptor, content)
        except OSError:
            if before is not None:
                write_at_start(descriptor, before)
            raise
    finally:
        os.close(descriptor)


def write_at_start(descriptor: int, content: bytes) -> None:
    """Make `content` the whole of an open file. The beginning is overwritten first and the rest cut afterwards, so that
    no moment leaves less than before.

    Raises:
        OSError: the disk is full or broken.

    """
    os.lseek(descriptor, 0, os.SEEK_SET)
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    os.ftruncate(descriptor, len(content))
    os.fsync(descriptor)


def _keep_owner(old: Path, new: Path) -> None:
    """Leave a file to its owner when the superuser writes it."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return
    with suppress(OSError):
        owner = old.stat()
        if (owner.st_uid, owner.st_gid) != (0, 0):
            os.chown(new, owner.st_uid, owner.st_gid)
