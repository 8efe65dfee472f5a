"""Changed files: which ones are noticed, and which ones can be used."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

import ccproxy
from ccproxy.cli import reload
from ccproxy.cli.reload import Watch
from ccproxy.errors import ConfigError
from ccproxy.settings import Loaded, load

PATIENCE = 20.0


@pytest.fixture(autouse=True)
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of one module in place of ccproxy's own code, in an empty home and folder."""
    module = tmp_path / "package" / "__init__.py"
    module.parent.mkdir()
    module.write_text("")
    monkeypatch.setattr(ccproxy, "__file__", str(module))
    monkeypatch.setattr(reload, "_INTERVAL", 0.01)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return module


def write(path: Path | str, text: str) -> None:
    Path(path).write_text(text)


async def changed(watch: Watch) -> list[Path]:
    async with asyncio.timeout(PATIENCE):
        return await watch.change()


async def test_a_change_before_the_wait_is_not_missed() -> None:
    watch = Watch(None)
    write("ccproxy.toml", "")
    assert await changed(watch) == [Path("ccproxy.toml")]
    Path("ccproxy.toml").unlink()  # noqa: ASYNC240 - in this folder
    assert await changed(watch) == [Path("ccproxy.toml")]


async def test_the_users_own_file_the_environment_and_the_code_are_watched(tmp_path: Path, code: Path) -> None:
    own = tmp_path / "config" / "ccproxy" / "config.toml"
    own.parent.mkdir(parents=True)
    for path in (own, Path(".env"), code):
        watch = Watch(None)
        write(path, "x = 1\n")
        assert await changed(watch) == [path]


async def test_other_files_are_not_watched_where_one_is_named(tmp_path: Path) -> None:
    watch = Watch(tmp_path / "mine.toml")
    write("ccproxy.toml", "")
    write(tmp_path / "mine.toml", "")
    assert await changed(watch) == [tmp_path / "mine.toml"]


async def test_code_that_does_not_compile_is_not_used(code: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    settings = load(environ={}, folder=Path()).settings
    waiting = asyncio.create_task(Watch(None).usable_change(lambda: load(environ={}, folder=Path()), settings))
    await asyncio.sleep(0)
    write(code, "def f(:\n")
    async with asyncio.timeout(PATIENCE):
        while not caplog.messages:  # noqa: ASYNC110 - a log record sets no event
            await asyncio.sleep(0.01)
    assert f"Still running with the previous configuration because of an error: {code}: " in caplog.messages[0]
    write(code, "def f(): pass\n")
    async with asyncio.timeout(PATIENCE):
        await waiting
    assert caplog.messages[-1] == f"Restarting because {code} changed"


async def test_a_restart_may_keep_its_port_with_another_address() -> None:
    """The port is in use, by the proxy that is to be replaced."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    running = load({"server": {"port": port}}, environ={}, folder=Path()).settings

    def load_again() -> Loaded:
        return load({"server": {"port": port, "host": "0.0.0.0", "auth_token": "t"}}, environ={}, folder=Path())

    watch = Watch(None)
    write(".env", "\n")
    async with server, asyncio.timeout(PATIENCE):
        await watch.usable_change(load_again, running)


async def test_a_problem_names_file_line_and_key(caplog: pytest.LogCaptureFixture) -> None:
    reload.log_problem(ConfigError("mine.toml:2: unknown key server.prot"), is_running=False)
    assert caplog.messages == ["Waiting for the next change because of an error: mine.toml:2: unknown key server.prot"]


def test_only_a_restart_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not reload.is_restart()
    monkeypatch.setenv("CCPROXY_RELOADED", "1")
    assert reload.is_restart()
    assert not reload.is_restart()
