"""The token that a running proxy mints for ccproxy's own command line, in a file that only the user can read.

`/usage` and `/permissions*` always ask for it (or for `server.auth_token`), so that neither a web page nor a tool that runs under Claude can
approve a tool. A tool runs as the user, though, and may find this file: `addons.gateway.endpoints` refuses it by what it is (`providers.claude_sdk.callers`).
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from ccproxy.settings.folders import private, runtime_dir


def mint(port: int) -> str:
    """A new token for the proxy on this port, written to its file. Empty where there is no place to write: then only `server.auth_token` opens."""
    token = secrets.token_urlsafe(32)
    file = _file(port)
    try:
        private(file.parent)
        file.unlink(missing_ok=True)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as opened:
            opened.write(token)
    except OSError:
        return ""
    return token


def cli_token(port: int) -> str:
    """The token of the proxy that runs on this port, or an empty string."""
    try:
        return _file(port).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def forget(port: int, token: str) -> None:
    """The proxy stops: remove its file, unless another one has taken its place."""
    if cli_token(port) == token:
        with contextlib.suppress(OSError):
            _file(port).unlink(missing_ok=True)


def _file(port: int) -> Path:
    return runtime_dir() / f"token-{port}"
