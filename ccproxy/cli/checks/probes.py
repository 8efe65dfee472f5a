"""Finding facts: files, programs, connections. Everything here does I/O, nothing here judges."""

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

from ccproxy.cli.checks.answers import QUESTIONS, Answer
from ccproxy.cli.checks.configuration import File
from ccproxy.cli.checks.network import Reach, http_date
from ccproxy.cli.running import Address
from ccproxy.network import CorporateProxy, Network, corporate_proxy
from ccproxy.providers.spec import Provider, Upstream
from ccproxy.settings import Loaded
from ccproxy.settings.folders import config_dir, data_dir
from ccproxy.settings.secrets import has_secret

_PROGRAM_LIMIT = 20.0
_NOT_YET_VALID, _EXPIRED = 9, 10  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


def output_of(*command: str) -> str | None:
    """What a program prints, or None where it cannot be run or takes too long. Its exit code does not count."""
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
    return shutil.which(name)


def claude_program(configured: str) -> str | None:
    """The program that `/claude` starts: the one configured, the one that the SDK brings, the one on PATH."""
    if configured:
        return shutil.which(str(Path(configured).expanduser()))
    sdk = importlib.util.find_spec("claude_agent_sdk")
    for folder in sdk.submodule_search_locations or () if sdk else ():
        bundled = Path(folder) / "_bundled" / ("claude.exe" if os.name == "nt" else "claude")
        if bundled.is_file():
            return str(bundled)
    return shutil.which("claude")


def claude_logged_in(path: str) -> bool | None:
    """What `claude auth status` says; None from a version that does not know the command."""
    try:
        told = json.loads(output_of(path, "auth", "status") or "")
    except ValueError:
        return None
    return bool(told["loggedIn"]) if isinstance(told, dict) and "loggedIn" in told else None


def private_files(loaded: Loaded) -> Iterator[File]:
    """What holds keys or logins, and what ccproxy believes; only what is there, and nothing where the system has no modes."""
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
    """`env` of Claude Code's own settings file."""
    folder = environ.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude"
    try:
        told = json.loads((Path(folder) / "settings.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    found = told.get("env") if isinstance(told, dict) else None
    return found if isinstance(found, dict) else {}


def config_of_codex(environ: Mapping[str, str]) -> Mapping[str, Any]:
    """Codex's own configuration."""
    folder = environ.get("CODEX_HOME") or Path.home() / ".codex"
    try:
        return tomllib.loads((Path(folder) / "config.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def reach(provider: Provider, timeout: float) -> Reach:
    """Connect to a provider's upstream, TLS included, and hang up. Nothing is asked, so nothing can cost anything."""
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
        wrong = error.verify_code in {_NOT_YET_VALID, _EXPIRED}
        clock = (
            f"the certificate of {upstream.host} {'is not valid yet' if error.verify_code == _NOT_YET_VALID else 'has expired'}"
            if wrong
            else ""
        )
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
    """A tunnel, or for plain http a connection to the proxy, which is all that can be had without asking for something."""
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
    answer = http.client.HTTPResponse(connection, method="CONNECT")
    answer.begin()
    if answer.status != 200:
        connection.close()
        raise OSError(f"the proxy answers {answer.status} {answer.reason}")
    return connection, http_date(answer.getheader("date", ""))


def ask_mock(address: Address, prefix: str, token: str) -> Iterator[Answer]:
    """The mock provider's answer in each format, whole and streamed."""
    for name, (path, body) in QUESTIONS.items():
        for stream in (False, True):
            sent = {"model": "mock-claude", **body, **({"stream": True} if stream else {})}
            yield _ask(name, address, prefix + path, sent, token, streamed=stream)


def _ask(name: str, address: Address, path: str, body: dict[str, Any], token: str, *, streamed: bool) -> Answer:
    connection = http.client.HTTPConnection(address.host, address.port, timeout=10)
    headers = {"content-type": "application/json", **({"x-ccproxy-token": token} if token else {})}
    try:
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return Answer(name, streamed, 0, str(error) or type(error).__name__)
    finally:
        connection.close()
    return Answer(name, streamed, answer.status, _joined(text) if streamed and answer.status == 200 else text)


def _joined(text: str) -> str:
    """The text of a streamed answer: deltas put together, in any of the formats."""
    said = []
    for line in text.splitlines():
        if not line.startswith("data: {"):
            continue
        event = json.loads(line[6:])
        delta = event.get("delta")
        if isinstance(delta, str) and event.get("type") == "response.output_text.delta":
            said.append(delta)
        elif isinstance(delta, dict):
            said.append(str(delta.get("text", "")))
        said += [str(choice["delta"].get("content") or "") for choice in event.get("choices") or ()]
    return "".join(said)
