"""Several proxies of one user: the command line finds the token of the one that it is configured for."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import httpx
import pytest

from ccproxy.errors import StartError
from ccproxy.server.proxy_server import ProxyServer
from ccproxy.settings import Settings
from ccproxy.settings.folders import runtime_dir
from ccproxy.settings.runtime import cli_token
from tests.fakes.proxy import START, program, serving

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no 127.0.0.2 without a set-up")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the programs that a test starts is this process's too."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


async def opens(host: str, port: int, token: str) -> bool:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"http://{host}:{port}/permissions", headers={"x-ccproxy-token": token})
    return answer.status_code == 200


async def listing(home: Path, host: str, port: int) -> int:
    """The exit code of `ccproxy permissions list`."""
    env = {"SERVER__HOST": host, "SERVER__PORT": str(port)}
    async with program(home, "permissions", "list", env=env) as command:
        return await command.ends()


async def test_a_second_proxy_on_another_address(home: Path) -> None:
    async with serving(home) as first:
        port = first.port
        async with program(home, "serve", "--host", "127.0.0.2", "--port", str(port)) as second:
            await second.says("listens on")
            assert cli_token("127.0.0.1", port) != cli_token("127.0.0.2", port)
            for host in ("127.0.0.1", "127.0.0.2"):
                assert await opens(host, port, cli_token(host, port))
                assert await listing(home, host, port) == 0
            second.signal(signal.SIGTERM)
            assert await second.ends() == 0
        assert cli_token("127.0.0.2", port) == ""
        assert await opens("127.0.0.1", port, cli_token("127.0.0.1", port))
        first.signal(signal.SIGTERM)
        assert await first.ends() == 0
    assert [path.name for path in runtime_dir().iterdir()] == [".lock"]


async def test_after_a_proxy_was_killed(home: Path) -> None:
    async with serving(home) as first:
        port = first.port
        first.signal(signal.SIGKILL)
        await first.ends()
    assert len(list(runtime_dir().glob("token-*"))) >= 1
    assert cli_token("127.0.0.1", port) == ""
    async with program(home, "serve", "--port", str(port)) as second:
        await second.says("listens on")
        assert await opens("127.0.0.1", port, cli_token("127.0.0.1", port))
        second.signal(signal.SIGTERM)
        assert await second.ends() == 0
    assert [path.name for path in runtime_dir().iterdir()] == [".lock"]


async def test_of_two_that_start_at_once_the_loser_leaves_the_winners_token(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both see a free port."""
    async with serving(home) as winner:
        token = cli_token("127.0.0.1", winner.port)
        monkeypatch.setattr("ccproxy.server.proxy_server.addresses", lambda _, port: (("127.0.0.1", "::1"), port))
        loser = ProxyServer(Settings(server={"port": winner.port}, ledger={"enabled": False}))  # type: ignore[arg-type]
        with pytest.raises(StartError):
            async with asyncio.timeout(START):
                await loser.run()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:  # mitmproxy leaves one behind
            if task.get_name().startswith("should_exit"):
                task.cancel()
        assert cli_token("127.0.0.1", winner.port) == token
        assert await opens("127.0.0.1", winner.port, token)
