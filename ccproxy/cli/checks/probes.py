"""Facts for the checks: files, programs and connections. This module does I/O and does not judge."""

from __future__ import annotations

import base64
import http.client
import importlib.util
import json
import os
import shutil
import socket
import ssl
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ccproxy.cli.checks.configuration import File
from ccproxy.cli.checks.mock_requests import REQUESTS, Reply
from ccproxy.cli.checks.network import Reach, http_date
from ccproxy.cli.running import Address
from ccproxy.network import CorporateProxy, Network, corporate_proxy
from ccproxy.providers.spec import Provider, Upstream
from ccproxy.settings import Loaded
from ccproxy.settings.folders import config_dir, data_dir
from ccproxy.settings.secrets import has_secret
from ccproxy.translate.fold import fold_any, text_of

_PROGRAM_LIMIT = 20.0
"""Seconds that a program may run."""
_NOT_YET_VALID, _EXPIRED = 9, 10  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


def output_of(*command: str) -> str | None:
    """Return the output of a program, whatever its exit code, or None if it cannot be run or takes too long."""
    try:
        done = subprocess.run(  # noqa: S603 - the clients' own programs
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROGRAM_LIMIT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout or done.stderr


def program(name: str) -> str | None:
    """Return the path of a program on PATH."""
    return shutil.which(name)


def claude_program(configured: str) -> str | None:
    """Return the program that `/claude` starts: the configured one, the one in the SDK, or the one on PATH."""
    if configured:
        return shutil.which(str(Path(configured).expanduser()))
    sdk = importlib.util.find_spec("claude_agent_sdk")
    for folder in sdk.submodule_search_locations or () if sdk else ():
        bundled = Path(folder) / "_bundled" / ("claude.exe" if os.name == "nt" else "claude")
        if bundled.is_file():
            return str(bundled)
    return shutil.which("claude")


def claude_logged_in(path: str) -> bool | None:
    """Return the result of `claude auth status`, or None for a version without that command."""
    try:
        status = json.loads(output_of(path, "auth", "status") or "")
    except ValueError:
        return None
    return bool(status["loggedIn"]) if isinstance(status, dict) and "loggedIn" in status else None


def private_files(loaded: Loaded) -> Iterator[File]:
    """Yield the existing files with secrets and the list of trusted files. Windows has no file modes, so yield none there."""
    if os.name != "posix":
        return
    auth = loaded.settings.auth.dir
    folder = Path(auth).expanduser() if auth else data_dir() / "auth"
    yield from _file(folder, is_folder=True)
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        if path.is_file():
            yield from _file(path)
    yield from _file(data_dir(), is_folder=True)
    yield from _file(config_dir() / "trusted.json", is_secret=False)
    for layer in loaded.layers:
        path = Path(layer.origin)
        if layer.origin not in {"command line", "environment"} and has_secret(layer.values):
            yield from _file(path)


def _file(path: Path, *, is_folder: bool = False, is_secret: bool = True) -> Iterator[File]:
    try:
        yield File(path, path.stat().st_mode & 0o777, is_folder, is_secret)
    except OSError:
        return


def settings_env_of_claude(environ: Mapping[str, str]) -> Mapping[str, Any]:
    """Return `env` of Claude Code's settings file."""
    folder = environ.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude"
    try:
        settings = json.loads((Path(folder) / "settings.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    env = settings.get("env") if isinstance(settings, dict) else None
    return env if isinstance(env, dict) else {}


def config_of_codex(environ: Mapping[str, str]) -> Mapping[str, Any]:
    """Return Codex's configuration."""
    folder = environ.get("CODEX_HOME") or Path.home() / ".codex"
    try:
        return tomllib.loads((Path(folder) / "config.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def reach(provider: Provider, timeout: float) -> Reach:
    """Connect to a provider's upstream, including TLS, and disconnect without a request, so that it costs nothing."""
    upstream = provider.upstream
    assert upstream is not None
    address = f"{upstream.scheme}://{upstream.host}:{upstream.port}"
    proxy = corporate_proxy(upstream.scheme, upstream.host, upstream.port)
    via = proxy.url if proxy else ""
    step, date = "proxy" if proxy else "connect", None
    try:
        connection, date = _through(proxy, upstream, timeout) if proxy else (_connected(upstream, timeout), None)
        with connection:
            if upstream.scheme == "https":
                step = "tls"
                Network().ssl_context().wrap_socket(connection, server_hostname=upstream.host).close()
    except ssl.SSLCertVerificationError as error:
        validity = {_NOT_YET_VALID: "is not valid yet", _EXPIRED: "has expired"}.get(error.verify_code, "")
        clock = f"the certificate of {upstream.host} {validity}" if validity else ""
        return Reach(provider.name, address, via, step, error.verify_message, date, clock)
    except (OSError, http.client.HTTPException) as error:
        return Reach(
            provider.name,
            address,
            via,
            step,
            str(getattr(error, "strerror", None) or error) or type(error).__name__,
            date,
        )
    return Reach(provider.name, address, via, date=date)


def _connected(upstream: Upstream, timeout: float) -> socket.socket:
    return socket.create_connection((upstream.host, upstream.port), timeout=timeout)


def _through(proxy: CorporateProxy, upstream: Upstream, timeout: float) -> tuple[socket.socket, Any]:
    """Open a tunnel. For plain http, only connect to the proxy, because anything else would need a request."""
    connection = socket.create_connection((proxy.host, proxy.port), timeout=timeout)
    if proxy.scheme == "https":
        connection = Network().ssl_context().wrap_socket(connection, server_hostname=proxy.host)
    if upstream.scheme != "https":
        return connection, None
    target = f"{upstream.host}:{upstream.port}"
    login = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode() if proxy.user else ""
    head = (
        f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
        + (f"Proxy-Authorization: Basic {login}\r\n" if login else "")
        + "\r\n"
    )
    connection.sendall(head.encode("latin-1"))
    response = http.client.HTTPResponse(connection, method="CONNECT")
    response.begin()
    if response.status != 200:
        connection.close()
        raise OSError(f"the proxy responded with {response.status} {response.reason}")
    return connection, http_date(response.getheader("date", ""))


def mock_replies(address: Address, prefix: str, token: str) -> Iterator[Reply]:
    """Send the mock provider a request in each format, whole and streamed."""
    for name, (path, body) in REQUESTS.items():
        for stream in (False, True):
            request = {"model": "mock-claude", **body, **({"stream": True} if stream else {})}
            yield _reply(name, address, prefix + path, request, token, streamed=stream)


def _reply(name: str, address: Address, path: str, body: dict[str, Any], token: str, *, streamed: bool) -> Reply:
    connection = http.client.HTTPConnection(address.host, address.port, timeout=10)
    headers = {"content-type": "application/json", **({"x-ccproxy-token": token} if token else {})}
    try:
        connection.request("POST", path, json.dumps(body), headers)
        response = connection.getresponse()
        data = response.read()
    except (OSError, http.client.HTTPException) as error:
        return Reply(name, streamed, 0, str(error) or type(error).__name__)
    finally:
        connection.close()
    folded = fold_any(data) if response.status == 200 else None
    return Reply(name, streamed, response.status, text_of(folded[1]) if folded else data.decode("utf-8", "replace"))
