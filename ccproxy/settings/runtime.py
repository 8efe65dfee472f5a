"""The token of a running proxy for ccproxy's own command line, in files that only the user can read.

`/usage` and `/permissions*` always ask for it (or for `server.auth_token`), so that neither a web page nor a tool that
runs under Claude can approve a tool. A tool runs as the user, though, and may find the file: the gateway refuses it by
the process that asks (`providers.claude_sdk.callers`).

A proxy writes one file for each address it listens on, once it listens, and holds a lock on it for as long as it lives.
A file without its lock is what a killed proxy has left: it is not read, and the next proxy sweeps it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ccproxy.settings.folders import private, runtime_dir, secured
from ccproxy.settings.locks import HAS_SHARED, is_locked, locked, try_lock

logger = logging.getLogger(__name__)

_PATIENCE: Final = 5.0  # seconds, until another proxy has written or removed its files
_MAX_BYTES: Final = 1024
_WILDCARDS: Final = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


def new_token() -> str:
    """A token for one run of a proxy."""
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True)
class Published:
    """The files of a running proxy's token."""

    token: str = field(repr=False)
    descriptors: dict[Path, int | None]
    """The open files, whose locks say that the proxy lives; None where the system has no such locks."""

    def withdraw(self) -> None:
        """The proxy has ended: remove its files, unless another proxy has taken their place."""
        with contextlib.suppress(OSError), _alone():
            for file, descriptor in self.descriptors.items():
                if _is_same(file, descriptor, self.token):
                    file.unlink()
        for descriptor in self.descriptors.values():
            if descriptor is not None:
                os.close(descriptor)
        self.descriptors.clear()


def publish(token: str, hosts: Sequence[str], port: int) -> Published:
    """Write the token of a proxy that listens on these addresses, for the command line.

    Where there is no place to write, only `server.auth_token` opens.
    """
    published = Published(token, {})
    try:
        with _alone():
            _sweep()
            for host in hosts:
                file = token_file(host, port)
                published.descriptors[file] = _written(file, token)
    except OSError as error:
        logger.warning(
            "The command line cannot decide about tools or read the usage of this proxy: %s is not writable (%s). "
            "Set server.auth_token, or make it writable",
            runtime_dir(),
            error.strerror or error,
        )
    return published


def cli_token(host: str, port: int) -> str:
    """The token of the proxy that listens on this address, or an empty string. A wildcard covers every address."""
    for name in (*_same_listener(host), *_WILDCARDS):
        file = token_file(name, port)
        try:
            with file.open("rb") as opened:
                token = opened.read(_MAX_BYTES).decode("ascii").strip()
                if token and is_locked(opened.fileno()):
                    return token
        except (OSError, UnicodeDecodeError):
            continue
    return ""


def token_file(host: str, port: int) -> Path:
    """The file for an address and port."""
    name = host.lower().removeprefix("[").removesuffix("]")
    with contextlib.suppress(ValueError):
        name = ipaddress.ip_address(name).compressed
    return runtime_dir() / f"token-{re.sub(r'[^a-z0-9.-]', '_', name)}-{port}"


def _same_listener(host: str) -> tuple[str, ...]:
    """The addresses that a proxy listens on together with this one; see `server.listening.addresses`."""
    name = host.lower().removeprefix("[").removesuffix("]")
    return ("127.0.0.1", "::1") if name in {"127.0.0.1", "::1", "localhost"} else (name,)


def _written(file: Path, token: str) -> int | None:
    """Put a token file in place; its open and locked descriptor."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".token-")  # mode 0600
    try:
        os.write(descriptor, token.encode("ascii"))
        if HAS_SHARED:
            try_lock(descriptor)
        else:  # Windows does not rename an open file
            os.close(descriptor)
        Path(name).replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(descriptor)
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
    return descriptor if HAS_SHARED else None


def _sweep() -> None:
    """Remove what killed proxies have left."""
    for file in (*runtime_dir().glob("token-*"), *runtime_dir().glob(".token-*")):
        with contextlib.suppress(OSError), file.open("rb") as opened:
            if not is_locked(opened.fileno()):
                file.unlink()


def _is_same(file: Path, descriptor: int | None, token: str) -> bool:
    try:
        if descriptor is None:
            return file.read_bytes() == token.encode("ascii")
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except OSError:
        return False


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Held by one process at a time while it writes or removes token files. Raises `OSError`."""
    with locked(private(secured(runtime_dir())) / ".lock", timeout=_PATIENCE):
        yield
