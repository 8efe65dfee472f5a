from __future__ import annotations

import logging
import os
import random
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from typer.testing import CliRunner

from ccproxy import garbage, mitmproxy_patches
from ccproxy.settings import Settings
from tests.fakes.proxy import Proxy, running
from tests.fakes.upstream import Upstream

settings.register_profile(
    "dev", max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.register_profile("nightly", parent=settings.get_profile("dev"), max_examples=10_000)
settings.register_profile("thorough", parent=settings.get_profile("dev"), max_examples=2000)
settings.register_profile("nightly", parent=settings.get_profile("dev"), max_examples=10_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


def pytest_configure() -> None:
    """Let Ctrl-C reach the programs under test: a shell that starts the suite in the background has it ignored, and children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--shuffle", type=int, metavar="SEED", help="run the tests in a random order, which the seed repeats"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Shuffle the files and the tests in each, so that fixtures of a module are still made once."""
    seed = config.getoption("--shuffle")
    if seed is None:
        return
    random.Random(seed).shuffle(items)
    order = {path: position for position, path in enumerate(dict.fromkeys(item.path for item in items))}
    items.sort(key=lambda item: order[item.path])


_NETWORK = (
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_DIR",
)


@pytest.fixture(autouse=True)
def _own_home(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test sees the configuration, the logins or the network of the user who runs it."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for name, folder in (("CONFIG", "config"), ("DATA", "data"), ("CACHE", "cache"), ("STATE", "state")):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / folder))
    for name in os.environ:
        if name.upper() in _NETWORK or name.lower().partition("__")[0] in Settings.model_fields:
            monkeypatch.delenv(name)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """An upstream that answers `{}` until a test gives it a script."""
    async with Upstream() as made:
        yield made
    assert not made.broken


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[CliRunner]:
    """The command line in this process and a folder of its own. What it sets for a process of its own is not set, or is put back."""
    monkeypatch.chdir(tmp_path)
    for name in ("load_addons_on_demand", "skip_type_checks"):
        monkeypatch.setattr(mitmproxy_patches, name, lambda: None)
    monkeypatch.setattr(garbage, "pause", lambda: None)
    for name in ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks"):
        monkeypatch.setattr(logging, name, getattr(logging, name, None), raising=False)
    root = logging.getLogger()
    handlers, root.handlers[:], level = root.handlers[:], [], root.level
    names = ("mitmproxy", "asyncio", "tornado", "hpack", "httpx", "httpcore")
    levels = {name: logging.getLogger(name).level for name in names}
    yield CliRunner()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


Serve = Callable[..., Any]


@pytest.fixture
async def serve(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Serve]:
    """Starts a proxy whose providers lead to `upstream`: `proxy = await serve(server={…}, providers={…})`."""
    async with AsyncExitStack() as stack:

        async def start(**sections: Any) -> Proxy:
            return await stack.enter_async_context(running(tmp_path, upstream, **sections))

        yield start


@pytest.fixture
async def proxy(serve: Serve) -> Proxy:
    """A proxy with nothing but the defaults, whose providers lead to `upstream`."""
    made: Proxy = await serve()
    return made
